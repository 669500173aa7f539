"""A session's stream on a StreamSpace, held open over its control plane for as long as it lasts.

Only a `websocket` is spoken, at the path that the session itself names: its other protocols (`vnc` and those over HTTP) ask for
a client that draws pictures. What comes is not looked at; that something comes, or is answered to a ping, is a sign of life.

When a stream broke. Its end is noticed by a process that looks at the connection every LOOK_S, so it came after the look
before the last one. Silence of SILENT_S ends it as well, counted in looks: a stall of this process is nobody's silence.
"""

import asyncio
import time
from collections.abc import Mapping

from chaosreprise.platform import websocket
from chaosreprise.platform.adapter import Broken
from chaosreprise.platform.websocket import CLOSE, PING, PONG, Frame, NotOpened, WebSocket

PROTOCOL = "websocket"
OPENING_S = 10.0
LOOK_S = 0.05
PING_S = 1.0
SILENT_S = 15.0


class HeldStream:
    """One stream. `path` are the components that it crosses."""

    def __init__(self, socket: WebSocket, path: list[str]) -> None:
        self._socket, self.path = socket, path
        self._heard = self._alive = time.monotonic_ns()

    async def broken(self) -> Broken:
        ended = asyncio.create_task(self._until_ended())
        silent = 0
        try:
            while silent * LOOK_S < SILENT_S:
                began, heard = time.monotonic_ns(), self._heard
                await asyncio.wait({ended}, timeout=LOOK_S)
                if ended.done():
                    self._socket.end()
                    return Broken(lo=self._alive, hi=time.monotonic_ns(), why=ended.result())
                self._alive = began
                silent = silent + 1 if self._heard == heard else 0
                if silent and not silent % round(PING_S / LOOK_S):
                    self._socket.send(PING)
        finally:
            ended.cancel()
        self._socket.end()
        return Broken(lo=self._heard, hi=time.monotonic_ns(), why=f"nothing was heard for {SILENT_S:g} s")

    async def close(self) -> None:
        self._socket.end()

    async def _until_ended(self) -> str:
        while True:
            try:
                said = await self._socket.receive()
            except (OSError, EOFError) as error:
                return f"the connection was lost: {error!r}"
            self._heard = time.monotonic_ns()
            if said.kind == CLOSE:
                return _closed(said)
            if said.kind == PING:
                self._socket.send(PONG, said.payload)


async def hold(url: str, headers: Mapping[str, str], path: list[str]) -> HeldStream | None:
    """The stream at this URL; None when it can't be opened."""
    try:
        async with asyncio.timeout(OPENING_S):
            return HeldStream(await websocket.connect(url, headers), path)
    except (OSError, EOFError, NotOpened):  # a TimeoutError is an OSError
        return None


def _closed(said: Frame) -> str:
    code, reason = int.from_bytes(said.payload[:2], "big"), said.payload[2:].decode(errors="replace")
    return f"closed by the platform with {code or 'no code'}{f': {reason}' if reason else ''}"
