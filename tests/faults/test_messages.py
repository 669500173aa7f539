"""Faults on messages, on a WebSocket of aiohttp through our own proxy: planned, proven on what is there, undone."""

import asyncio
import contextlib
import itertools
import json

import linkwire
import peers
import pytest

from chaosreprise.clock import boottime
from chaosreprise.errors import BadInput, NotPossible, NotProven
from chaosreprise.faults import on_link, passing, registry
from chaosreprise.faults.base import Context
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform.links import LinkAt, Place

ON, MARK = "links/agents/a1", "r1/f1"
KINDS = [kind for kind in registry.kinds() if kind.startswith("links.ws_")]
EVERY_S = 0.01


@pytest.fixture(scope="module")
def client():
    with linkwire.embedded() as (_, url):
        yield Toxiproxy(url)


@pytest.fixture
def far():
    end = linkwire.Far()
    yield end
    end.close()


def context(web):
    return on(web.proxy._door.url, web.proxy)


def on(url, proxy):
    place = Place(admin=url, proxy=proxy.name)
    return Context(None, [], {ON: LinkAt(name=ON, toxics=[place], taps=[place])})


class Chat:
    """A client that says numbered messages and pings all the time, and connects again when it is cut; and its server, that answers each."""

    def __init__(self, web):
        self._web = web
        self.heard, self.connections = [], 0
        self._task = asyncio.create_task(self._run())

    async def _run(self):
        while True:
            wire = await self._web.connect()
            self.connections += 1
            with contextlib.suppress(ConnectionError):
                await asyncio.wait(
                    [
                        asyncio.create_task(work)
                        for work in (self._say(wire.near), self._answer(wire.far), self._hear(wire.near))
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            await wire.near.close()

    async def _say(self, near):
        number = 0
        while not near.closed:
            await near.send_str(json.dumps({"type": "say", "number": number}))
            await near.ping()
            number += 1
            await asyncio.sleep(EVERY_S)

    async def _answer(self, far):
        async for message in far:
            if isinstance(message.data, str):
                await far.send_str(message.data.replace("say", "answer"))

    async def _hear(self, near):
        async for message in near:
            if isinstance(message.data, str):
                self.heard.append(json.loads(message.data)["number"])

    async def goes_on(self):
        before = len(self.heard)
        while len(self.heard) < before + 5:
            await asyncio.sleep(EVERY_S)

    async def stop(self):
        self._task.cancel()
        await asyncio.wait([self._task])


@contextlib.asynccontextmanager
async def chatting(client):
    async with peers.web_through(client) as web:
        chat = Chat(web)
        await asyncio.wait_for(chat.goes_on(), peers.PATIENCE_S)
        yield web, chat
        await asyncio.wait_for(chat.goes_on(), peers.PATIENCE_S)
        await chat.stop()


@contextlib.asynccontextmanager
async def made(kind, web, **args):
    fault, where = registry.get(kind), context(web)
    target = await fault.plan(where, ON, args)
    await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
    try:
        yield fault, where, target
    finally:
        assert await fault.undo(where, MARK, target) is None
        await fault.verify(where, MARK, target)
        assert list(web.proxy.toxics()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_proven_on_what_is_connected_and_leaves_it_whole(kind, client):
    async def scenario():
        async with chatting(client) as (web, chat):
            async with made(kind, web) as (fault, where, target):
                seen = await fault.prove(where, MARK, target)
                assert [name for name in web.proxy.toxics() if not name.startswith("reprise.r1.f1.")] == []
            return seen, chat.connections

    seen, connections = asyncio.run(scenario())
    assert seen["hit"] >= 1
    closes = kind in {"links.ws_close", "links.ws_reconnect_storm"}
    assert (connections > 1) == closes
    assert not closes or seen["websockets_gone"] == 1


def test_exactly_the_messages_that_are_meant_are_lost_and_doubled(client):
    async def scenario():
        async with chatting(client) as (web, chat):
            match = {"fields": {"type": "answer"}}
            async with made("links.ws_drop", web, match=match, nth=2, messages=3) as (fault, where, target):
                await fault.prove(where, MARK, target)
                await chat.goes_on()
            async with made("links.ws_duplicate", web, match=match) as (fault, where, target):
                await fault.prove(where, MARK, target)
                await chat.goes_on()
            return chat.heard

    heard = asyncio.run(scenario())
    steps = [after - before for before, after in itertools.pairwise(heard)]
    assert sorted(step for step in steps if step != 1) == [0, 4]


def test_what_nobody_says_is_not_proven(client, monkeypatch):
    monkeypatch.setattr(passing, "PROVE_S", 0.2)

    async def scenario():
        async with chatting(client) as (web, _):
            async with made("links.ws_drop", web, match={"text": "nobody says this"}) as (fault, where, target):
                with pytest.raises(
                    NotProven, match=r"no message that was meant came, to it, within 0.2 s \(0 were meant, 0 hit\)"
                ):
                    await fault.prove(where, MARK, target)

    asyncio.run(scenario())


def test_a_link_without_a_websocket_that_is_read_is_refused(client, far):
    async def plan(proxy, kind="links.ws_drop"):
        where = on(client.url, proxy)
        await registry.get(kind).plan(where, ON, {})

    for tap, why in ((False, "nobody read it when it began"), (True, "neither HTTP/1.1 nor PostgreSQL begins with")):
        proxy = peers.tapped(client, far.address, tap)
        with linkwire.near(proxy.address) as near, far.take() as end:
            near.sendall(b"\xffnonsense")
            linkwire.read_exactly(end, 9)
            with pytest.raises(NotPossible, match=f"links/agents/a1: no WebSocket on it is read: {why}"):
                asyncio.run(plan(proxy))
        proxy.destroy()


def test_a_link_that_no_proxy_of_ours_reads_is_refused(client):
    link = LinkAt(name=ON, toxics=[Place(admin=client.url, proxy="a real one")])
    with pytest.raises(NotPossible, match="links/agents/a1 has no `taps`"):
        asyncio.run(registry.get("links.ws_close").plan(Context(None, [], {ON: link}), ON, {}))


def test_a_code_that_may_not_be_sent_is_refused_before_anything_is_touched(client):
    async def scenario():
        async with chatting(client) as (web, _):
            with pytest.raises(BadInput, match="code = 5000"):
                await registry.get("links.ws_close").plan(context(web), ON, {"code": 5000})
            with pytest.raises(BadInput, match="1006"):
                await registry.get("links.ws_close").plan(context(web), ON, {"code": 1006})

    asyncio.run(scenario())


def test_a_proxy_that_was_lost_comes_back_with_its_tap(client, far):
    proxy = peers.tapped(client, far.address)

    async def scenario():
        fault = registry.get("links.latency")
        where = on(client.url, proxy)
        with linkwire.near(proxy.address), far.take():
            target = await fault.plan(where, ON, {})
            await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
        proxy.destroy()
        assert await fault.undo(where, MARK, target) == on_link.SERVER
        return client.get_proxy(proxy.name).tap

    assert asyncio.run(scenario()) is True
    proxy.destroy()
