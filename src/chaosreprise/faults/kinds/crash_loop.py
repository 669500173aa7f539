"""Kill a component each time it has come back, so that it never lives for long.

Its supervisor starts it again as it always does, with whatever back-off it has; `every_s` counts from there, so with a
value below what its start takes it never comes up. A task of the warden does it and ends with the warden, with the fault's
lease, or when the keeper has ended the hold: then what was killed last comes back by itself.
"""

import asyncio
import contextlib
import signal
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.clock import boottime
from chaosreprise.errors import NotProven, RepriseError
from chaosreprise.faults import base, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import Incarnation, is_alive, send_signal

LIVES = 2


class Arguments(base.Arguments, frozen=True):
    every_s: Annotated[
        float,
        msgspec.Meta(
            ge=0.05, le=60, title="how long it is let live each time", description="a number of seconds from 0.05 to 60"
        ),
    ] = 0.5


class Doomed(local.Process, kw_only=True):
    every_s: float


class CrashLoop(local.OnProcess):
    arguments = Arguments
    way_back = "it is killed no more, and its supervisor starts it again"
    proof = f"{LIVES} of its lives have ended"

    def __init__(self) -> None:
        self._loops: dict[str, _Loop] = {}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        doomed = msgspec.convert(target, Doomed)
        await local.hold(context, mark, doomed, lease_end, down=False)
        self._loops[mark] = _Loop(context, mark, doomed, lease_end)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        loop = self._loops[mark]
        within_s = 2 * local.BACK_S + loop.doomed.every_s
        deadline = time.monotonic() + within_s
        while len(loop.ended) < LIVES or is_alive(loop.ended[LIVES - 1]):
            if time.monotonic() > deadline or loop.task.done():
                raise NotProven(
                    f"{loop.doomed.component}: {len(loop.ended)} of its lives ended within {within_s:g} s, not {LIVES}: {loop.ends}"
                )
            await asyncio.sleep(local.LOOK_EVERY_S)
        return {"lives_ended": len(loop.ended), "pids": [inc.pid for inc in loop.ended]}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        loop = self._loops.pop(mark, None)
        if loop is not None:
            await loop.stop()
        return await super().undo(context, mark, target)


class _Loop:
    """The killing. `ended` is whom it has killed, `ends` why it ended or what it waits for."""

    def __init__(self, context: Context, mark: str, doomed: Doomed, lease_end: int) -> None:
        self.doomed = doomed
        self.ended: list[Incarnation] = []
        self.ends = "it did not come back"
        self.task = asyncio.create_task(self._run(context, mark, lease_end))

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def _run(self, context: Context, mark: str, lease_end: int) -> None:
        current, due = self.doomed.inc, time.monotonic()
        try:
            async with local.keeper(context) as keeper:
                while (found := await local.part(keeper, self.doomed.component)).held_by == mark:
                    if found.inc is not None and found.inc != current:
                        current, due = found.inc, time.monotonic() + self.doomed.every_s
                    if time.monotonic() >= due and current not in self.ended and boottime() < lease_end:
                        self._kill(current)
                    await asyncio.sleep(local.LOOK_EVERY_S * 5)
                self.ends = "its keeper has ended the hold"
        except RepriseError as error:
            self.ends = str(error)

    def _kill(self, inc: Incarnation) -> None:
        if send_signal(inc, signal.SIGKILL):
            self.ended.append(inc)


FAULT = CrashLoop()
