"""The two ledgers of effects that Reprise can read as files, whatever platform stands behind them.

*Slots*: what the keeper of a local stack did to its slots (docs/architecture.md, "Stack"). *Workspaces*: what a step of
ours wrote into its session's working directory, one line before and one after its work (`steps`).
"""

import resource
from collections.abc import Callable
from typing import Any

import msgspec

from chaosreprise.history import Effect
from chaosreprise.history.events import Mark, Resource, Time
from chaosreprise.observe import Seen
from chaosreprise.paths import boot_id
from chaosreprise.procs import Incarnation, is_alive
from chaosreprise.stack.protocol import ANEW

LEDGER_FILE = "ledger"
BEGINS = ("up", "back")


class SlotLine(msgspec.Struct):
    """A line of slots.jsonl; the first one of the file has only `v` and `boot`."""

    t: Time = 0
    mark: Mark | None = None
    kind: str = ""
    object: str = ""
    gen: int | None = None
    inc: list[Any] | None = None
    spec: dict[str, Any] | None = None
    boot: str | None = None


class StepLine(msgspec.Struct):
    """A line that a step wrote."""

    t: Time
    mark: Mark
    key: str
    inc: list[Any]


def slots_parser(key_of: Callable[[dict[str, Any]], str | None]) -> Callable[[Seen], Effect | None]:
    """Lines of slots.jsonl as effects; `key_of` finds our key in what a slot was made from."""
    decoder = msgspec.json.Decoder(SlotLine)
    same_boot = True

    def parse(seen: Seen) -> Effect | None:
        nonlocal same_boot
        line = decoder.decode(seen.line)
        if line.boot is not None:
            same_boot = line.boot == boot_id()
        if line.mark is None or line.kind != "slot":
            return None
        lo, hi = (line.t, line.t) if same_boot else (seen.lo, seen.hi)
        key = key_of(line.spec) if line.spec else None
        return Effect(
            lo=lo,
            hi=hi,
            ledger="slots",
            object=line.object,
            session=line.object,
            mark=line.mark,
            gen=line.gen,
            inc=line.inc,
            key=key,
            limits=_limits(line.inc) if line.mark in BEGINS and line.inc else {},
        )

    return parse


def _limits(inc: list[Any]) -> dict[Resource, int | None]:
    """What the kernel says of a process that lives; that of a share of a processor would be its control group's."""
    process = Incarnation(*inc)
    try:
        hard = [resource.prlimit(process.pid, which)[1] for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    except OSError:
        return {}
    least = min((one for one in hard if one != resource.RLIM_INFINITY), default=None)
    return {"memory": least} if is_alive(process) else {}


def workspaces_parser(run: str) -> Callable[[Seen], Effect | None]:
    """Lines of the sessions' own ledgers as effects; the keys of other runs are none of ours."""
    decoder = msgspec.json.Decoder(StepLine)

    def parse(seen: Seen) -> Effect | None:
        line = decoder.decode(seen.line)
        if not line.key.startswith(f"{run}."):
            return None
        lo, hi = (line.t, line.t) if line.inc[:1] == [boot_id()] else (seen.lo, seen.hi)
        return Effect(
            lo=lo,
            hi=hi,
            ledger="workspaces",
            object=seen.object,
            session=seen.object.partition(ANEW)[0],
            mark=line.mark,
            key=line.key,
            inc=line.inc,
        )

    return parse
