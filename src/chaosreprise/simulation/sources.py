"""How the simulated platform is watched: rows and ledgers that are looked at so many times a second, as the recorder does.

A look that would see nothing new is not made, which changes nothing in what is recorded and saves nearly all of them.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

from chaosreprise.clock import SECOND, Clock
from chaosreprise.history import Coverage, Timed
from chaosreprise.observe.source import DONE, Emit

LOOK_S = 0.0005
Read = Callable[[int, int], Iterable[Timed]]
Spans = list[tuple[float, float]]


class Polled:
    """A source behind which something changes: `read(since, now)` gives what is new.

    `stalls`: when nobody can look. `gaps`: when looks fail, which is said; `forgets`: what changes then is never seen.
    """

    def __init__(self, name: str, hz: float, read: Read, stalls: Spans, gaps: Spans, forgets: bool) -> None:
        self.name = name
        self._every, self._read, self._stalls, self._gaps, self._forgets = 1 / hz, read, stalls, gaps, forgets
        self._planned = False
        self._since = 0.0
        self._watches = False
        self._emit: Emit

    def touch(self) -> None:
        """Something changed: the next look sees it."""
        if self._watches and not self._planned:
            self._planned = True
            loop = asyncio.get_running_loop()
            loop.call_at(self._free((math.floor(loop.time() / self._every) + 1) * self._every), self._look)

    def lose(self) -> None:
        """From now on it can't be read, and that is said."""
        now = asyncio.get_running_loop().time()
        self._gaps.append((now, math.inf))
        self._break_off(now)

    def find(self) -> None:
        """It can be read again."""
        lost, _ = self._gaps.pop()
        self._gaps.append((lost, asyncio.get_running_loop().time()))
        self._resume()

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        self._clock, self._emit, self._watches = clock, emit, True
        now = clock.now()
        self._since = loop.time()
        self._cover(now, now, on=True, why="watching")
        for lo, hi in self._gaps:
            loop.call_at(lo, self._break_off, lo)
            loop.call_at(hi, self._resume)
        self._look()
        await stop.wait()
        self._look()
        last = round(self._since * SECOND)
        self._cover(last, last, on=False, why=DONE)
        self._watches = False

    def _look(self) -> None:
        self._planned = False
        now = asyncio.get_running_loop().time()
        if any(lo <= now < hi for lo, hi in self._gaps):
            return
        since = self._before(now)
        for event in self._read(round(since * SECOND), round((now + LOOK_S) * SECOND)):
            self._emit(event)
        self._since = now

    def _before(self, now: float) -> float:
        """When the look before this one began: a period earlier, but for stalls and gaps."""
        before = now - self._every
        for lo, hi in (*self._stalls, *self._gaps):
            if lo <= before < hi or (lo <= now and before < lo):
                before = min(before, math.floor(lo / self._every) * self._every)
        return max(before, min(self._since, now))

    def _free(self, moment: float) -> float:
        return next((self._free(hi) for lo, hi in self._stalls if lo <= moment < hi), moment)

    def _break_off(self, moment: float) -> None:
        now = self._clock.now()
        self._cover(min(round((moment - self._every) * SECOND), now), now, on=False, why="it could not be read")

    def _resume(self) -> None:
        now = self._clock.now()
        if any(lo <= now / SECOND < hi - LOOK_S for lo, hi in self._gaps):
            return
        if self._forgets:
            list(self._read(0, now))
        self._cover(now, now, on=True, why="watching")
        self._look()

    def _cover(self, lo: int, hi: int, on: bool, why: str) -> None:
        self._emit(Coverage(lo=lo, hi=hi, of=self.name, on=on, why=why))
