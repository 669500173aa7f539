"""A fault that waits for its moment: armed first, struck when it comes, and never made when the waiting ends otherwise."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from toystack import eventually

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotAllowed, NotProven, RunBroken
from chaosreprise.faults import ledger
from chaosreprise.history import Answer, Fault, Submit, Writer, load
from chaosreprise.moments import read
from chaosreprise.procs import incarnation, is_alive, wait_gone

KIND, ON = "agents.crash", "agents/a1"
AT = {"after": {"accept": "wake"}, "within_s": 20}


@pytest.fixture
def commands(history):
    """The segment of a load."""
    with Writer(history, "load", "r1") as writer:
        yield writer


@pytest.fixture
def strike(warden, history):
    """Injections in the background, and over at the end of the test."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:

        def begin(at=AT, fault="f1", on=ON):
            hold_ns = 30 * SECOND
            found = pool.submit(
                warden.request, "inject", fault=fault, kind=KIND, on=on, hold_ns=hold_ns, at=read("test", at)
            )
            eventually(lambda: found.done() or "armed" in events(history, fault))
            return found

        yield begin
        warden.close()


def last(fault="f1"):
    return next(record for record in ledger.read(ledger.path("toy@here", "r1")) if record.fault == fault)


def wake(writer, cmd, agent="a1"):
    now = time.monotonic_ns()
    path = ["control-plane", f"agents/{agent}"]
    writer.write(Submit(lo=now, hi=now, cmd=cmd, op="wake", key=cmd, session="s1", intended=now, path=path))
    writer.write(Answer(lo=now, hi=now, cmd=cmd, outcome="ok"), at_once=True)


def inc_of(keeper, name=ON):
    return next(one.inc for one in keeper.status().components if one.name == name)


def events(history, fault="f1"):
    return {event.state: event for event in load(history).events if isinstance(event, Fault) and event.fault == fault}


def never_made(keeper, history, before):
    """It was armed and is over, and its target never noticed."""
    found = events(history)
    assert [*found] == ["planned", "armed", "undoing", "undone", "clean"]
    assert inc_of(keeper) == before
    assert is_alive(before)
    return found


def test_it_is_armed_first_and_strikes_when_its_moment_comes(strike, keeper, commands, history, warden):
    before = inc_of(keeper)
    striking = strike()
    record = last()
    assert (record.state, record.moment.say) == ("armed", "after a wake was accepted")
    assert record.lease_end - record.hi > (20 + 30 + 30) * SECOND - SECOND, "the lease covers the waiting too"
    wake(commands, "c1", "a2")
    time.sleep(0.1)
    assert is_alive(before)
    wake(commands, "c2")
    assert striking.result()["state"] == "proven"
    assert not is_alive(before)
    warden.request("undo", fault="f1")
    warden.close()
    found = events(history)
    assert [*found] == ["planned", "armed", "injected", "proven", "undoing", "undone", "clean"]
    moment = found["injected"].moment
    assert (moment.at, moment.cmds, moment.why) == (AT, ["c2"], None)
    assert moment.came <= found["injected"].lo
    assert found["proven"].moment is None
    assert found["armed"].moment.came is None


def test_a_moment_that_does_not_come_is_said_and_nothing_is_broken(strike, keeper, commands, history, warden):
    before = inc_of(keeper)
    with pytest.raises(
        NotProven, match=r"its moment did not come within 0.3 s \(after a wake was accepted\): 0 of 1 wake"
    ):
        strike({**AT, "within_s": 0.3}).result()
    warden.close()
    assert "did not come within 0.3 s" in never_made(keeper, history, before)["undoing"].moment.why


def test_each_of_several_faults_waits_for_its_own(strike, keeper, commands, warden):
    first, second = strike(), strike(fault="f2", on="agents/a2")
    wake(commands, "c1", "a2")
    assert second.result()["moment"]["cmds"] == ["c1"]
    assert not first.done()
    wake(commands, "c2")
    assert first.result()["moment"]["cmds"] == ["c2"]


@pytest.mark.parametrize("how", ["a byte on its pipe", "bye"])
def test_whatever_ends_the_run_ends_the_waiting(how, strike, keeper, commands, history, warden):
    before = inc_of(keeper)
    striking = strike()
    if how == "bye":
        warden.request("bye")
    else:
        warden.halt_at_once()
    with pytest.raises((NotAllowed, RunBroken)):
        striking.result(5)
    wake(commands, "c1")
    warden.close()
    never_made(keeper, history, before)


def test_a_fault_whose_lease_ends_while_it_waits_is_never_made(keeper, commands, history, warden):
    """As when the machine slept meanwhile: its clock stood still, that of the lease did not."""
    before = inc_of(keeper)
    hold_ns = -70 * SECOND  # of 20 s of waiting, 20 s of undoing and 10 s to spare nothing is left
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        striking = pool.submit(
            warden.request, "inject", fault="f1", kind=KIND, on=ON, hold_ns=hold_ns, at=read("test", AT)
        )
        eventually(lambda: "armed" in events(history))
        wake(commands, "c1")
        with pytest.raises(NotProven, match="its lease ended while it waited"):
            striking.result(5)
    warden.close()
    never_made(keeper, history, before)


def test_when_the_warden_is_killed_while_it_waits_the_owner_takes_over(strike, keeper, commands, history, warden):
    before = inc_of(keeper)
    striking = strike()
    os.kill(warden.pid, signal.SIGKILL)
    with pytest.raises(RunBroken, match="1 faults were undone by the run itself"):
        striking.result(5)
    wake(commands, "c1")
    assert (last().state, last().by) == ("clean", "owner")
    never_made(keeper, history, before)


OWNER = """
import pathlib, sys, threading, time
from chaosreprise.faults import client as faults
from chaosreprise.moments import read
warden = faults.Warden.start(run="r1", platform_id="toy@here", keeper=sys.argv[1], history=pathlib.Path(sys.argv[2]), platform_file=None)
threading.Thread(target=lambda: warden.request("inject", fault="f1", kind="agents.crash", on="agents/a1", hold_ns=10**10,
                                               at=read("test", {"after": {"accept": "wake"}})), daemon=True).start()
print(warden.pid, flush=True)
time.sleep(100)
"""


def test_when_the_owner_dies_while_it_waits_it_is_never_made(stack, keeper, commands, history):
    before = inc_of(keeper)
    command = [sys.executable, "-c", OWNER, stack.address, str(history)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with contextlib.ExitStack() as end:
            end.callback(process.kill)
            warden = incarnation(int(process.stdout.readline()))
            eventually(lambda: "armed" in events(history))
    assert wait_gone(warden, 5)
    wake(commands, "c1")
    assert (last().state, last().by) == ("clean", "warden")
    never_made(keeper, history, before)
