"""Taps over real sockets: they change nothing, hold nothing up, and say what they can't read."""

import asyncio
import http.server
import json
import pathlib
import random
import socket
import ssl
import threading
import time

import dialogues
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linkwire import PATIENCE_S, Far, embedded, eventually, how_it_ends, in_background, near, read_all, read_exactly
from peers import seen, tapped

from chaosreprise.errors import NotAllowed, NotPossible, Unreachable
from chaosreprise.links.client import Toxiproxy
from chaosreprise.links.watch import frames

NOBODYS = {"match": {"text": "what nobody says"}, "count": 0}  # armed, and never meant


@pytest.fixture(scope="module")
def ours():
    with embedded() as (process, url):
        yield process, Toxiproxy(url)


@pytest.fixture(scope="module")
def client(ours):
    return ours[1]


@pytest.fixture
def proxy(client, far):
    made = tapped(client, far.address)
    yield made
    made.destroy()


def read_along(client, proxy):
    return client._door.ask("GET", "reprise", "connections")[proxy.name]["connections"]


def descriptors(process):
    return len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))


def subscribe(client, *proxies):
    """A raw subscriber, who reads when he likes: his socket, behind the head of the answer and the first line."""
    end = near(tuple(client.url.removeprefix("http://").split(":")))
    end.sendall(f"GET /reprise/frames?{'&'.join(f'proxy={name}' for name in proxies)} HTTP/1.1\r\n\r\n".encode())
    got = b""
    while not (b"\r\n\r\n" in got and got.endswith(b"\n") and b"subscribed" in got):
        got += end.recv(1)
    return end


@pytest.fixture(scope="module")
def wire(client):
    """Both ends of a new connection through a tapped proxy with a subscriber, armed or not."""
    far = Far()
    proxies = {armed: tapped(client, far.address) for armed in (False, True)}
    subscriber = subscribe(client, *(proxy.name for proxy in proxies.values()))
    reading = in_background(lambda: read_all(subscriber))
    for kind in ("ws_drop", "ws_duplicate", "ws_delay"):
        for stream in ("upstream", "downstream"):
            proxies[True].add_toxic(type=kind, stream=stream, attributes=NOBODYS)
    for kind, stream in (("pg_commit_lost", "downstream"), ("pg_reset_in_commit", "upstream")):
        proxies[True].add_toxic(type=kind, stream=stream, attributes={"statement": "what nobody says"})

    def make(armed):
        client_end = near(proxies[armed].address)
        return client_end, far.take()

    yield make
    subscriber.shutdown(socket.SHUT_RDWR)
    reading.join(PATIENCE_S)
    subscriber.close()
    for proxy in proxies.values():
        proxy.destroy()
    far.close()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dialogues.DIALOGUES, st.booleans(), st.integers(0, 2**32))
def test_every_byte_of_any_dialogue_arrives_in_any_pieces_armed_or_not(wire, turns, armed, seed):
    draw = random.Random(seed)
    client_end, far_end = wire(armed)
    with client_end, far_end:
        for turn in turns:
            sender, receiver = (client_end, far_end) if turn.upstream else (far_end, client_end)
            left = turn.data
            while left:
                size = draw.choice([1, 3, 50, 1_000, 40_000, 10**6])
                in_time = left[:size]
                sender.sendall(in_time)
                left = left[size:]
                if len(turn.data) < 5_000 and draw.random() < 0.1:
                    time.sleep(0.002)
            if turn is turns[-1]:
                sender.shutdown(socket.SHUT_WR)
                assert read_all(receiver) == turn.data
            elif not armed or turn.data.endswith((b"\n", b"I", b"T")):
                assert read_exactly(receiver, len(turn.data)) == turn.data
            else:  # a message that is not whole may wait for its rest
                receiver.settimeout(0.2)
                try:
                    got = read_exactly(receiver, len(turn.data))
                except TimeoutError:
                    return
                finally:
                    receiver.settimeout(PATIENCE_S)
                assert got == turn.data


def test_a_real_client_hello_passes_and_is_said_to_be_encrypted(proxy, far):
    tls, incoming, outgoing = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls.wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()
    hello = outgoing.read()

    async def scenario():
        async with seen(proxy) as feed:
            with near(proxy.address) as client_end, far.take() as far_end:
                client_end.sendall(hello)
                line = await feed.until(what="encrypted")
                assert read_exactly(far_end, len(hello)) == hello
                far_end.sendall(b"\x16\x03\x03 and what follows")
                assert client_end.recv(100) == b"\x16\x03\x03 and what follows"
                return line

    assert asyncio.run(scenario())["why"] == "TLS: the client began with a ClientHello"


def test_a_subscriber_is_told_only_of_the_proxies_that_it_named_and_of_new_ones_too(client, far):
    async def scenario():
        async with frames(client.url, proxies=["reprise-tap-new"]) as lines:
            other = tapped(client, far.address)
            named = client.populate([{"name": "reprise-tap-new", "upstream": far.address, "listen": "127.0.0.1:0"}])[0]
            for one in (other, named):
                near(one.address).close()
                far.take().close()
            found = [await asyncio.wait_for(anext(lines), PATIENCE_S) for _ in range(2)]
            other.destroy()
            named.destroy()
            return found

    assert [(line["what"], line["proxy"]) for line in asyncio.run(scenario())] == [
        ("open", "reprise-tap-new"),
        ("close", "reprise-tap-new"),
    ]


