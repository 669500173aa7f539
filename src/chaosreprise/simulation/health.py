"""The health page of the simulated platform, looked at so many times a second: whether it calls its database up."""

import asyncio
from collections.abc import Callable

from chaosreprise.clock import Clock
from chaosreprise.history import Coverage, Observe
from chaosreprise.observe.source import DONE, Emit

LOOK_S = 0.1


class Health:
    """A source of one signal."""

    name = "health"

    def __init__(self, up: Callable[[], bool]) -> None:
        self._up = up

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        now = clock.now()
        emit(Coverage(lo=now, hi=now, of=self.name, on=True, why="watching"))
        while not stop.is_set():
            now = clock.now()
            emit(Observe(lo=now, hi=now, source=self.name, signal="database_up", value=int(self._up())))
            await asyncio.sleep(LOOK_S)
        now = clock.now()
        emit(Coverage(lo=now, hi=now, of=self.name, on=False, why=DONE))
