"""Virtual time: an event loop that never waits. When nothing is ready it is at once the time of what comes next."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from chaosreprise.clock import SECOND

EPOCH_S = 1000.0
LOOK_NS = 1000  # what looking at the clock takes: no two looks see the same moment
Result = TypeVar("Result")


class NothingLeft(Exception):
    """Everybody waits, and nothing will ever happen: the simulation has a bug."""


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """It has no files and no sockets, so nothing from outside can come between."""

    def __init__(self) -> None:
        super().__init__()
        self._moment = EPOCH_S
        self._selector = self

    def time(self) -> float:
        return self._moment

    def select(self, timeout: float | None) -> list[Any]:
        """What the base class asks its selector for: it goes on to the next timer."""
        if timeout is None:
            raise NothingLeft("nothing is planned, and nobody can go on")
        self._moment += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits outside."""


class VirtualClock:
    """The clock of a virtual loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last + LOOK_NS, round(self._loop.time() * SECOND))
        return self._last

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, without a moment of real waiting. What it leaves running is cancelled."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
