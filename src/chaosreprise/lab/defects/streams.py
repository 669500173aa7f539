"""Defects in how long a stream is held: it is cut for what is none of its business."""

import asyncio
import contextlib
from typing import Any, ClassVar

from aiohttp import web

from chaosreprise.lab.interpreter import Stream
from chaosreprise.lab.refusals import Refused
from chaosreprise.lab.store import Store
from chaosreprise.lab.streams import Streams

LOOKS_S = 0.4


class KnownStreams(Streams):
    """Other parts of this process that act on them (`roster`) find them here."""

    all: ClassVar[list[Streams]] = []

    def __init__(self, store: Store, link: int) -> None:
        super().__init__(store, link)
        self.all.append(self)


class RemembersTheWay(Streams):
    """Where a session is reached is looked up for its first stream, and remembered while it sleeps."""

    def __init__(self, store: Store, link: int) -> None:
        super().__init__(store, link)
        self._ways: dict[str, Any] = {}

    async def open(self, session: str) -> Stream:
        now = await self._store.endpoint(session)
        way = self._ways.setdefault(session, now)
        if way["port"] != now["port"]:
            raise Refused(500, "Session not reachable", f"nobody listens at {way['host']}:{way['port']}")
        return await super().open(session)


class LooksUp(Streams):
    """A stream looks up its session now and then, and is cut when that fails, whatever the reason."""

    async def pass_on(self, session: str, stream: Stream, socket: web.WebSocketResponse) -> None:
        looking = asyncio.create_task(self._look(session, stream))
        try:
            await super().pass_on(session, stream, socket)
        finally:
            looking.cancel()

    async def _look(self, session: str, stream: Stream) -> None:
        with contextlib.suppress(Exception):
            while True:
                await asyncio.sleep(LOOKS_S)
                await self._store.endpoint(session)
        stream.writer.close()
