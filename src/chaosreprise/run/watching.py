"""The sources of a platform while somebody watches them: a run's recorder, `doctor` for one look, `conformance` for a while."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from chaosreprise.clock import Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage, Timed
from chaosreprise.observe import Emit, Source

TICK_S = 0.005
UNANSWERED = "it did not answer"


class Watching:
    """`unseen`: the sources that have not had a good look yet, and why, as far as that is known. `ended`: a done-callback."""

    def __init__(
        self,
        sources: Iterable[Source],
        clock: Clock,
        emit: Emit,
        ended: Callable[["asyncio.Task[Any]"], None] | None = None,
    ) -> None:
        self._emit = emit
        self._stop = asyncio.Event()
        self.unseen: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for source in sources:
            self.unseen[source.name] = UNANSWERED
            task = asyncio.create_task(source.run(clock, self._take, self._stop), name=source.name)
            if ended is not None:
                task.add_done_callback(ended)
            self._tasks.append(task)

    @property
    def names(self) -> list[str]:
        return [task.get_name() for task in self._tasks]

    async def until_seen(self, within_s: float, failing_s: float | None = None) -> None:
        """Until each source has had a good look. Raises Unreachable for one that has not in time: `failing_s` is enough for
        those that all say why they can't.
        """
        failing = 0
        for _ in range(int(within_s / TICK_S)):
            if not self.unseen:
                return
            failing = failing + 1 if UNANSWERED not in self.unseen.values() else 0
            if failing_s is not None and failing * TICK_S >= failing_s:
                break
            await asyncio.sleep(TICK_S)
        name, why = min(self.unseen.items())
        raise Unreachable(
            f"evidence.{name}: could not be looked at within {within_s:g} s ({why}): check what the platform file says of it"
        )

    async def end(self) -> None:
        """After a last look."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def give_up(self) -> None:
        """Without one."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, event: Timed) -> None:
        self._emit(event)
        if isinstance(event, Coverage) and event.of in self.unseen:
            if event.on:
                del self.unseen[event.of]
            else:
                self.unseen[event.of] = event.why
