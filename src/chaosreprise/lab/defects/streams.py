"""Defects in how long a stream is held: it is cut for what is none of its business."""

import asyncio
import contextlib
from typing import ClassVar

from aiohttp import web

from chaosreprise.lab.interpreter import Stream
from chaosreprise.lab.store import Store
from chaosreprise.lab.streams import Streams

LOOKS_S = 0.4


class KnownStreams(Streams):
    """Other parts of this process that act on them (`roster`) find them here."""

    all: ClassVar[list[Streams]] = []

    def __init__(self, store: Store, link: int) -> None:
        super().__init__(store, link)
        self.all.append(self)


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
