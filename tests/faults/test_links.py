"""Every fault on a link, over our own proxy and the real one, before a server that echoes: it bites, and leaves what it found."""

import asyncio
import contextlib
import socket
import subprocess
import threading
import time

import linkwire
import pytest
import toystack

from chaosreprise import procs
from chaosreprise.clock import boottime
from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import on_link, passing, registry, toxics
from chaosreprise.faults.base import Context
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform.links import LinkAt, Place
from chaosreprise.stack import mends
from chaosreprise.stack.client import AsyncKeeper, Conflict, Keeper

ON, MARK = "links/sessions", "r1/f1"
KINDS = [kind for kind in registry.kinds() if kind.startswith("links.") and not kind.startswith("links.ws_")]
EVERY_S = 0.02
FOREIGN = {"name": "somebody's", "type": "noop"}


class Echo:
    """A server that answers what it gets."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        linkwire.in_background(self._run)

    def _run(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Talk:
    """A client that keeps talking, on new connections when it must. `answered` counts bytes."""

    def __init__(self, address, size):
        self.answered, self._address, self._size, self._stop = 0, address, size, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(self._address, 1) as connection:
                connection.settimeout(EVERY_S)
                self._talk(connection)
            time.sleep(EVERY_S)

    def _talk(self, connection):
        while not self._stop.is_set():
            connection.sendall(b"x" * self._size)
            with contextlib.suppress(TimeoutError):
                got = len(connection.recv(1000))
                self.answered += got
                if not got:
                    return
            time.sleep(EVERY_S)

    def stop(self):
        self._stop.set()
        self._thread.join()


class Call(Talk):
    """A client with a connection for each thing that it says."""

    def _talk(self, connection):
        connection.settimeout(1)
        connection.sendall(b"x" * self._size)
        self.answered += len(connection.recv(1000))


@pytest.fixture(scope="module", params=["embedded", "real"])
def server(request):
    if request.param == "real" and not linkwire.REAL:
        pytest.skip(linkwire.NO_REAL)
    with (linkwire.embedded if request.param == "embedded" else linkwire.real)() as (_, url):
        yield Toxiproxy(url)


@pytest.fixture(scope="module")
def echo():
    end = Echo()
    yield end
    end.close()


@pytest.fixture
def proxy(server, echo):
    made = server.create(echo.address, "reprise-test")
    made.add_toxic(**FOREIGN)
    yield made
    made.destroy()


@pytest.fixture
def talk(proxy):
    clients = [Talk(proxy.address, 50) for _ in range(2)]
    assert linkwire.eventually(lambda: all(one.answered for one in clients))
    yield clients
    for one in clients:
        one.stop()


@pytest.fixture
def others(server, echo):
    """Clients of another link that leads to the same place through the same server."""
    made = server.create(echo.address, "reprise-test-beside")
    clients = [Talk(made.address, 70), Call(made.address, 388), Call(made.address, 500)]
    assert linkwire.eventually(lambda: all(one.answered for one in clients))
    yield clients
    for one in clients:
        one.stop()
    made.destroy()


def context(proxy, url):
    return Context(None, [], {ON: LinkAt(name=ON, toxics=[Place(admin=url, proxy=proxy.name)])})


@contextlib.asynccontextmanager
async def made(kind, proxy, url, **args):
    """A fault that is there; undone at the end."""
    fault, where = registry.get(kind), context(proxy, url)
    target = await fault.plan(where, ON, args)
    await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
    try:
        yield fault, where, target
    finally:
        await fault.undo(where, MARK, target)


def is_whole(proxy, talk):
    proxy.refresh()
    assert proxy.enabled
    assert list(proxy.toxics()) == [FOREIGN["name"]]
    before = [one.answered for one in talk]
    return linkwire.eventually(lambda: all(one.answered > was for one, was in zip(talk, before, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_proven_on_what_is_connected_and_leaves_what_it_found(kind, proxy, talk, server):
    async def act():
        args = {"ms": 200} if kind == "links.latency" else {"kb_per_s": 1} if kind == "links.bandwidth" else {}
        fault, where = registry.get(kind), context(proxy, server.url)
        if kind == "links.bandwidth":
            talk.append(Talk(proxy.address, 900))
        target = await fault.plan(where, ON, args)
        await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
        seen = await fault.prove(where, MARK, target)
        names = [name for name in proxy.toxics() if name != FOREIGN["name"]]
        assert all(name.startswith("reprise.r1.f1.") and not toxics.has_expired(name) for name in names)
        assert await fault.undo(where, MARK, target) is None
        await fault.verify(where, MARK, target)
        assert await type(fault)().undo(where, MARK, target) is None, "again, by somebody who knows the target only"
        return seen

    seen = asyncio.run(act())
    assert seen["direction"] == "both"
    assert len(seen) > 1
    assert is_whole(proxy, talk)


@pytest.mark.parametrize("kind", ["links.latency", "links.freeze", "links.blackhole", "links.cut", "links.refuse"])
def test_a_link_is_told_from_another_one_to_the_same_place(kind, proxy, talk, others, server):
    async def act():
        async with made(kind, proxy, server.url) as (fault, where, target):
            await fault.prove(where, MARK, target)
            before = [one.answered for one in others]
            assert await asyncio.to_thread(
                linkwire.eventually, lambda: all(one.answered > was for one, was in zip(others, before, strict=True))
            )

    asyncio.run(act())
    assert is_whole(proxy, talk)


@pytest.mark.parametrize("kind", ["links.freeze", "links.blackhole"])
def test_what_leaks_beside_another_link_to_the_same_place_is_found(kind, proxy, talk, others, server):
    async def act():
        async with made(kind, proxy, server.url) as (fault, where, target):
            for name in proxy.toxics():
                if name.startswith(toxics.PREFIX):
                    proxy.update_toxic(name, toxicity=0.0)
            with pytest.raises(NotProven, match=r"leaked: \d+ bytes still went (up|down)stream"):
                await fault.prove(where, MARK, target)

    asyncio.run(act())


@pytest.mark.parametrize(("direction", "stream"), [("to", "upstream"), ("from", "downstream")])
def test_one_direction_only_is_hit(direction, stream, proxy, talk, server):
    async def act():
        async with made("links.freeze", proxy, server.url, direction=direction) as (fault, where, target):
            seen = await fault.prove(where, MARK, target)
            assert [one.stream for one in proxy.toxics().values() if one.type == "bandwidth"] == [stream]
            return seen

    assert list(asyncio.run(act())) == ["direction", f"{stream}_bytes_stuck"]
    assert is_whole(proxy, talk)


def some_of(proxy, url):
    place = Place(admin=url, proxy=proxy.name)
    return Context(None, [], {ON: LinkAt(name=ON, toxics=[place], taps=[place])})


@pytest.mark.parametrize("kind", ["links.freeze", "links.blackhole", "links.latency", "links.cut"])
def test_one_connection_out_of_many_is_hit(kind, proxy, talk, server, request):
    if request.node.callspec.params["server"] == "real":
        pytest.skip("Toxiproxy's toxics are on all connections of a proxy")
    talk += [Talk(proxy.address, 90), Talk(proxy.address, 120)]

    async def act():
        fault, where = registry.get(kind), some_of(proxy, server.url)
        target = await fault.plan(where, ON, {"connections": 1})
        await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
        try:
            seen = await fault.prove(where, MARK, target)
            before = [one.answered for one in talk]
            await asyncio.sleep(0.3)
            assert sum(one.answered > was for one, was in zip(talk, before, strict=True)) >= 3
            assert all(len(one.clients) == 1 for one in proxy.toxics().values() if one.name.startswith(toxics.PREFIX))
        finally:
            await fault.undo(where, MARK, target)
        return seen

    assert linkwire.eventually(lambda: all(one.answered for one in talk))
    assert asyncio.run(act())["spared"] == 4, "the three others, and whoever connects anew"
    assert is_whole(proxy, talk)


def test_connections_that_have_passed_the_same_by_chance_are_told_apart_by_what_they_pass_later(proxy, server):
    async def planned(ends):
        planning = asyncio.ensure_future(
            registry.get("links.freeze").plan(some_of(proxy, server.url), ON, {"connections": 1})
        )
        done, _ = await asyncio.wait([planning], timeout=0.2)
        assert not done, "one of two that look the same"
        ends[1].sendall(b"x")
        return (await planning)["only"]

    with linkwire.near(proxy.address) as one, linkwire.near(proxy.address) as other:
        for end in (one, other):
            end.sendall(b"x" * 60)
        for end in (one, other):
            assert len(linkwire.read_exactly(end, 60)) == 60
        host, port = other.getsockname()
        assert asyncio.run(planned([one, other])) == [f"{host}:{port}"]


def test_some_connections_can_not_be_hit_by_toxiproxy_alone(proxy, talk, server):
    with pytest.raises(NotPossible, match="links/sessions has no `taps`"):
        asyncio.run(registry.get("links.freeze").plan(context(proxy, server.url), ON, {"connections": 1}))


def test_more_connections_than_there_are_can_not_be_hit(proxy, talk, server):
    with pytest.raises(NotPossible, match=r"connections = 9: \d are there that can be told from all others"):
        asyncio.run(registry.get("links.freeze").plan(some_of(proxy, server.url), ON, {"connections": 9}))


@pytest.mark.parametrize("kind", ["links.freeze", "links.blackhole", "links.cut", "links.reset"])
def test_an_outage_that_leaks_is_not_proven_and_says_where(kind, proxy, talk, server):
    async def act():
        async with made(kind, proxy, server.url) as (fault, where, target):
            for name in proxy.toxics():
                if name.startswith(toxics.PREFIX):
                    proxy.update_toxic(name, toxicity=0.0)
            with pytest.raises(
                NotProven, match=r"leaked: \d+ bytes still went (up|down)stream, .*127\.0\.0\.1:\d+ -> 127"
            ):
                await fault.prove(where, MARK, target)

    asyncio.run(act())
    assert is_whole(proxy, talk)


def test_a_link_that_is_not_slow_after_all_is_not_proven(proxy, talk, server):
    async def act():
        async with made("links.latency", proxy, server.url, ms=500) as (fault, where, target):
            for name in proxy.toxics():
                if name.startswith(toxics.PREFIX):
                    proxy.update_toxic(name, latency=1)
            with pytest.raises(NotProven, match=r"bytes went (up|down)stream within \d+ ms, not after 500 ms"):
                await fault.prove(where, MARK, target)

    asyncio.run(act())


@pytest.mark.parametrize("kind", ["links.latency", "links.freeze", "links.reset", "links.bandwidth"])
def test_what_nobody_uses_can_not_be_seen_to_be_broken(kind, proxy, server, monkeypatch):
    monkeypatch.setattr(passing, "PROVE_S", 0.1)

    async def act():
        async with made(kind, proxy, server.url) as (fault, where, target):
            with pytest.raises(NotProven, match="within 0"):
                await fault.prove(where, MARK, target)

    asyncio.run(act())


def test_a_link_under_a_fault_is_not_broken_again_but_what_has_expired_goes(proxy, talk, server):
    old = proxy.add_toxic(name=f"reprise.r0.f1.{int(time.time()) - 1}.upstream", type="noop", stream="upstream").name
    live = proxy.add_toxic(name=f"reprise.r0.f2.{int(time.time()) + 60}.upstream", type="noop", stream="upstream").name

    async def act():
        with pytest.raises(NotPossible, match="under a fault already"):
            await registry.get("links.freeze").plan(context(proxy, server.url), ON, {})
        proxy.destroy_toxic(live)
        async with made("links.freeze", proxy, server.url):
            assert old not in proxy.toxics()

    asyncio.run(act())
    assert is_whole(proxy, talk)


def test_a_link_that_is_disabled_or_gone_can_not_be_broken(proxy, server):
    async def plan(name):
        where = Context(None, [], {ON: LinkAt(name=ON, toxics=[Place(admin=server.url, proxy=name)])})
        await registry.get("links.refuse").plan(where, ON, {})

    with pytest.raises(NotPossible, match="is not there"):
        asyncio.run(plan("nobody"))
    proxy.disable()
    with pytest.raises(NotPossible, match="is disabled"):
        asyncio.run(plan(proxy.name))
    with pytest.raises(NotPossible, match="is no link of this platform: expected one of links/sessions"):
        asyncio.run(registry.get("links.refuse").plan(context(proxy, server.url), "links/database", {}))


def test_an_injection_that_is_cut_short_is_over_before_it_is_undone(proxy, talk, server):
    async def act():
        fault, where = registry.get("links.freeze"), context(proxy, server.url)
        target = await fault.plan(where, ON, {})
        injecting = asyncio.create_task(fault.inject(where, MARK, target, boottime() + 60 * 10**9))
        await asyncio.sleep(0.003)
        injecting.cancel()
        await asyncio.wait([injecting])
        await fault.undo(where, MARK, target)

    for _ in range(5):
        asyncio.run(act())
        time.sleep(0.02)
        assert list(proxy.toxics()) == [FOREIGN["name"]]
    assert is_whole(proxy, talk)


@pytest.mark.parametrize("kind", ["links.latency", "links.refuse"])
def test_a_server_that_has_lost_its_proxy_gets_it_back_and_the_fault_has_ended_before_its_time(
    kind, proxy, talk, server
):
    async def act():
        fault, where = registry.get(kind), context(proxy, server.url)
        target = await fault.plan(where, ON, {})
        await fault.inject(where, MARK, target, boottime() + 60 * 10**9)
        listen = proxy.address
        proxy.destroy()
        assert await fault.undo(where, MARK, target) == on_link.SERVER
        await fault.verify(where, MARK, target)
        assert server.get_proxy(proxy.name).address == listen
        proxy.add_toxic(**FOREIGN)

    asyncio.run(act())
    assert is_whole(proxy, talk)


def test_directions_are_told_from_what_the_link_leads_to():
    assert on_link.streams("links/database", "to") == ["upstream"]
    assert on_link.streams("links/sessions", "from") == ["downstream"]
    assert on_link.streams("links/agents/a1", "to") == ["downstream"]
    assert on_link.streams("links/clients", "from") == ["upstream"]
    assert on_link.streams("links/clients", "both") == ["upstream", "downstream"]


def test_the_name_of_a_toxic_tells_when_it_should_have_gone():
    now = int(time.time())
    assert toxics.has_expired(f"reprise.run-1.f1.{now - 1}.upstream")
    assert not toxics.has_expired(f"reprise.run-1.f1.{now + 5}.upstream")
    assert not toxics.has_expired("reprise.mine")
    assert toxics.prefix("a.b/f1") == "reprise.a.b.f1."


def test_a_way_around_a_link_is_a_leak(launch):
    """An agent that is connected to its control plane past the link."""
    port = toystack.free_port()
    control = toystack.changed(toystack.server(port), name="control-plane")
    agent = toystack.changed(toystack.agent("a1", port), after=["control-plane"])
    stack = launch([control, agent])

    async def look(front):
        async with await AsyncKeeper.connect(stack.address) as keeper:
            await passing.check_ways_around(keeper, "links/agents/a1", [front])

    toystack.eventually(lambda: passing.connected([("127.0.0.1", port)]))
    with pytest.raises(
        NotProven, match=r"links/agents/a1 leaked: agents/a1 \(pid \d+\) is connected to control-plane past it"
    ):
        asyncio.run(look("127.0.0.1:1"))
    asyncio.run(look(f"127.0.0.1:{port}"))


@pytest.mark.parametrize("end", ["owners", "lease"])
def test_the_keeper_removes_the_toxics_of_a_hold_that_nobody_released(end, launch, echo):
    """And no other ones, also where their proxy was disabled; it is asked for a token."""
    stack = launch([toystack.server(toystack.free_port())], links=[ON])
    token = stack.dir / "token"
    token.write_text("secret\n")
    with linkwire.embedded("secret") as (_, url), Keeper(stack.address) as keeper:
        proxy = Toxiproxy(url, "secret").create(echo.address, "x")
        proxy.add_toxic(**FOREIGN)
        proxy.add_toxic(name=f"{toxics.prefix(MARK)}1.upstream", type="noop")
        proxy.disable()
        mend = mends.Toxics(url, "x", toxics.prefix(MARK), str(token))
        with subprocess.Popen(["sleep", "60"]) as owner:
            lease_end = boottime() + (60 * 10**9 if end == "owners" else 0)
            owners = [procs.incarnation(owner.pid)]
            inc = keeper.status().components[0].inc
            keeper.hold(ON, inc, MARK, owners=owners, lease_end=lease_end, down=False, mends=[mend])
            assert list(proxy.toxics()) == [FOREIGN["name"], f"{toxics.prefix(MARK)}1.upstream"]
            if end == "owners":
                assert [(one.name, one.held_by) for one in keeper.status().links] == [(ON, MARK)]
            owner.kill()
        assert linkwire.eventually(lambda: proxy.refresh().enabled and list(proxy.toxics()) == [FOREIGN["name"]], 2.0)
        assert [(one.held_by, one.last_hold.by) for one in keeper.status().links] == [(None, end)]


def test_a_released_hold_is_not_mended_by_the_keeper(launch, echo):
    """Who releases has done it: what bears the mark later is not its business."""
    stack = launch([toystack.server(toystack.free_port())], links=[ON])
    with linkwire.embedded() as (_, url), Keeper(stack.address) as keeper:
        proxy = Toxiproxy(url).create(echo.address, "x")
        mend = mends.Toxics(url, "x", toxics.prefix(MARK))
        inc = keeper.status().components[0].inc
        keeper.hold(ON, inc, MARK, owners=[procs.myself()], lease_end=boottime() + 10**10, down=False, mends=[mend])
        assert keeper.release(ON, MARK).last_hold.by == "release"
        proxy.add_toxic(name=f"{toxics.prefix(MARK)}1.upstream", type="noop")
        time.sleep(0.1)
        assert len(proxy.toxics()) == 1


def test_a_hold_on_a_link_names_a_process_that_runs(launch):
    stack = launch([toystack.server(toystack.free_port())], links=[ON])
    with Keeper(stack.address) as keeper, pytest.raises(Conflict, match=r"is not .* any more"):
        keeper.hold(ON, procs.myself(), MARK, owners=[procs.myself()], lease_end=boottime() + 10**10)
