"""Use up a component's file descriptors: its limit (RLIMIT_NOFILE) becomes what it has open now.

What is open goes on working; whatever would need one more fails with EMFILE: a new connection, a file, a pipe. What it
starts meanwhile inherits the limit. A descriptor that it closes may be used again; what it had closed before the proof is
taken by a connection of ours, which stays until the undo. A component that dies of it is started
by its supervisor without the limit.
"""

import asyncio
import pathlib
import resource
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotAllowed, NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import ESTABLISHED, Incarnation, connections, is_alive
from chaosreprise.stack import mends

LOOKS = 5  # some descriptors are open for a moment only: the fewest of several looks count
BETWEEN_LOOKS_S = 0.005
PROVE_S = 8.0
UNSERVED_S = 0.3
SERVED_AGAIN_S = 5.0
NOFILE = "NOFILE"


class Arguments(base.Arguments, frozen=True):
    spare: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=1_000_000, title="how many more it may open", description="a whole number from 0 to 1000000"
        ),
    ] = 0


class Narrowed(local.Process, kw_only=True):
    """`limit` is what the fault sets, `soft` what was there before."""

    soft: int
    limit: int

    @property
    def name(self) -> str:
        return f"{self.component} (pid {self.inc.pid})"

    def mend(self) -> mends.Limit:
        return mends.Limit(self.inc, NOFILE, self.soft, self.limit)


class Descriptors(local.OnProcess):
    arguments = Arguments
    survives = True
    way_back = "its limit becomes what it was"
    undo_s = local.OnProcess.undo_s + SERVED_AGAIN_S
    proof = f"no number below the limit is free, and who connects to it is not accepted for {UNSERVED_S:g} s; or it died of it"

    def __init__(self) -> None:
        self._kept: dict[str, list[asyncio.StreamWriter]] = {}

    async def more(self, process: local.Process, given: Arguments) -> Target:
        name = f"{process.component} (pid {process.inc.pid})"
        try:
            limit = min([await _limit(process.inc, given.spare) for _ in range(LOOKS)])
            soft, _ = resource.prlimit(process.inc.pid, resource.RLIMIT_NOFILE)
        except OSError as error:
            raise NotPossible(
                f"{name}: what it has open can't be read ({error.strerror}): are you its user?"
            ) from error
        if limit >= soft:
            raise NotAllowed(f"spare = {given.spare}: {name} may open {soft}, and {limit} is no less: leave it fewer")
        return {"soft": soft, "limit": limit}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        narrowed = msgspec.convert(target, Narrowed)
        await local.hold(context, mark, narrowed, lease_end, down=False, mends=[narrowed.mend()])
        soft, hard = resource.prlimit(narrowed.inc.pid, resource.RLIMIT_NOFILE) if is_alive(narrowed.inc) else (0, 0)
        if soft != narrowed.soft:
            raise NotPossible(
                f"{narrowed.name}: it changed after it was planned: its limit was {narrowed.soft}, is {soft}"
            )
        resource.prlimit(narrowed.inc.pid, resource.RLIMIT_NOFILE, (narrowed.limit, hard))

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        narrowed = msgspec.convert(target, Narrowed)
        deadline = time.monotonic() + PROVE_S
        free: list[int] = []
        while True:
            asked = [port for port in narrowed.ports for _ in range(1 + len(free))]  # all that is free is taken at once
            accepted = await asyncio.gather(*map(_accepted, asked))
            self._kept.setdefault(mark, []).extend(connection for connection in accepted if connection is not None)
            accepting = [port for port, connection in zip(asked, accepted, strict=True) if connection is not None]
            if not is_alive(narrowed.inc):
                return {"limit": narrowed.limit, "pid": narrowed.inc.pid, "process": "died of it"}
            free = _free(narrowed)
            if not free and not accepting:
                return {"limit": narrowed.limit, "pid": narrowed.inc.pid, "ports_unserved": narrowed.ports}
            if time.monotonic() > deadline:
                what = (
                    f"{len(free)} numbers below {narrowed.limit} are free" if free else f"port {accepting[0]} accepts"
                )
                raise NotProven(f"{narrowed.name}: {what} {PROVE_S:g} s later")
            await asyncio.sleep(BETWEEN_LOOKS_S)

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        narrowed = msgspec.convert(target, Narrowed)
        mends.apply(narrowed.mend())
        for connection in self._kept.pop(mark, []):
            connection.close()
        done_by = await super().undo(context, mark, target)
        if not narrowed.component.startswith(local.SESSIONS):  # a session that works accepts nobody either
            await _served_again(context, narrowed)
        return done_by

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        narrowed = msgspec.convert(target, Narrowed)
        if mends.limited(narrowed.inc, NOFILE, narrowed.limit):
            raise Unreachable(f"{narrowed.name}: it still may open {narrowed.limit} files only, not {narrowed.soft}")
        await super().verify(context, mark, target)


def _taken(inc: Incarnation) -> set[int]:
    return {int(entry.name) for entry in pathlib.Path(f"/proc/{inc.pid}/fd").iterdir()}


async def _limit(inc: Incarnation, spare: int) -> int:
    """The limit that leaves `spare` numbers free: what counts is not how many are open, but the lowest number to be had."""
    taken = _taken(inc)
    await asyncio.sleep(BETWEEN_LOOKS_S)
    free = [number for number in range(len(taken) + spare + 1) if number not in taken]
    return free[spare]


def _free(narrowed: Narrowed) -> list[int]:
    try:
        return sorted(set(range(narrowed.limit)) - _taken(narrowed.inc))
    except OSError:
        return []


async def _accepted(port: int, within_s: float = UNSERVED_S) -> asyncio.StreamWriter | None:
    """A new connection, if it is accepted: until then the kernel's table names no socket of the server's for it."""
    deadline = time.monotonic() + within_s
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return None
    ours = f":{writer.get_extra_info('sockname')[1]:04X}"
    while time.monotonic() < deadline:
        theirs = [c for c in connections() if c.local.endswith(f":{port:04X}") and c.remote.endswith(ours)]
        if any(c.inode or c.state != ESTABLISHED for c in theirs):
            return writer
        await asyncio.sleep(BETWEEN_LOOKS_S)
    writer.close()
    return None


async def _served_again(context: Context, narrowed: Narrowed) -> None:
    """A server that could not accept may have stopped to try for a moment: asyncio's for 1 s, PostgreSQL's for 0.1 s."""
    async with local.keeper(context) as keeper:
        found = await local.part(keeper, narrowed.component)
    waiting = local.look(found.name, found.inc).ports if found.inc is not None else []
    for port in waiting:
        connection = await _accepted(port, SERVED_AGAIN_S)
        if connection is None:
            raise Unreachable(
                f"{narrowed.component}: port {port} accepts nobody {SERVED_AGAIN_S:g} s after its limit is back"
            )
        connection.close()


FAULT = Descriptors()
