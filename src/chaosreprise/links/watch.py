"""A subscription to the frames that our own proxy sees (`GET /reprise/frames`). Once it is made, nothing is missed unsaid.

A line `gap` says how many were lost because they were not read in time; the end of the lines that the proxy is gone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from chaosreprise.errors import NotAllowed, NotPossible, Unreachable
from chaosreprise.links.client import LIMIT_S

LONGEST_LINE = 1 << 20
HEAD_END = b"\r\n\r\n"


@contextlib.asynccontextmanager
async def frames(
    url: str, token: str = "", proxies: Iterable[str] = ()
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The frames of these proxies, or of all, from now on. Raises Unreachable, NotAllowed or NotPossible."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=LONGEST_LINE)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"the proxy at {url} can't be reached ({error}): is it still running?") from error
    try:
        query = "&".join(f"proxy={quote(name, safe='')}" for name in proxies)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        writer.write(f"GET /reprise/frames?{query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}\r\n".encode())
        await _begin(reader, url)
        yield _lines(reader)
    finally:
        writer.close()


async def _begin(reader: asyncio.StreamReader, url: str) -> None:
    """Until the subscription is made, which its first line says."""
    try:
        async with asyncio.timeout(LIMIT_S):
            head = await reader.readuntil(HEAD_END)
            status = head.split(b" ", 2)[1]
            if status == b"200":
                await reader.readline()
                return
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, OSError, TimeoutError) as error:
        raise Unreachable(f"the proxy at {url} did not answer a subscription in {LIMIT_S:g} s ({error})") from error
    if status == b"401":
        raise NotAllowed(
            f"the proxy at {url} takes no subscription without its token: give the one that it was started with"
        )
    raise NotPossible(
        f"the server at {url} has no taps (status {status.decode()}): only our own proxy reads along, a real Toxiproxy does not"
    )


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    with contextlib.suppress(ConnectionError):
        while (line := await reader.readline()).endswith(b"\n"):
            yield msgspec.json.decode(line)
