"""Leave a component only a part of one processor: it is moved there with all its threads, beside hogs that want it all.

With `hogs` of them a component that wants the processor gets 1 / (hogs + 1) of it, a database as much for each busy
connection. What it starts meanwhile is there as well. Needs no cgroup: anybody may move processes of his own.
"""

import asyncio
import contextlib
import os
import pathlib
import subprocess
import time
from typing import Annotated, Any, NamedTuple

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, hog, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import Incarnation, is_alive
from chaosreprise.stack import mends

MOVE_S = 1.0
PROVE_S = 10.0
WINDOW_S = 0.3
WANTED = 0.8
LAST_PROCESSOR = 36  # of the fields of /proc/PID/stat after the command's name (proc(5), field 39)


class Arguments(base.Arguments, frozen=True):
    hogs: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=64, title="how many processes want the same processor", description="a whole number from 1 to 64"
        ),
    ] = 3


class Hogged(local.Process, kw_only=True):
    """`cpus`: where it could run before."""

    hogs: int
    processor: int
    cpus: list[int]

    def mend(self) -> mends.Affinity:
        return mends.Affinity(self.inc, self.cpus, [self.processor])

    def elsewhere(self) -> list[int]:
        """Its threads that are not where they were moved to."""
        return [thread for thread, may in mends.affinities(self.inc) if may != [self.processor]]


class CpuHog(local.OnProcess):
    needs = f"{local.NEEDS}; a kernel that counts waiting (/proc/PID/schedstat)"
    arguments = Arguments
    survives = True
    way_back = "the hogs are killed, and it may run on all processors that it had"
    proof = (
        f"all its threads are on that processor, and each hog ran or waited there for {WANTED:.0%} of {WINDOW_S:g} s"
    )

    def __init__(self) -> None:
        self._started: dict[str, list[subprocess.Popen[bytes]]] = {}

    async def more(self, process: local.Process, given: Arguments) -> Target:
        name = f"{process.component} (pid {process.inc.pid})"
        places = [may for _, may in mends.affinities(process.inc)]
        if not places or _times(process.inc) is None:
            raise NotPossible(f"{name} ended just now, or this kernel has no schedstat: no hog could be proven")
        if any(may != places[0] for may in places):
            raise NotPossible(f"{name}: its threads are bound to different processors already: they are left alone")
        last = _last_processor(process.inc)
        return {"cpus": places[0], "processor": last if last in places[0] else places[0][0]}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        hogged = msgspec.convert(target, Hogged)
        await local.hold(context, mark, hogged, lease_end, down=False, mends=[hogged.mend()])
        self._started[mark] = []
        for _ in range(hogged.hogs):
            self._started[mark].append(hog.start(mark, hogged.processor, lease_end))
        await _move(hogged)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        hogged = msgspec.convert(target, Hogged)
        deadline = time.monotonic() + PROVE_S
        window = await _window(mark, hogged, deadline)
        while (seen := window.look()).seconds < WINDOW_S or seen.least_wanted < WANTED or hogged.elsewhere():
            if time.monotonic() > deadline:
                raise NotProven(
                    f"{hogged.component} (pid {hogged.inc.pid}): {len(hogged.elsewhere())} of its threads are elsewhere, "
                    f"and a hog wanted processor {hogged.processor} for {seen.least_wanted:.0%} of {seen.seconds:.1f} s only"
                )
            await asyncio.sleep(WINDOW_S / 3)
        if not is_alive(hogged.inc):
            raise NotProven(f"{hogged.component} (pid {hogged.inc.pid}) died by itself beside the hogs")
        return {"processor": hogged.processor, "hogs": hogged.hogs, "hogs_had": round(seen.had, 2)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        mends.apply(msgspec.convert(target, Hogged).mend())
        await hog.end(mark)
        for process in self._started.pop(mark, []):
            process.wait()
        return await super().undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        hogged = msgspec.convert(target, Hogged)
        if hog.find(mark) or (hogged.cpus != [hogged.processor] and mends.pinned(hogged.inc, [hogged.processor])):
            raise Unreachable(
                f"{hogged.component} (pid {hogged.inc.pid}) still has to share processor {hogged.processor}"
            )
        await super().verify(context, mark, target)


class _Seen(NamedTuple):
    """What the hogs had of the processor together, and what the one that wanted it least wanted, as parts of the time."""

    seconds: float
    had: float
    least_wanted: float


class _Window:
    def __init__(self, hogs: list[Incarnation]) -> None:
        self._hogs = hogs
        self._first = self._now()

    def look(self) -> _Seen:
        now = self._now()
        passed = max(1, now[0] - self._first[0])
        ran = [after[0] - before[0] for after, before in zip(now[1], self._first[1], strict=True)]
        wanted = [sum(after) - sum(before) for after, before in zip(now[1], self._first[1], strict=True)]
        return _Seen(passed / 1e9, sum(ran) / passed, min(wanted) / passed)

    def _now(self) -> tuple[int, list[tuple[int, int]]]:
        return time.monotonic_ns(), [_times(inc) or (0, 0) for inc in self._hogs]


async def _move(hogged: Hogged) -> None:
    """All its threads, until none is elsewhere that was started meanwhile."""
    deadline = time.monotonic() + MOVE_S
    while left := hogged.elsewhere():
        for thread in left:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, [hogged.processor])
        if time.monotonic() > deadline:
            raise NotPossible(f"{hogged.component}: {len(left)} of its threads can't be moved to one processor")
        await asyncio.sleep(0)


async def _window(mark: str, hogged: Hogged, deadline: float) -> _Window:
    """From the moment at which every hog is at its place."""
    while True:
        hogs = hog.find(mark)
        at_work = [inc for inc in hogs if mends.pinned(inc, [hogged.processor])]
        if len(at_work) >= hogged.hogs:
            return _Window(at_work)
        if time.monotonic() > deadline:
            raise NotProven(f"only {len(at_work)} of {hogged.hogs} hogs came to processor {hogged.processor}")
        await asyncio.sleep(hog.LOOK_EVERY_S)


def _times(inc: Incarnation) -> tuple[int, int] | None:
    """ns that it ran, and ns that it waited for a processor, since its start (proc(5), schedstat)."""
    try:
        ran, waited, _ = pathlib.Path(f"/proc/{inc.pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(ran), int(waited)


def _last_processor(inc: Incarnation) -> int:
    with contextlib.suppress(OSError):
        return int(pathlib.Path(f"/proc/{inc.pid}/stat").read_text().rpartition(")")[2].split()[LAST_PROCESSOR])
    return -1


FAULT = CpuHog()
