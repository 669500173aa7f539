"""A session's stream lives as long as its process and the control plane do, whatever else is away."""

import asyncio
import contextlib
import time
import types

import pytest

from chaosreprise.clock import SystemClock
from chaosreprise.platform import adapter, file
from chaosreprise.procs import ESTABLISHED, connections_of
from chaosreprise.workload import streams

SOON_S = 5.0


@contextlib.asynccontextmanager
async def held(lab, *names):
    """The streams of these sessions, as the load holds them: (the stream, what waits for its break) of each."""
    speaker = adapter.make(file.load(str(lab.stack.platform_file)), "r1")
    await speaker.open()
    streams = [await speaker.hold(name) for name in names]
    found = [(stream, asyncio.create_task(stream.broken())) for stream in streams if stream is not None]
    assert len(found) == len(names)
    try:
        yield found
    finally:
        for stream, waiting in found:
            waiting.cancel()
            await stream.close()
        await speaker.close()


def why_broken(lab, name, end):
    """What is said of a stream that breaks by `end`; none breaks before."""

    async def look():
        async with held(lab, name) as ((stream, waiting),):
            assert stream.path == ["control-plane", f"sessions/{name}", "links/clients", "links/sessions"]
            await asyncio.sleep(0.5)
            assert not waiting.done()
            began = time.monotonic_ns()
            await asyncio.to_thread(end)
            broken = await asyncio.wait_for(waiting, SOON_S)
            assert broken.lo <= broken.hi
            assert broken.hi > began
            return broken.why

    return asyncio.run(look())


def test_it_outlives_the_agent_and_the_database_and_steps_go_on_beside_it(lab, until):
    name = lab.running()
    agent = f"agents/{lab.agent_of(name)}"

    async def look():
        async with held(lab, name, name) as streams:
            with lab.away(agent):
                await asyncio.sleep(0.5)
                assert lab.step(name, "print(6 * 7)").json()["stdout"] == "42\n"
            with lab.away("database"):
                await asyncio.sleep(0.5)
                assert lab.http.get("/health").status_code == 200
            await asyncio.sleep(0.5)
            return [waiting.done() for _, waiting in streams]

    assert asyncio.run(look()) == [False, False]
    until(lambda: lab.online() == 3, "the agents are back")


def test_a_hibernation_ends_it_and_another_one_goes_on(lab):
    name, other = lab.running(), lab.running("user02")

    async def look():
        async with held(lab, name, other) as ((_, waiting), (_, others)):
            lab.change(name, "hibernate")
            broken = await asyncio.wait_for(waiting, SOON_S)
            await asyncio.sleep(0.3)
            return broken.why, others.done()

    assert asyncio.run(look()) == ("closed by the platform with 1001: the session's process has ended", False)


def test_a_woken_session_has_one_again_without_a_new_login_and_a_stop_ends_it(lab):
    name = lab.running()

    async def look():
        speaker = adapter.make(file.load(str(lab.stack.platform_file)), "r1")
        await speaker.open()
        try:
            ended = [await asyncio.wait_for(broken_by(speaker, "hibernate"), SOON_S)]
            lab.wait(name, "hibernated")
            lab.change(name, "wake")
            lab.wait(name, "running")
            return [*ended, await asyncio.wait_for(broken_by(speaker, "stop"), SOON_S)]
        finally:
            await speaker.close()

    async def broken_by(speaker, verb):
        stream = await speaker.hold(name)
        assert stream is not None
        try:
            waiting = asyncio.create_task(stream.broken())
            await asyncio.sleep(0.3)
            assert not waiting.done()
            lab.change(name, verb)
            return (await waiting).why
        finally:
            await stream.close()

    assert asyncio.run(look()) == ["closed by the platform with 1001: the session's process has ended"] * 2


def told_of_a_wake(lab):
    """What the load tells of a session's streams that is held, asked for in its sleep, and when it runs again."""
    name, told = lab.running(), []

    async def look():
        speaker = adapter.make(file.load(str(lab.stack.platform_file)), "r1")
        await speaker.open()
        kept = streams.Streams(speaker, types.SimpleNamespace(write=told.append), SystemClock())
        try:
            await kept.begin(name, "c0")
            assert told == [], "of a platform that has no streams, as far as is known, none is asked for"
            await kept.hold([name])
            await kept.let_go(name)
            lab.change(name, "hibernate")
            lab.wait(name, "hibernated")
            await kept.begin(name, "c1")
            lab.change(name, "wake")
            lab.wait(name, "running")
            await kept.begin(name, "c2")
        finally:
            await kept.release()
            await speaker.close()

    asyncio.run(look())
    assert len({event.stream for event in told}) == 3
    return [(event.state, event.cmd) for event in told]


OPENED = [("open", None), ("closed", None), ("refused", "c1")]


def test_the_load_tells_which_stream_opened_after_which_command_and_which_did_not(lab, monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE_S", 0.1)
    assert told_of_a_wake(lab) == [*OPENED, ("open", "c2"), ("closed", None)]


@pytest.mark.thorough
def test_a_way_that_is_remembered_over_a_sleep_leads_nowhere(new_lab, monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE_S", 0.1)
    assert told_of_a_wake(new_lab("remembers-the-way")) == [*OPENED, ("refused", "c2")]


def test_a_crash_of_the_session_ends_it(lab):
    name = lab.running()
    assert "the session's process has ended" in why_broken(lab, name, lambda: lab.step(name, "import os; os._exit(1)"))


def test_the_end_of_the_control_plane_ends_it(lab, until):
    name = lab.running()
    was = lab.component("control-plane").inc
    assert why_broken(lab, name, lambda: lab.kill("control-plane")).startswith("the connection was lost")
    lab.back("control-plane", was)
    until(lambda: lab.online() == 3, "the agents are back")


def test_whoever_leaves_it_leaves_nothing_behind(lab, until):
    name = lab.running()

    async def look():
        async with held(lab, name):
            return connections(lab, name)

    assert asyncio.run(look()) == 1
    until(lambda: connections(lab, name) == 0, "it is closed at both ends")


def connections(lab, name):
    """How many streams are established at the session's process."""
    (process,) = lab.slot(name).processes
    return sum(one.state == ESTABLISHED for one in connections_of(process.inc.pid))


@pytest.mark.parametrize(("state", "status"), [("unknown", 404), ("hibernated", 409)])
def test_what_has_no_process_has_no_stream(lab, state, status):
    name = "user01-python-00000000"
    if state == "hibernated":
        name = lab.running()
        lab.change(name, "hibernate")
        lab.wait(name, "hibernated")
    assert lab.call("GET", f"/sessions/{name}/stream").status_code == status


def test_without_the_database_none_is_opened_and_nobody_is_told_that_its_session_is_gone(lab, until):
    name = lab.running()
    with lab.away("database"):
        assert lab.call("GET", f"/sessions/{name}/stream").status_code == 503
    until(lambda: lab.online() == 3, "the agents are back")


def test_it_asks_for_the_same_token_as_everything_else(lab):
    name = lab.running()
    assert lab.http.get(f"/api/v1/sessions/{name}/stream", headers={"Authorization": ""}).status_code == 401
    assert lab.call("GET", f"/sessions/{name}/stream").status_code == 400, "no WebSocket was asked for"
    assert lab.call("GET", f"/sessions/{name}").json()["streamingPath"] == f"/api/v1/sessions/{name}/stream"
