"""The client's end of a WebSocket (RFC 6455), as little of it as holding one asks for: open, hear, ping, close.

aiohttp can all this and more, but every load would import it, for a quarter of a second and 9 MiB.
"""

import asyncio
import base64
import hashlib
import os
import struct
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

CLOSE, PING, PONG = 8, 9, 10
FINAL, MASKED, SHORT = 0x80, 0x80, 0x7F
LENGTHS = {126: ">H", 127: ">Q"}
ACCEPTS = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class NotOpened(Exception):
    """What was said instead of opening it."""


class Frame(NamedTuple):
    kind: int
    payload: bytes


class WebSocket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def receive(self) -> Frame:
        """Raises OSError or EOFError at the end of the connection."""
        kind, length = await self._reader.readexactly(2)
        if more := LENGTHS.get(length & SHORT):
            (length,) = struct.unpack(more, await self._reader.readexactly(struct.calcsize(more)))
        return Frame(kind & ~FINAL, await self._reader.readexactly(length))

    def send(self, kind: int, payload: bytes = b"") -> None:
        """A short frame, masked as a client must; with zeros, since no proxy between is to be misled here."""
        self._writer.write(bytes((FINAL | kind, MASKED | len(payload))) + bytes(4) + payload)

    def end(self) -> None:
        """Close it without waiting for the other end."""
        self.send(CLOSE, struct.pack(">H", 1000))
        self._writer.close()


async def connect(url: str, headers: Mapping[str, str]) -> WebSocket:
    """Raises OSError, EOFError or NotOpened."""
    place = urllib.parse.urlsplit(url)
    secure = place.scheme in ("https", "wss")
    port = place.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(place.hostname, port, ssl=secure or None)
    key = base64.b64encode(os.urandom(16)).decode()
    asked = {
        "Host": place.netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    try:
        lines = [f"GET {place.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        _check(head.decode("latin-1"), key)
    except BaseException:
        writer.close()
        raise
    return WebSocket(reader, writer)


def _check(head: str, key: str) -> None:
    first, *lines = head.split("\r\n")
    said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    due = base64.b64encode(hashlib.sha1(f"{key}{ACCEPTS}".encode(), usedforsecurity=False).digest()).decode()
    if first.split()[1:2] != ["101"] or said.get("sec-websocket-accept") != due:
        raise NotOpened(first)
