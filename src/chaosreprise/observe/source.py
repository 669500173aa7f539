"""What a source of evidence is, and the loop that the sampled ones share.

A source says when it is really watching: `coverage on` after its first good look, `off` at its first bad one. A look
that fails is a gap, never an empty answer. So is a time in which nobody looked, where what came and went meanwhile
leaves nothing behind.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import RepriseError
from chaosreprise.history import Coverage, Timed

Emit = Callable[[Timed], None]
DONE = "done"


class Source(Protocol):
    """Emits events and its own coverage from the start of `run` until `stop` is set, then looks once more and ends."""

    name: str

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None: ...


async def sample(
    name: str,
    hz: float,
    clock: Clock,
    emit: Emit,
    stop: asyncio.Event,
    look: Callable[[int, bool], Awaitable[None]],
    unseen_s: float = math.inf,
) -> None:
    """Call `look(since, last)` `hz` times a second; `since` is when the last good look began, `last` asks for a full one.

    `look` raises a RepriseError for a look that failed: coverage ends where the last good look began, or has not begun. So it
    does when the next one was made more than `unseen_s` later than is meant: this process stood still, or the look took long.
    """
    since = clock.now()
    covered: bool | None = None  # not known
    while True:
        last = stop.is_set()
        began = clock.now()
        try:
            await look(since, last)
        except RepriseError as error:
            if covered is not False:
                emit(Coverage(lo=since, hi=clock.now(), of=name, on=False, why=str(error)))
            covered = False
        else:
            now = clock.now()
            if covered and now - since > (unseen_s + 1 / hz) * SECOND:
                why = f"nobody looked for {(now - since) / SECOND:.1f} s"
                emit(Coverage(lo=since, hi=now, of=name, on=False, why=why))
                emit(Coverage(lo=now, hi=now, of=name, on=True, why="watching again"))
            elif not covered:
                emit(Coverage(lo=began, hi=began, of=name, on=True, why="watching"))
            covered, since = True, began
        if last:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(0.0, 1 / hz - (clock.now() - began) / 1e9))
    if covered:
        emit(Coverage(lo=since, hi=since, of=name, on=False, why=DONE))
