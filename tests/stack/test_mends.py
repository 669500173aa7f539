"""What the keeper itself mends when a hold ends: with everybody else dead, by its lease, and by its release."""

import os
import resource
import signal
import subprocess

import pytest
import toystack
from toystack import eventually

from chaosreprise import procs
from chaosreprise.clock import SECOND, boottime
from chaosreprise.stack import mends
from chaosreprise.stack.client import Keeper


@pytest.fixture
def keeper(launch):
    port = toystack.free_port()
    stack = launch([toystack.server(port), toystack.agent("a1", port)])
    with Keeper(stack.address) as keeper:
        keeper.make("s1", 0)
        yield keeper


def inc_of(keeper, component):
    if component.startswith("sessions/"):
        return keeper.get(component.removeprefix("sessions/")).processes[-1].inc
    return next(one.inc for one in keeper.status().components if one.name == component)


def hold(keeper, component, mend, *, owners=None, lease_s=30.0):
    inc = inc_of(keeper, component)
    lease_end = boottime() + int(lease_s * SECOND)
    keeper.hold(
        component, inc, "r/f", owners=owners or [procs.myself()], lease_end=lease_end, down=False, mends=[mend(inc)]
    )
    return inc


@pytest.mark.parametrize("component", ["agents/a1", "sessions/s1"])
@pytest.mark.parametrize("end", ["owners", "lease", "release"])
def test_what_was_frozen_goes_on_however_its_hold_ends(component, end, keeper):
    with subprocess.Popen(["sleep", "60"]) as owner:
        inc = hold(
            keeper,
            component,
            mends.Continue,
            owners=[procs.incarnation(owner.pid)],
            lease_s=0.3 if end == "lease" else 30.0,
        )
        os.kill(inc.pid, signal.SIGSTOP)
        eventually(lambda: procs.is_stopped(inc))
        if end == "owners":
            owner.kill()
            owner.wait()
        elif end == "release":
            keeper.release(component, "r/f")
        eventually(lambda: not procs.is_stopped(inc))
        owner.kill()
    assert procs.is_alive(inc), "it is the same life"
    last = keeper.release(component, "r/f").last_hold
    assert (last.fault, last.by) == ("r/f", end)


def test_a_limit_is_given_back_but_not_if_somebody_else_has_changed_it(keeper):
    inc = inc_of(keeper, "agents/a1")
    soft, hard = resource.prlimit(inc.pid, resource.RLIMIT_NOFILE)
    for found, left in ((7, soft), (9, 9)):
        hold(keeper, "agents/a1", lambda inc: mends.Limit(inc, "NOFILE", soft, 7))
        resource.prlimit(inc.pid, resource.RLIMIT_NOFILE, (found, hard))
        keeper.release("agents/a1", "r/f")
        assert resource.prlimit(inc.pid, resource.RLIMIT_NOFILE) == (left, hard)


def test_the_processors_of_each_thread_are_given_back_but_not_if_somebody_else_has_changed_them(keeper):
    inc = inc_of(keeper, "agents/a1")
    before = sorted(os.sched_getaffinity(inc.pid))
    hold(keeper, "agents/a1", lambda inc: mends.Affinity(inc, before, [0]))
    os.sched_setaffinity(inc.pid, [0])
    keeper.release("agents/a1", "r/f")
    assert sorted(os.sched_getaffinity(inc.pid)) == before
    hold(keeper, "agents/a1", lambda inc: mends.Affinity(inc, [0], [99]))
    keeper.release("agents/a1", "r/f")
    assert sorted(os.sched_getaffinity(inc.pid)) == before


def test_exactly_one_process_is_ended(keeper):
    with subprocess.Popen(["sleep", "60"]) as hog, subprocess.Popen(["sleep", "60"]) as other:
        hold(keeper, "agents/a1", lambda _: mends.End(procs.incarnation(hog.pid)))
        hold(keeper, "agents/a1", lambda _: mends.End(procs.incarnation(other.pid)._replace(start=1)))
        keeper.release("agents/a1", "r/f")
        hold(keeper, "agents/a1", lambda _: mends.End(procs.incarnation(hog.pid)))
        keeper.release("agents/a1", "r/f")
        assert hog.wait(5) == -signal.SIGKILL
        assert other.poll() is None, "another process has its pid: not ours to end"
        other.kill()
