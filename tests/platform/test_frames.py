"""What passes on the links to agents, read along by our own proxy, and when it is not known."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import linkwire
import pytest
from peers import Web, web_through

from chaosreprise.clock import SystemClock
from chaosreprise.history import Coverage, Report, Timed
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform.frames import FrameSource
from chaosreprise.platform.links import LinkAt, Place
from chaosreprise.platform.streamspace_frames import read


@pytest.fixture(scope="module")
def client():
    with linkwire.embedded() as (_, url):
        yield Toxiproxy(url)


class Emitted:
    def __init__(self) -> None:
        self.all: list[Timed] = []

    async def until(self, count: int, kind: type[Timed] = Report) -> list[Any]:
        async with asyncio.timeout(10):
            while len(found := [event for event in self.all if isinstance(event, kind)]) < count:
                await asyncio.sleep(0.005)
        return found


@asynccontextmanager
async def reading(web: Web, url: str) -> AsyncIterator[Emitted]:
    """The source on the link of a1; ended in order."""
    place = Place(admin=url, proxy=web.proxy.name)
    source = FrameSource([LinkAt(name="links/agents/a1", toxics=[place], taps=[place])], read)
    emitted, stop = Emitted(), asyncio.Event()
    task = asyncio.create_task(source.run(SystemClock(), emitted.all.append, stop))
    try:
        yield emitted
    finally:
        stop.set()
        await task


def message(kind: str, **payload: Any) -> str:
    return json.dumps({"type": kind, "payload": payload})


COMMAND = message("command", commandId="p1", action="wake_session", payload={"sessionId": "s1", "seq": 3})


def test_the_way_of_a_command_is_seen(client: Toxiproxy) -> None:
    async def scenario() -> list[Timed]:
        async with web_through(client) as web, reading(web, client.url) as emitted:
            await emitted.until(1, Coverage)
            agent, control_plane = await web.connect()
            await agent.send_str(message("heartbeat", status="online"))
            await control_plane.send_str(COMMAND)
            await agent.receive_str()
            for kind in ("ack", "status", "complete"):
                await agent.send_str(message(kind, commandId="p1"))
            await emitted.until(3)
        return emitted.all

    events = asyncio.run(scenario())
    seen = [event for event in events if isinstance(event, Report)]
    assert [(one.id, one.state, one.owner) for one in seen] == [
        ("p1", "delivered", "a1"),
        ("p1", "acked", "a1"),
        ("p1", "reported", "a1"),
    ]
    assert seen[0].fields == {"action": "wake_session"}
    assert [event.hi for event in seen] == sorted(event.lo for event in seen)
    assert [(one.on, one.why) for one in events if isinstance(one, Coverage)] == [(True, "watching"), (False, "done")]


def test_a_link_with_a_connection_that_nobody_reads_is_not_covered_until_it_has_ended(client: Toxiproxy) -> None:
    async def scenario() -> list[Coverage]:
        async with web_through(client, tap=False) as web:
            agent, _ = await web.connect()
            async with reading(web, client.url) as emitted:
                await emitted.until(1, Coverage)
                await asyncio.sleep(0.4)
                assert len(emitted.all) == 1
                agent._response.close()
                return await emitted.until(2, Coverage)

    off, on = asyncio.run(scenario())
    assert (off.on, off.why) == (False, "nobody read it when it began")
    assert on.on


def test_a_message_that_can_not_be_read_is_a_gap(client: Toxiproxy) -> None:
    async def scenario() -> list[Coverage]:
        async with web_through(client) as web, reading(web, client.url) as emitted:
            await emitted.until(1, Coverage)
            _, control_plane = await web.connect()
            await control_plane.send_str(message("command", commandId="p1", more="x" * 20_000))
            return await emitted.until(3, Coverage)

    on, off, again = asyncio.run(scenario())
    assert (on.on, off.on, again.on) == (True, False, True)
    assert off.why == "a message on it could not be read"
    assert off.lo <= off.hi == again.lo or off.hi <= again.lo


def test_a_proxy_that_goes_away_is_a_gap_and_is_read_again(client: Toxiproxy) -> None:
    async def scenario() -> list[Coverage]:
        with linkwire.embedded() as (process, url):
            place = Place(admin=url, proxy="none")
            source = FrameSource([LinkAt(name="links/agents/a1", toxics=[place], taps=[place])], read)
            emitted, stop = Emitted(), asyncio.Event()
            task = asyncio.create_task(source.run(SystemClock(), emitted.all.append, stop))
            await emitted.until(1, Coverage)
            process.kill()
            found = await emitted.until(2, Coverage)
            stop.set()
            await task
        return found

    on, off = asyncio.run(scenario())
    assert on.on
    assert not off.on
    assert off.why == "the proxy ended its feed"


def test_what_is_no_word_of_an_agent_is_passed_over() -> None:
    for line in (
        {"what": "request", "path": "/"},
        {"what": "message", "direction": "downstream", "fields": {"type": "ack", "commandId": "p1"}},
        {"what": "message", "direction": "upstream", "fields": {"type": "command", "commandId": "p1"}},
        {"what": "message", "direction": "upstream", "fields": {"type": "ack"}},
        {"what": "message", "direction": "upstream", "fields": {"type": "ack", "commandId": 7}},
    ):
        assert read("a1", {"t": 1, **line}) is None
