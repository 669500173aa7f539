"""WebSockets of aiohttp through a tapped proxy: what is told of them, and what each toxic on messages does to exactly one of them."""

import asyncio
import json
import random

import aiohttp
import dialogues
import linkwire
import pytest
from aiohttp import WSMsgType
from linkwire import embedded
from peers import seen, tapped, web_through

from chaosreprise.links.client import Refused, Toxiproxy

NOBODYS = {"match": {"text": "what nobody says"}, "count": 0}
HARMLESS = {
    "ws_drop": NOBODYS,
    "ws_duplicate": NOBODYS,
    "ws_drop_pings": {},
    "ws_delay": {"delay": 3, "count": 0},
    "latency": {"latency": 2, "jitter": 1},
    "slicer": {"average_size": 3_000, "size_variation": 500},
}
COMMAND = json.dumps(
    {"type": "command", "payload": {"commandId": "c1", "action": "start", "payload": {"sessionId": "s"}}}
)


@pytest.fixture(scope="module")
def client():
    with embedded() as (_, url):
        yield Toxiproxy(url)


def texts(*numbers):
    return [f"m{number}" for number in numbers]


async def received(end, count, within_s=5):
    """The next so many messages, as text, or as type and data."""
    found = []
    for _ in range(count):
        message = await end.receive(within_s)
        found.append(message.data if message.type is WSMsgType.TEXT else (message.type.name, message.data))
    return found


async def nothing_comes(end, for_s=0.15):
    with pytest.raises(asyncio.TimeoutError):
        await end.receive(for_s)


def test_the_feed_tells_requests_messages_and_how_it_ends(client):
    async def scenario():
        async with web_through(client) as web, seen(web.proxy) as feed:
            await web.get("/hello")
            near, far = await web.connect()
            await near.send_str(COMMAND)
            await far.send_bytes(b"12345")
            await near.ping(b"hi")
            await near._writer.close(4001, b"enough")
            closed = await feed.until(opcode="close", code=4001)
            await far.send_str("late")
            await feed.until(text="late")
            return feed.all, closed

    lines, closed = asyncio.run(scenario())
    whats = [(line["what"], line.get("direction")) for line in lines]
    assert whats[:3] == [("open", None), ("request", "upstream"), ("response", "downstream")]
    assert [(line["method"], line["path"], line.get("status")) for line in lines if "path" in line] == [
        ("GET", "/hello", None), ("GET", "/hello", 200), ("GET", "/ws?who=me", None), ("GET", "/ws?who=me", 101),
    ]  # fmt: skip
    messages = [line for line in lines if line["what"] == "message"]
    command = next(line for line in messages if line["direction"] == "upstream")  # the other way goes on beside it
    assert command["text"] == COMMAND
    assert command["fields"] == {"type": "command", "commandId": "c1", "action": "start"}
    assert {(line["opcode"], line["size"], line["direction"]) for line in messages} == {
        ("text", len(COMMAND), "upstream"), ("text", 4, "downstream"), ("binary", 5, "downstream"), ("ping", 2, "upstream"), ("close", 8, "upstream"),
    }  # fmt: skip
    assert closed["text"] == "enough"
    assert all(line["protocol"] == "websocket" for line in messages)


