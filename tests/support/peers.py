"""Both ends of a WebSocket (aiohttp) and of a database connection (psycopg, PostgreSQL) through a proxy of ours."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
from aiohttp import web

from chaosreprise.links.client import Proxy, Toxiproxy
from chaosreprise.links.watch import frames

PATIENCE_S = 30
_numbers = itertools.count()


class Wire(NamedTuple):
    """`near` is the client's end, `far` the server's. Neither answers pings or closes by itself."""

    near: aiohttp.ClientWebSocketResponse
    far: web.WebSocketResponse


class Web:
    """A server of WebSockets, a proxy in front of it, and its clients."""

    def __init__(
        self, proxy: Proxy, session: aiohttp.ClientSession, arrived: "asyncio.Queue[web.WebSocketResponse]"
    ) -> None:
        self.proxy = proxy
        self._session, self._arrived = session, arrived

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.proxy.address)

    async def connect(self, **options) -> Wire:
        near = await self._session.ws_connect(f"{self.url}/ws?who=me", autoping=False, autoclose=False, **options)
        return Wire(near, await asyncio.wait_for(self._arrived.get(), PATIENCE_S))

    async def get(self, path: str) -> str:
        async with self._session.get(self.url + path) as answer:
            return await answer.text()


@contextlib.asynccontextmanager
async def web_through(client: Toxiproxy, tap: bool = True) -> AsyncIterator[Web]:
    arrived: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        far = web.WebSocketResponse(autoping=False, autoclose=False)
        await far.prepare(request)
        arrived.put_nowait(far)
        await ended.wait()
        return far

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    ended = asyncio.Event()
    app = web.Application()
    app.add_routes([web.get("/ws", serve), web.get("/hello", hello)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy = tapped(client, f"127.0.0.1:{runner.addresses[0][1]}", tap)
    try:
        async with aiohttp.ClientSession() as session:
            yield Web(proxy, session, arrived)
    finally:
        ended.set()
        proxy.destroy()
        await runner.cleanup()


def tapped(client: Toxiproxy, upstream: str, tap: bool = True) -> Proxy:
    name = f"reprise-tap-{next(_numbers)}"
    body = {"name": name, "upstream": upstream, "listen": "127.0.0.1:0", "tap": tap}
    return client.populate([body])[0]


class Seen:
    """What the feed told of a proxy, as far as it was read."""

    def __init__(self, lines) -> None:
        self._lines = lines
        self.all: list[dict] = []

    async def until(self, **wanted) -> dict:
        """The next line with these values."""
        while True:
            line = await asyncio.wait_for(anext(self._lines), PATIENCE_S)
            self.all.append(line)
            if wanted.items() <= line.items():
                return line


@contextlib.asynccontextmanager
async def seen(proxy: Proxy) -> AsyncIterator[Seen]:
    async with frames(proxy._door.url, proxies=[proxy.name]) as lines:
        yield Seen(lines)