def test_who_does_not_read_holds_nothing_up_and_is_told_how_much_he_lost(client, proxy, far):
    count, said = 4_000, dialogues.frame(1, b"x" * 2_000, False)
    with near(proxy.address) as client_end, far.take() as far_end:
        for end, other, data in ((client_end, far_end, dialogues.UPGRADE), (far_end, client_end, dialogues.SWITCHING)):
            end.sendall(data)
            read_exactly(other, len(data))
        with subscribe(client, proxy.name) as slow:
            in_background(lambda: far_end.sendall(said * count))
            took = []
            for _ in range(40):
                began = time.monotonic()
                read_exactly(client_end, len(said) * (count // 40))
                took.append(time.monotonic() - began)
            lines, text = [], slow.makefile("rb")
            while sum(line.get("lost", line["what"] == "message") for line in lines) < count:
                lines.append(json.loads(text.readline()))
    assert max(took) < 2
    assert [line["what"] for line in lines if line["what"] != "message"] == ["there", "gap"]
    assert lines[-1]["what"] == "gap"


def test_a_subscriber_that_is_gone_is_forgotten_and_the_link_is_not_read_any_more(ours, far):
    process, client = ours
    untapped = tapped(client, far.address, tap=False)
    before = descriptors(process)
    subscribers = [subscribe(client, untapped.name) for _ in range(5)]
    with near(untapped.address) as client_end, far.take() as far_end:
        client_end.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert eventually(lambda: read_along(client, untapped)[0]["protocol"] == "http")
        subscribers[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for one in subscribers:
            one.close()
        assert eventually(lambda: read_along(client, untapped)[0]["blind"] == "nobody read it for a while")
        far_end.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert client_end.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert eventually(lambda: descriptors(process) <= before)
    untapped.destroy()


def test_tap_can_be_changed_and_is_shown_only_where_it_is(client, far):
    plain = client.create(far.address, "reprise-tap-plain")
    ask = client._door.ask
    assert "tap" not in ask("GET", "proxies", plain.name)
    plain.update(tap=True)
    assert ask("GET", "proxies", plain.name)["tap"] is True
    with near(plain.address), far.take():
        assert eventually(lambda: [one["blind"] for one in read_along(client, plain)] == [None])
        plain.update(enabled=True)
        client.populate([{"name": plain.name, "listen": plain.listen, "upstream": far.address, "tap": False}])
        assert eventually(lambda: [one["blind"] for one in read_along(client, plain)] == ["nobody read it for a while"])
    plain.destroy()


def test_a_half_closed_and_a_reset_connection_end_as_they_do_without_a_tap(proxy, far):
    with near(proxy.address) as client_end, far.take() as far_end:
        client_end.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client_end.shutdown(socket.SHUT_WR)
        assert read_all(far_end) == b"GET / HTTP/1.1\r\n\r\n"
        far_end.sendall(b"HTTP/1.1 200 OK\r\n\r\nbody")
        far_end.close()
        assert read_all(client_end) == b"HTTP/1.1 200 OK\r\n\r\nbody"
    with near(proxy.address) as client_end, far.take() as far_end:
        far_end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far_end.close()
        assert how_it_ends(client_end) in {"end", "reset"}


def test_a_large_body_arrives_whole_through_a_tap(proxy, far):
    body = random.Random(3).randbytes(999_983) * 40
    with near(proxy.address) as client_end, far.take() as far_end:
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        in_background(lambda: (client_end.sendall(head + body), client_end.sendall(b"GET /next HTTP/1.1\r\n\r\n")))
        time.sleep(0.1)

        async def scenario():
            async with seen(proxy) as feed:
                assert await asyncio.to_thread(read_exactly, far_end, len(head) + len(body)) == head + body
                return await feed.until(what="request")

        assert asyncio.run(scenario())["path"] == "/next"


def test_the_feed_wants_the_token_and_refuses_a_browser(far):
    async def first(url, token=""):
        async with frames(url, token) as lines:
            return lines

    with embedded(token="secret") as (_, url):
        with pytest.raises(NotAllowed, match="takes no subscription without its token"):
            asyncio.run(first(url))
        assert asyncio.run(first(url, "secret"))
        with near(tuple(url.removeprefix("http://").split(":"))) as browser:
            browser.sendall(
                b"GET /reprise/frames HTTP/1.1\r\nAuthorization: Bearer secret\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n"
            )
            assert read_all(browser).startswith(b"HTTP/1.1 403")


def test_a_server_without_taps_and_one_that_is_away_are_told_apart():
    async def first(url):
        async with frames(url):
            pass

    class Other(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(NotPossible, match="has no taps"):
            asyncio.run(first(f"http://127.0.0.1:{server.server_address[1]}"))
    with pytest.raises(Unreachable, match="is it still running"):
        asyncio.run(first(f"http://127.0.0.1:{server.server_address[1]}"))