def test_a_subscriber_is_told_of_the_websockets_that_were_there_before_it(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            await near.send_str("before")
            assert await received(far, 1) == ["before"]
            async with seen(web.proxy) as feed:
                there = await feed.until(what="there")
                await near.send_str("after")
                return there, await feed.until(what="message")

    there, message = asyncio.run(scenario())
    assert (there["protocol"], there["blind"]) == ("websocket", None)
    assert message["text"] == "after"
    assert message["connection"] == there["connection"]


def test_without_tap_a_connection_that_began_unread_is_said_to_be_so_and_later_ones_are_read(client):
    async def scenario():
        async with web_through(client, tap=False) as web:
            near, _ = await web.connect()
            async with seen(web.proxy) as feed:
                there = await feed.until(what="there")
                await near.send_str("not seen")
                later, _ = await web.connect()
                await later.send_str("seen")
                message = await feed.until(what="message")
            return there, message

    there, message = asyncio.run(scenario())
    assert there["blind"] == "nobody read it when it began"
    assert message["text"] == "seen"


def test_a_compressed_message_is_told_without_its_text_and_never_bitten(client):
    async def scenario():
        async with web_through(client) as web, seen(web.proxy) as feed:
            near, far = await web.connect(compress=15)
            web.proxy.add_toxic(type="ws_drop", stream="upstream", attributes={"count": 0})
            await near.send_str("a" * 300)
            message = await feed.until(what="message")
            return near.compress, message, await received(far, 1)

    compress, message, got = asyncio.run(scenario())
    assert got == ["a" * 300]
    assert bool(compress) == message.get("compressed", False)
    assert compress, "aiohttp did not agree on compression: this test shows nothing"


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_drop_takes_exactly_the_nth_message_that_matches(client, stream):
    async def scenario():
        async with web_through(client) as web, seen(web.proxy) as feed:
            wire = await web.connect()
            sender, receiver = wire if stream == "upstream" else reversed(wire)
            web.proxy.add_toxic(type="ws_drop", stream=stream, name="d", attributes={"nth": 2, "match": {"text": "m"}})
            for text in ["x", *texts(1, 2, 3)]:
                await sender.send_str(text)
            got = await received(receiver, 3)
            bite = await feed.until(what="toxic")
            web.proxy.destroy_toxic("d")
            await sender.send_str("last")
            return got + await received(receiver, 1), bite

    got, bite = asyncio.run(scenario())
    assert got == ["x", "m1", "m3", "last"]
    assert (bite["toxic"], bite["did"], bite["text"], bite["direction"]) == ("d", "dropped", "m2", stream)


def test_toxics_on_bytes_that_were_there_before_do_not_blind_those_on_messages(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            web.proxy.add_toxic(type="slicer", attributes={"average_size": 2, "size_variation": 1})
            web.proxy.add_toxic(type="latency", attributes={"latency": 20})
            web.proxy.add_toxic(type="ws_drop", attributes={"nth": 2})
            for text in texts(1, 2, 3):
                await far.send_str(text)
            return await received(near, 2)

    assert asyncio.run(scenario()) == texts(1, 3)


def test_a_close_never_comes_in_the_middle_of_a_message(client, far):
    proxy = tapped(client, far.address)
    message = dialogues.frame(1, b"x" * 100_000, False)
    with linkwire.near(proxy.address) as client_end, far.take() as server_end:
        for sender, receiver, data in (
            (client_end, server_end, dialogues.UPGRADE),
            (server_end, client_end, dialogues.SWITCHING + message[:40_000]),
        ):
            sender.sendall(data)
            linkwire.read_exactly(receiver, len(data))
        proxy.add_toxic(type="ws_close", attributes={"code": 1001, "reason": "now"})
        server_end.sendall(message[40_000:60_000])
        assert linkwire.read_exactly(client_end, 20_000) == message[40_000:60_000]
        assert linkwire.how_it_ends(client_end, 0.1) == "open"
        server_end.sendall(message[60_000:] + message)
        assert linkwire.read_all(client_end) == message[60_000:] + b"\x88\x05\x03\xe9now"
    proxy.destroy()


def test_fields_of_json_choose_the_message(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            match = {"fields": {"type": "command", "action": "stop"}}
            web.proxy.add_toxic(type="ws_drop", attributes={"match": match, "count": 0})
            said = [
                json.dumps({"type": kind, "payload": {"action": action}})
                for kind in ("command", "commands")
                for action in ("start", "stop")
            ]
            for one in said:
                await far.send_str(one)
            assert await received(near, 3) == [said[0], said[2], said[3]]
            await nothing_comes(near)

    asyncio.run(scenario())


def test_pings_and_pongs_are_lost_and_nothing_else(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            for stream in ("upstream", "downstream"):
                web.proxy.add_toxic(type="ws_drop_pings", stream=stream)
            await near.ping()
            await near.pong()
            await near.send_str("up")
            await far.ping()
            await far.pong()
            await far.send_bytes(b"down")
            got = await received(far, 1) + await received(near, 1)
            for stream in ("upstream", "downstream"):
                web.proxy.destroy_toxic(f"ws_drop_pings_{stream}")
            await near.ping(b"again")
            return got, await received(far, 1)

    got, after = asyncio.run(scenario())
    assert got == ["up", ("BINARY", b"down")]
    assert after == [("PING", b"again")]


def test_duplicate_sends_one_message_twice(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            web.proxy.add_toxic(type="ws_duplicate", stream="upstream", attributes={"match": {"opcode": "text"}})
            await near.send_bytes(b"b")
            for text in texts(1, 2):
                await near.send_str(text)
            got = await received(far, 4)
            await nothing_comes(far)
            return got

    assert asyncio.run(scenario()) == [("BINARY", b"b"), "m1", "m1", "m2"]


def test_delay_holds_one_message_and_what_is_behind_it_in_order(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            web.proxy.add_toxic(type="ws_delay", attributes={"delay": 300, "match": {"text": "2"}})
            loop = asyncio.get_running_loop()
            began, times = loop.time(), {}
            for text in texts(1, 2, 3):
                await far.send_str(text)
            for _ in range(3):
                [text] = await received(near, 1)
                times[text] = loop.time() - began
            return times

    times = asyncio.run(scenario())
    assert list(times) == texts(1, 2, 3)
    assert times["m1"] < 0.2
    assert 0.29 < times["m2"] <= times["m3"] < 0.8


def test_a_delay_that_is_taken_away_lets_its_message_go_on_at_once(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            web.proxy.add_toxic(type="ws_delay", name="d", attributes={"delay": 60_000})
            await far.send_str("held")
            await nothing_comes(near)
            web.proxy.destroy_toxic("d")
            await far.send_str("next")
            return await received(near, 2)

    assert asyncio.run(scenario()) == ["held", "next"]


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_close_tells_the_receiver_a_code_and_spares_connections_made_later(client, stream):
    async def scenario():
        async with web_through(client) as web:
            wire = await web.connect()
            sender, receiver = wire if stream == "upstream" else reversed(wire)
            attributes = {"code": 1012, "reason": "service restart"}
            web.proxy.add_toxic(type="ws_close", stream=stream, attributes=attributes)
            farewell = await receiver.receive(5)
            await receiver.close()
            later = await web.connect()
            for end, other in (later, reversed(later)):
                await end.send_str("lives")
                assert await received(other, 1) == ["lives"]
            return farewell, await sender.receive(5)

    farewell, at_sender = asyncio.run(scenario())
    assert (farewell.type, farewell.data, farewell.extra) == (WSMsgType.CLOSE, 1012, "service restart")
    assert at_sender.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}


def test_a_receiver_that_does_not_answer_a_close_loses_its_connection(client):
    async def scenario():
        async with web_through(client) as web:
            near, _far = await web.connect()
            web.proxy.add_toxic(type="ws_close")
            first = await near.receive(5)
            began = asyncio.get_running_loop().time()
            second = await near.receive(5)
            return first.type, second.type, asyncio.get_running_loop().time() - began

    first, second, taken = asyncio.run(scenario())
    assert first is WSMsgType.CLOSE
    assert second in {WSMsgType.CLOSED, WSMsgType.ERROR}
    assert taken < 3


def test_a_storm_closes_each_websocket_again_until_it_is_taken_away(client):
    async def scenario():
        async with web_through(client) as web:
            web.proxy.add_toxic(type="ws_reconnect_storm", name="storm", attributes={"after": 50, "code": 1001})
            codes = []
            for _ in range(3):
                near, _ = await web.connect()
                codes.append((await near.receive(5)).data)
                await near.close()
            tally = client._door.ask("GET", "reprise", "connections")[web.proxy.name]["toxics"]["storm"]
            web.proxy.destroy_toxic("storm")
            near, far = await web.connect()
            await nothing_comes(near)
            await far.send_str("calm")
            return codes, tally, await received(near, 1)

    codes, tally, calm = asyncio.run(scenario())
    assert codes == [1001] * 3
    assert tally == {"seen": 3, "bitten": 3}
    assert calm == ["calm"]


def test_code_0_resets(client):
    async def scenario():
        async with web_through(client) as web:
            near, far = await web.connect()
            web.proxy.add_toxic(type="ws_close", attributes={"code": 0})
            return (await near.receive(5)).type, (await far.receive(5)).type

    for kind in asyncio.run(scenario()):
        assert kind in {WSMsgType.ERROR, WSMsgType.CLOSED}


def test_toxics_on_messages_spare_what_is_not_read(client):
    async def scenario():
        async with web_through(client, tap=False) as web:
            near, far = await web.connect()
            for kind in ("ws_drop", "ws_duplicate", "ws_delay", "ws_close", "ws_reconnect_storm"):
                web.proxy.add_toxic(type=kind, attributes={"count": 0, "delay": 60_000, "after": 0})
            for text in texts(1, 2):
                await far.send_str(text)
            return await received(near, 2)

    assert asyncio.run(scenario()) == texts(1, 2)


def test_a_message_of_a_mebibyte_and_one_in_fragments_pass_under_armed_toxics(client):
    async def scenario():
        async with web_through(client) as web, seen(web.proxy) as feed:
            near, far = await web.connect(max_msg_size=0)
            web.proxy.add_toxic(type="ws_drop", attributes={"count": 0})
            big = "x" * (1 << 20)
            await far.send_str(big)
            first, second = await near.receive(5), None
            await far._writer.send_frame(b"frag", WSMsgType.TEXT)  # dropped: it is whole
            large = await feed.until(what="message")
            await feed.until(what="toxic")
            return first.data == big, second, large["size"], large["text_cut"]

    assert asyncio.run(scenario()) == (True, None, 1 << 20, True)


@pytest.mark.parametrize(
    ("kind", "attributes", "said"),
    [
        ("ws_close", {"code": 1006}, "code is 1006: it takes 0 for a reset"),
        ("ws_close", {"reason": "x" * 124}, "reason has 124 bytes"),
        ("ws_drop", {"nth": 0}, "nth is 0: it takes 1 or more"),
        ("ws_drop", {"count": -1}, "count is -1"),
        ("ws_drop", {"match": "text"}, "match is .text.: it takes an object"),
        ("pg_commit_lost", {"statement": 3}, "statement is 3: it takes a text"),
    ],
)
def test_odd_attributes_are_refused_in_one_sentence(client, kind, attributes, said):
    proxy = client.create("127.0.0.1:1", "reprise-odd")
    try:
        with pytest.raises(Refused, match=said):
            proxy.add_toxic(type=kind, attributes=attributes)
    finally:
        proxy.destroy()


def test_a_toxic_that_makes_sense_one_way_only_is_refused_in_the_other(client):
    proxy = client.create("127.0.0.1:1", "reprise-odd")
    try:
        with pytest.raises(Refused, match="pg_reset_in_commit acts on upstream only"):
            proxy.add_toxic(type="pg_reset_in_commit", stream="downstream")
    finally:
        proxy.destroy()


def test_an_aiohttp_client_that_closes_by_itself_is_closed_cleanly(client):
    async def scenario():
        async with web_through(client) as web, aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{web.url}/ws") as near:
                await web._arrived.get()
                web.proxy.add_toxic(type="ws_close", attributes={"code": 1001})
                message = await near.receive(5)
                return message.type, near.close_code

    assert asyncio.run(scenario()) == (WSMsgType.CLOSE, 1001)


async def says(end, draw, count):
    """Numbered messages of all sizes, with pings and fragments among them."""
    for number in range(count):
        await end.send_str(f"{number} " + "x" * draw.choice([0, 10, 5_000, 70_000, 200_000]))
        if draw.random() < 0.3:
            await end.ping()
        if draw.random() < 0.3:
            await asyncio.sleep(0.002)


async def numbers(end, count):
    found = []
    while len(found) < count:
        message = await end.receive(20)
        if message.type is WSMsgType.TEXT:
            found.append(int(message.data.split()[0]))
        elif message.type is not WSMsgType.PING:
            return [*found, message.type]
    return found


async def toxics_come_and_go(proxy, draw, until):
    there = []
    while not until.done():
        if there and draw.random() < 0.5:
            await asyncio.to_thread(proxy.destroy_toxic, there.pop(draw.randrange(len(there))))
            continue
        kind, name = draw.choice(sorted(HARMLESS)), f"t{draw.randrange(10**9)}"
        stream, toxicity = draw.choice(["upstream", "downstream"]), draw.choice([1, 0.5])
        wanted = {"type": kind, "name": name, "stream": stream, "toxicity": toxicity, "attributes": HARMLESS[kind]}
        await asyncio.to_thread(lambda wanted=wanted: proxy.add_toxic(**wanted))
        there.append(name)


@pytest.mark.parametrize("seed", range(3))
def test_every_message_arrives_once_and_in_order_while_toxics_that_do_not_mean_it_come_and_go(client, seed):
    draw, count = random.Random(seed), 150

    async def scenario():
        async with web_through(client) as web, seen(web.proxy) as feed:
            near, far = await web.connect(max_msg_size=0)
            talking = asyncio.gather(
                says(near, draw, count), says(far, draw, count), numbers(near, count), numbers(far, count)
            )
            await toxics_come_and_go(web.proxy, draw, talking)
            _, _, *got = await talking
            await near.send_str("the end")
            await feed.until(text="the end")
            return got, feed.all

    got, lines = asyncio.run(scenario())
    assert got == [list(range(count))] * 2
    assert [line["what"] for line in lines if line["what"] in {"blind", "gap"}] == []
    told = [line["text"].split()[0] for line in lines if line["what"] == "message" and line["opcode"] == "text"]
    assert sorted(told) == sorted([str(number) for number in range(count)] * 2 + ["the"])
