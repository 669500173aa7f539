"""Let a link go down and come up again, over and over: down, who connects is refused and what is connected is closed.

A task of the warden does it and ends with the warden, with the fault's lease, or when it is undone: then the link is up.
"""

import asyncio
import contextlib
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.clock import boottime
from chaosreprise.errors import NotProven, RepriseError
from chaosreprise.faults import base, passing, toxics
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.kinds.refuse import Refuse
from chaosreprise.faults.on_link import SERVER, Hit, Made, to_the_end

ROUNDS = 2
Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=600)]


class Arguments(base.Arguments, frozen=True):
    down_s: Annotated[
        Seconds, msgspec.Meta(title="how long it is down each time", description="a number of seconds from 0.05 to 600")
    ] = 0.5
    up_s: Annotated[
        Seconds, msgspec.Meta(title="how long it is up each time", description="a number of seconds from 0.05 to 600")
    ] = 1.0


class Flap(Refuse):
    groups = ("links",)
    arguments = Arguments
    way_back = "it stays up"
    proof = f"it was down {ROUNDS} times, with each of its connections gone in the kernel's tables and new ones refused, and up in between"

    def __init__(self) -> None:
        super().__init__()
        self._loops: dict[str, _Loop] = {}

    def strike(self, hit: Hit, mark: str, target: Target, lease_end: int) -> None:
        del target
        for door in hit.doors:
            toxics.add(door, mark, lease_end, ["upstream"], toxics.MARK)

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        await super().inject(context, mark, target, lease_end)
        self._loops[mark] = _Loop(msgspec.convert(target, Hit), target["down_s"], target["up_s"], lease_end)

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        loop = next(loop for loop in self._loops.values() if loop.hit.component == made.hit.component)
        within_s = passing.PROVE_S + ROUNDS * (target["down_s"] + target["up_s"])
        deadline = time.monotonic() + within_s
        while loop.rounds < ROUNDS:
            if loop.task.done():
                loop.task.result()
            if time.monotonic() > deadline:
                raise NotProven(
                    f"{made.hit.component}: it was down {loop.rounds} times within {within_s:g} s, not {ROUNDS}"
                )
            await asyncio.sleep(0.01)
        return {"rounds": loop.rounds, "connections_closed": loop.closed}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        loop = self._loops.pop(mark, None)
        went_on = loop is None or await loop.stop()
        by = await super().undo(context, mark, target)
        return by if went_on or by is not None else SERVER


class _Loop:
    """The flapping. `rounds` is how often it was down and is up again."""

    def __init__(self, hit: Hit, down_s: float, up_s: float, lease_end: int) -> None:
        self.hit, self._down_s, self._up_s, self._lease_end = hit, down_s, up_s, lease_end
        self.rounds = self.closed = 0
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> bool:
        """Whether it went on until now. Not by cancelling it: what it asks of a server must not come after the undo."""
        self._stop.set()
        try:
            await self.task
        except RepriseError:
            return False
        return True

    async def _run(self) -> None:
        while not self._stop.is_set() and boottime() < self._lease_end:
            made = Made(self.hit)
            await to_the_end(toxics.switch, self.hit.doors, False)
            self.closed += await passing.are_gone(self.hit.component, made.fronts, made.clients, passing.CLOSED_S)
            passing.check_refused(self.hit.component, made.fronts)
            await self._wait(self._down_s)
            await to_the_end(toxics.switch, self.hit.doors, True)
            self.rounds += 1
            await self._wait(self._up_s)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


FAULT = Flap()
