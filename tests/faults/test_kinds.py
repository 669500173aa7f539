"""Every fault on local processes: seen to bite, seen to be whole again, on a stack of real processes."""

import asyncio
import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import threading

import msgspec
import pytest
import toystack
from linkwire import eventually

from chaosreprise import procs
from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.faults import local, registry, tracer
from chaosreprise.faults.kinds import disk_slow
from chaosreprise.stack.client import AsyncKeeper, Keeper, StackEnded

COMPONENTS = {"agents": "agents/a1", "control-plane": "control-plane", "sessions": "sessions/s1"}


@pytest.fixture
def stack(launch):
    port = toystack.free_port()
    control = toystack.changed(toystack.server(port), name="control-plane")
    agents = [toystack.changed(toystack.agent(name, port), after=["control-plane"]) for name in ("a1", "a2")]
    started = launch([control, *agents])
    with Keeper(started.address) as keeper:
        keeper.make("s1", 0)
    return started


def now(stack, component):
    with Keeper(stack.address) as keeper:
        if component.startswith("sessions/"):
            slot = keeper.get(component.removeprefix("sessions/"))
            return slot.processes[-1].inc if slot.processes else None, slot.held_by
        found = next(one for one in keeper.status().components if one.name == component)
        return found.inc, found.held_by


@pytest.mark.parametrize("group", ["agents", "control-plane", "sessions"])
@pytest.mark.parametrize("verb", ["crash", "restart", "pause", "take_away"])
def test_each_fault_bites_and_what_it_hit_is_whole_again(verb, group, stack, start_warden):
    kind, component = f"{group}.{verb}", COMPONENTS[group]
    warden = start_warden(stack)
    before, _ = now(stack, component)
    if kind not in registry.kinds():
        with pytest.raises(NotPossible, match="is no fault"):
            warden.request("inject", fault="f1", kind=kind, on=component)
        return
    answer = warden.request("inject", fault="f1", kind=kind, on=component, hold_ns=10**9)
    assert answer["state"] == "proven"
    if verb == "pause":
        assert procs.is_stopped(before)
    else:
        assert not procs.is_alive(before)
    assert warden.request("undo", fault="f1")["state"] == "clean"
    after, held_by = now(stack, component)
    assert held_by is None
    assert procs.is_alive(after)
    assert not procs.is_stopped(after)
    assert (after == before) == (verb == "pause"), "only who was frozen goes on with the same life"


def test_a_session_that_the_platform_is_just_ending_is_no_leak(launch):
    stack = launch([], grace_s=60.0)
    with Keeper(stack.address) as keeper, Keeper(stack.address) as looking:
        keeper.make("s1", 0)
        slow, quick = (process.inc for process in keeper.up("s1", 1).processes)
        procs.send_signal(slow, signal.SIGSTOP)
        toystack.eventually(lambda: procs.is_stopped(slow))  # else SIGTERM may come first
        with concurrent.futures.ThreadPoolExecutor() as pool:
            ending = pool.submit(keeper.down, "s1", 2)
            toystack.eventually(lambda: not procs.is_alive(quick))
            assert looking.get("s1").state == "up", "the platform is at it still"
            process = local.Process(component="sessions/s1", inc=quick, connections=[], homes=[], ports=[], family=[])
            threading.Timer(0.3, procs.send_signal, (slow, signal.SIGCONT)).start()
            asyncio.run(verified(stack, process))
            assert ending.result().state == "down"


async def verified(stack, process):
    async with await AsyncKeeper.connect(stack.address) as keeper:
        await local.check_whole(keeper, "r1/f1", process)


class Answers:
    """A keeper's answers, one after the other; an error is raised."""

    def __init__(self, *answers):
        self.asked, self._answers = 0, iter(answers)

    async def status(self):
        self.asked += 1
        if isinstance(answer := next(self._answers), Exception):
            raise answer
        return answer


async def is_away():
    raise Unreachable("it is away")


def test_who_waits_for_a_server_gives_up_at_once_when_its_stack_has_ended():
    keeper = Answers("it runs", StackEnded("it has ended"))
    with pytest.raises(StackEnded, match="it has ended"):
        asyncio.run(local.patiently(keeper, is_away))
    assert keeper.asked == 2


def test_a_server_that_comes_back_is_asked_until_it_answers():
    answers = iter([Unreachable("it is away"), "back"])

    async def ask(what):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return f"{what} {answer}"

    assert asyncio.run(local.patiently(None, ask, "it is")) == "it is back"


FORKS = """
import os, sys
child = os.fork() == 0
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        os.pwrite(file.fileno(), b"x", 0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not there")
def test_who_was_started_just_before_its_parent_was_traced_is_traced_as_well(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FORKS, str(tmp_path / "file")]) as parent:
        inc = procs.incarnation(parent.pid)
        fault, said = disk_slow.DiskSlow(), os.memfd_create("said")
        try:
            assert eventually(lambda: len(procs.family(inc)) == 2)
            fault._started["r1/f1"] = disk_slow.Tracing("r1/f1", boottime() + 60 * SECOND, 20_000, said)
            fault._started["r1/f1"].trace([parent.pid])  # as where the other one was not there yet
            slowed = disk_slow.Slowed(
                component="database", inc=inc, connections=[], homes=[], ports=[], family=[inc], delay_ms=20.0
            )
            proof = asyncio.run(fault.prove(None, "r1/f1", msgspec.to_builtins(slowed)))
            assert proof["processes_traced"] == 2
        finally:
            asyncio.run(tracer.end("r1/f1"))
            assert [one.wait() for one in fault._started["r1/f1"].tracers] == [-signal.SIGKILL] * 2
            os.close(said)
            for one in reversed(procs.family(inc)):
                os.kill(one.pid, signal.SIGKILL)
