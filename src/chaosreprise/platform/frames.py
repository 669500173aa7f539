"""What passes on the links to agents, read along by our own proxy: a source of reports about frames, whatever platform it is.

Covered while every one of these links is read: not while the proxy is away, a connection on one of them is encrypted or can't be
understood, or lines of the feed were lost. What a message says is the adapter's to know.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from chaosreprise.clock import Clock
from chaosreprise.errors import RepriseError
from chaosreprise.history import Coverage, Report
from chaosreprise.observe import Emit
from chaosreprise.observe.source import DONE
from chaosreprise.platform.links import OF_AGENTS, LinkAt, Place

NAME = "frames"
AGAIN_S = 0.2
SETTLED_S = 0.2  # by then the proxy has told which connections there are
UNREAD = ("blind", "encrypted")

Read = Callable[[str, dict[str, Any]], Report | None]
"""A line of the feed on the link of an agent as a report; None for one that says nothing of a command."""


def agents(links: Iterable[LinkAt]) -> list[str]:
    """The agents whose links are read along."""
    return [link.name.removeprefix(OF_AGENTS) for link in links if link.name.startswith(OF_AGENTS) and link.taps]


class FrameSource:
    name = NAME

    def __init__(self, links: Iterable[LinkAt], read: Read) -> None:
        self._read = read
        self._servers: dict[Place, dict[str, str]] = {}  # one place of each, and its proxies with their agents
        places: dict[tuple[str, str | None, str | None], Place] = {}
        for link in links:
            for place in link.taps or []:
                first = places.setdefault(place.server, place)
                self._servers.setdefault(first, {})[place.proxy] = link.name.removeprefix(OF_AGENTS)
        self._unread: dict[tuple[str, object], str] = {}
        self._is_covered: bool | None = None  # not known

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        del clock  # the proxy stamps
        self._unread = {(place.admin, None): "nobody reads along yet" for place in self._servers}
        following: list[asyncio.Task[Any]] = [asyncio.create_task(self._follow(place, emit)) for place in self._servers]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, *following], return_when=asyncio.FIRST_COMPLETED)
            for task in following:
                if task.done():
                    task.result()
        finally:
            stopping.cancel()
            for task in following:
                task.cancel()
            await asyncio.gather(stopping, *following, return_exceptions=True)
        if self._is_covered:
            now = time.monotonic_ns()
            emit(Coverage(lo=now, hi=now, of=NAME, on=False, why=DONE))

    async def _follow(self, place: Place, emit: Emit) -> None:
        """One server, again and again: it may be gone for a while."""
        seen = time.monotonic_ns()
        while True:
            why = "the proxy ended its feed"
            try:
                seen = await self._subscribed(place, emit)
            except RepriseError as error:
                why = str(error)
            for connection in [one for one in self._unread if one[0] == place.admin]:
                del self._unread[connection]
            self._mark(place, None, why, seen, emit)
            await asyncio.sleep(AGAIN_S)

    async def _subscribed(self, place: Place, emit: Emit) -> int:
        """Until the feed ends; when its last line was read."""
        from chaosreprise.links.watch import frames  # noqa: PLC0415 - for runs that wait for frames

        proxies = self._servers[place]
        seen = time.monotonic_ns()
        async with frames(place.admin, place.token(), proxies) as lines:
            settled = asyncio.get_running_loop().call_later(SETTLED_S, self._clear, place, None, emit)
            try:
                async for line in lines:
                    self._take(place, line, seen, emit)
                    seen = time.monotonic_ns()
            finally:
                settled.cancel()
        return seen

    def _take(self, place: Place, line: dict[str, Any], seen: int, emit: Emit) -> None:
        what, connection = line.get("what"), line.get("connection")
        if what in UNREAD or (what == "there" and line.get("blind")):
            self._mark(place, connection, str(line.get("why") or line.get("blind")), seen, emit)
        elif what == "close":
            self._clear(place, connection, emit)
        elif what == "gap":
            self._miss(place, f"{line.get('lost')} lines of its feed were lost", seen, emit)
        elif line.get("compressed") or (line.get("opcode") == "text" and "fields" not in line):
            self._miss(place, "a message on it could not be read", seen, emit)
        elif (report := self._read(self._servers[place][line["proxy"]], line)) is not None:
            emit(report)

    def _mark(self, place: Place, connection: object, why: str, since: int, emit: Emit) -> None:
        """Not read any more; it surely was until `since`."""
        self._unread[place.admin, connection] = why
        if self._is_covered is not False:
            self._is_covered = False
            emit(Coverage(lo=since, hi=time.monotonic_ns(), of=NAME, on=False, why=why))

    def _miss(self, place: Place, why: str, since: int, emit: Emit) -> None:
        """Of one moment."""
        self._mark(place, "", why, since, emit)
        self._clear(place, "", emit)

    def _clear(self, place: Place, connection: object, emit: Emit) -> None:
        with contextlib.suppress(KeyError):
            del self._unread[place.admin, connection]
        if not self._unread and not self._is_covered:
            self._is_covered = True
            now = time.monotonic_ns()
            emit(Coverage(lo=now, hi=now, of=NAME, on=True, why="watching"))
