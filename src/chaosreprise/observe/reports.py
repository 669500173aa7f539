"""What a platform says of itself, sampled: each session, command and agent is reported when it is first seen, and when its state changes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import msgspec

from chaosreprise.clock import Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Report
from chaosreprise.observe.source import Emit, sample


class Said(msgspec.Struct, frozen=True):
    """What is said of one of them now. `owner`: of a session, its agent; `fields`: {"key": ...}, where it shows the key of its start."""

    about: Literal["command", "session", "agent"]
    id: str
    state: str
    owner: str | None = None
    fields: dict[str, Any] = {}


class ReportSource:
    """`read`: all that is said now. An OSError or a RepriseError of it is a gap, never an empty answer."""

    def __init__(self, name: str, hz: float, read: Callable[[], Awaitable[Iterable[Said]]]) -> None:
        self.name, self._hz, self._read = name, hz, read
        self._known: dict[tuple[str, str], str] = {}

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            del last
            for said in await self._all():
                if self._known.get((said.about, said.id)) != said.state:
                    self._known[said.about, said.id] = said.state
                    emit(Report(lo=since, hi=clock.now(), source=self.name, **msgspec.structs.asdict(said)))

        await sample(self.name, self._hz, clock, emit, stop, look)

    async def _all(self) -> Iterable[Said]:
        try:
            return await self._read()
        except OSError as error:
            raise Unreachable(f"{self.name}: can't be read ({error.strerror or error})") from error
