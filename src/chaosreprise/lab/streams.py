"""The streams that are held to sessions: through the control plane to the session's own port. A seam for planted defects.

A stream ends with the session's process, with this one, or when whoever holds it goes away, and else never: once it is open it
needs neither the session's agent nor the database.
"""

import asyncio
from typing import Any

from aiohttp import WSCloseCode, web

from chaosreprise.lab import interpreter
from chaosreprise.lab.interpreter import InterpreterLost, Stream
from chaosreprise.lab.refusals import Refused
from chaosreprise.lab.store import Store

OPENING_S = 5.0
CLOSING_S = 0.3  # for whoever holds it to answer that it ends


class Streams:
    """`link`: the port by which sessions are reached, if there is one."""

    def __init__(self, store: Store, link: int | None) -> None:
        self._store, self._link = store, link
        self._held: dict[asyncio.Future[str], str] = {}

    async def open(self, session: str) -> Stream:
        """The way to the session's process. Refuses with 404 and 409, and with 500 when it does not answer."""
        endpoint = await self._store.endpoint(session)
        try:
            return await interpreter.stream(
                endpoint["host"], endpoint["port"], endpoint["token"], OPENING_S, self._link
            )
        except InterpreterLost as error:
            raise Refused(500, "Session not reachable", str(error)) from error

    async def pass_on(self, session: str, stream: Stream, socket: web.WebSocketResponse) -> None:
        """What the session says, until either end is gone, or it is cut."""
        cut: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._held[cut] = session
        ends: set[asyncio.Future[Any]] = {
            cut,
            asyncio.create_task(_say(stream, socket)),
            asyncio.create_task(_until_left(socket)),
        }
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            why = cut.result() if cut.done() else "the session's process has ended"
            await socket.close(code=WSCloseCode.GOING_AWAY, message=why.encode())
        finally:
            for end in ends:
                end.cancel()
            del self._held[cut]

    def cut_all(self, why: str) -> None:
        for cut in self._held:
            if not cut.done():
                cut.set_result(why)


async def _say(stream: Stream, socket: web.WebSocketResponse) -> None:
    try:
        while line := await stream.reader.readline():
            await socket.send_str(line.decode())
    except OSError:
        return


async def _until_left(socket: web.WebSocketResponse) -> None:
    """What whoever holds it says is not listened to: it ends with them."""
    async for _ in socket:
        pass
