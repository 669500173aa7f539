"""A fault through its states, and the ways in which it must end whoever dies."""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
import toystack
from toystack import eventually

from chaosreprise.clock import SECOND
from chaosreprise.errors import BadInput, NotAllowed, NotPossible, NotProven, RunBroken, Unreachable
from chaosreprise.faults import client as faults
from chaosreprise.faults import ledger, registry
from chaosreprise.faults.base import Context
from chaosreprise.faults.lives import Busy
from chaosreprise.history import Fault, load
from chaosreprise.procs import ESTABLISHED, connections_of, incarnation, is_alive, send_signal, wait_gone
from chaosreprise.stack.client import Keeper

KIND = "agents.take_away"


def take_away(warden, agent="agents/a1", fault="f1", hold_s=30.0):
    return warden.request("inject", fault=fault, kind=KIND, on=agent, hold_ns=int(hold_s * SECOND))


def component(keeper, name="agents/a1"):
    return next(c for c in keeper.status().components if c.name == name)


def whole(keeper, name="agents/a1", other_than=None):
    """The component is up and connected, by another process than this."""
    found = component(keeper, name)
    if found.held_by is None and found.inc is not None and found.inc != other_than:
        return any(c.state == ESTABLISHED for c in connections_of(found.inc.pid))
    return False


def states(history, fault="f1"):
    return [event.state for event in load(history).events if isinstance(event, Fault) and event.fault == fault]


def last(run="r1", fault="f1"):
    return next(record for record in ledger.read(ledger.path("toy@here", run)) if record.fault == fault)


def test_an_agent_taken_away_is_gone_with_its_connections_and_stays_away_until_it_is_brought_back(
    warden, keeper, history
):
    before = component(keeper).inc
    held = [(c.local, c.remote) for c in connections_of(before.pid)]
    answer = take_away(warden)
    assert answer["state"] == "proven"
    assert answer["target"]["inc"] == list(before)
    assert answer["proof"] == {"process": "gone", "pid": before.pid, "connections_closed": len(held)}
    assert not is_alive(before)
    time.sleep(0.4)
    assert component(keeper).state == "held"
    assert not whole(keeper)
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert whole(keeper, other_than=before)
    warden.close()
    assert states(history) == ["planned", "armed", "injected", "proven", "undoing", "undone", "clean"]


def test_the_states_of_a_fault_are_stamped_in_their_order_and_say_who_undid_it(warden, history):
    take_away(warden)
    warden.request("undo", fault="f1")
    warden.close()
    events = [event for event in load(history).events if isinstance(event, Fault)]
    assert [event.hi for event in events] == sorted(event.hi for event in events)
    assert all(event.lo <= event.hi for event in events)
    assert {event.by for event in events if event.state in ("undone", "clean")} == {"run"}
    proven = next(event for event in events if event.state == "proven")
    assert proven.proof["process"] == "gone"
    assert proven.inc is not None
    assert proven.lease_end > 30 * SECOND


def test_a_fault_is_on_record_before_it_is_injected_and_the_record_is_enough_to_undo_it(warden):
    take_away(warden)
    lines = [json.loads(line) for line in warden.ledger.read_text().splitlines()]
    assert [line["state"] for line in lines] == ["planned", "armed", "injected", "proven"]
    assert lines[1]["target"]["inc"]
    assert lines[1]["lease_end"]
    assert lines[1]["hi"] <= lines[2]["lo"]


def test_a_plan_changes_nothing_and_is_what_is_injected(warden, keeper):
    inc = component(keeper).inc
    planned = warden.request("plan", fault="f1", kind=KIND, on="agents/a1")
    assert planned["state"] == "planned"
    assert component(keeper).inc == inc
    assert take_away(warden)["target"]["inc"] == planned["target"]["inc"]


def test_a_plan_for_a_process_that_is_no_more_is_not_injected(warden, keeper):
    inc = component(keeper).inc
    warden.request("plan", fault="f1", kind=KIND, on="agents/a1")
    send_signal(inc, signal.SIGKILL)
    eventually(lambda: whole(keeper, other_than=inc))
    with pytest.raises(NotPossible, match="another process than the one that fault 'f1' was planned for"):
        take_away(warden)
    assert whole(keeper)


def test_a_second_fault_on_the_same_component_is_busy_and_on_another_is_not(warden):
    take_away(warden)
    with pytest.raises(Busy, match="agents/a1 is under fault f1"):
        take_away(warden, fault="f2")
    assert take_away(warden, "agents/a2", "f2")["state"] == "proven"
    assert take_away(warden)["state"] == "proven", "the same fault again is the same fault"


def test_an_undo_can_be_repeated_and_the_component_can_be_taken_away_again(warden, keeper):
    take_away(warden)
    first = warden.request("undo", fault="f1")
    inc = component(keeper).inc
    assert warden.request("undo", fault="f1") | {"id": 0} == first | {"id": 0}
    assert component(keeper).inc == inc
    with pytest.raises(NotAllowed, match="give another fault another name"):
        take_away(warden)
    assert take_away(warden, fault="f2")["state"] == "proven"


def test_the_same_request_id_gives_the_same_answer_and_acts_once(warden, keeper):
    request = {"id": 77, "do": "inject", "fault": "f1", "kind": KIND, "on": "agents/a1", "hold_ns": SECOND}

    def send():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect("\0" + warden._address[1:])
        connection.sendall(json.dumps(request).encode() + b"\n")
        return connection

    with send() as first, send() as second:
        answers = [json.loads(connection.recv(100000)) for connection in (first, second)]
    with send() as third:
        answers.append(json.loads(third.recv(100000)))
    assert answers[0]["state"] == "proven"
    assert answers[0] == answers[1] == answers[2]


def test_what_can_not_be_seen_to_bite_is_undone_and_not_proven(launch, start_warden, history):
    port = toystack.free_port()
    stack = launch([toystack.server(port), *toystack.leaky("a1", port)])
    warden = start_warden(stack)
    with Keeper(stack.address) as keeper:
        before = eventually(
            lambda: (
                component(keeper).state == "up" and connections_of(component(keeper).inc.pid) and component(keeper).inc
            )
        )
        with pytest.raises(
            NotProven,
            match=r"its connection 127.0.0.1:\d+ -> 127.0.0.1:\d+ is still established 2 s later; it has been undone \(clean\)",
        ):
            take_away(warden)
        assert whole(keeper, other_than=before)
    warden.close()
    assert states(history) == ["planned", "armed", "injected", "undoing", "undone", "clean"]


def test_an_agent_without_a_connection_is_not_taken_away(launch, start_warden):
    stack = launch([toystack.spec.ComponentSpec(name="agents/a1", command=["sleep", "100"])])
    with pytest.raises(NotPossible, match="has no connection to anywhere: its loss could not be proven"):
        take_away(start_warden(stack))


def test_an_agent_without_a_connection_may_be_meant_at_a_moment_to_come(launch):
    stack = launch([toystack.spec.ComponentSpec(name="agents/a1", command=["sleep", "100"])])
    context = Context(stack.address, [], later=True)
    assert asyncio.run(registry.get("agents.crash").plan(context, "agents/a1", {}))["homes"] == []


REFUSED = [
    (
        "inject",
        {"kind": "moon.eclipse", "on": "moon"},
        NotPossible,
        "'moon.eclipse' is no fault: expected one of agents",
    ),
    ("inject", {"kind": KIND, "on": "agents/a9"}, NotPossible, "'agents/a9' is no component of this stack"),
    ("inject", {"kind": KIND, "on": "agents/a1", "args": {"x": 1}}, BadInput, "x: this fault takes no arguments"),
    ("undo", {}, NotPossible, "no fault 'f9' in this run: it has none"),
    ("undo", {"hold_ns": "long"}, BadInput, "Expected `int`"),
]


def test_what_can_not_be_done_is_refused_before_anything_is_touched(warden):
    for do, fields, error, sentence in REFUSED:
        with pytest.raises(error) as caught:
            warden.request(do, fault="f9", **fields)
        assert sentence in str(caught.value)
        assert warden.request("status")["faults"] == []


def test_a_lease_that_ends_undoes_the_fault_and_says_so(warden, keeper):
    before = component(keeper).inc
    take_away(warden, hold_s=-29.5)  # of the 30 s that undoing and the spare time take, half a second is left
    eventually(lambda: last().state == "clean")
    assert whole(keeper, other_than=before)
    assert last().by == "lease"


def test_a_halt_undoes_everything_and_nothing_is_injected_any_more(warden, keeper):
    take_away(warden)
    take_away(warden, "agents/a2", "f2")
    assert [fault["state"] for fault in warden.request("halt")["faults"]] == ["clean", "clean"]
    with pytest.raises(NotAllowed, match="halted"):
        take_away(warden, fault="f3")


def test_closing_undoes_what_is_left_and_ends_the_warden(warden, keeper):
    take_away(warden)
    warden.close()
    assert not warden.alive()
    assert last().state == "clean"
    assert whole(keeper)


def test_a_warden_does_not_hear_an_interrupt_and_undoes_at_sigterm(warden, keeper):
    take_away(warden)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(warden.pid, number)
    assert warden.request("status", fault="f1")["state"] == "proven"
    inc = incarnation(warden.pid)
    os.kill(warden.pid, signal.SIGTERM)
    assert wait_gone(inc, 5)
    assert whole(keeper)
    assert (last().state, last().by) == ("clean", "warden")


def test_a_warden_has_none_of_the_variables_by_which_ci_systems_kill(stack, start_warden, monkeypatch):
    for name in ("BUILD_ID", "JENKINS_NODE_COOKIE", "RUNNER_TRACKING_ID"):
        monkeypatch.setenv(name, "x")
    environment = pathlib.Path(f"/proc/{start_warden(stack).pid}/environ").read_bytes()
    assert b"BUILD_ID" not in environment
    assert b"COOKIE" not in environment
    assert b"RUNNER_TRACKING_ID" not in environment
    assert b"PATH=" in environment


def test_a_warden_that_is_killed_is_replaced_by_its_owner_who_undoes_and_says_so(warden, keeper, history):
    before = component(keeper).inc
    take_away(warden)
    os.kill(warden.pid, signal.SIGKILL)
    with pytest.raises(RunBroken, match="the warden of this run died: 1 faults were undone by the run itself"):
        warden.request("status", fault="f1")
    assert whole(keeper, other_than=before)
    assert (last().state, last().by) == ("clean", "owner")
    events = [event for event in load(history).events if isinstance(event, Fault)]
    assert [(event.state, event.by) for event in events[-3:]] == [
        ("undoing", "owner"),
        ("undone", "owner"),
        ("clean", "owner"),
    ]


def test_closing_after_the_death_of_the_warden_undoes_too(warden, keeper):
    take_away(warden)
    os.kill(warden.pid, signal.SIGKILL)
    warden.close()
    assert last().state == "clean"
    assert whole(keeper)


OWNER = """
import pathlib, sys, time
from chaosreprise.faults import client as faults
warden = faults.Warden.start(run="r1", platform_id="toy@here", keeper=sys.argv[1], history=pathlib.Path(sys.argv[2]), platform_file=None)
warden.request("inject", fault="f1", kind="agents.take_away", on="agents/a1", hold_ns=10**10)
print(warden.pid, flush=True)
time.sleep(100)
"""


@contextlib.contextmanager
def owner(stack, history):
    """A process that owns a warden and has taken agents/a1 away; and the warden's incarnation."""
    command = [sys.executable, "-c", OWNER, stack.address, str(history)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, incarnation(int(process.stdout.readline()))
        finally:
            process.kill()


def test_the_death_of_the_owner_undoes_everything_at_once(stack, keeper, history):
    with owner(stack, history) as (process, warden):
        process.kill()
        assert wait_gone(warden, 5)
    assert whole(keeper)
    assert (last().state, last().by) == ("clean", "warden")
    assert states(history)[-1] == "clean"


def test_when_owner_and_warden_die_together_the_keeper_brings_the_agent_back_and_the_next_start_verifies_it(
    stack, keeper, history
):
    with owner(stack, history) as (process, warden):
        process.send_signal(signal.SIGSTOP)  # so that it can't be quicker than the second kill
        send_signal(warden, signal.SIGKILL)
        process.kill()
    eventually(lambda: whole(keeper), 2.0)
    with faults.lock("toy@here"):
        (healed,) = faults.heal("toy@here", stack.address)
        assert faults.heal("toy@here", stack.address) == []
    assert (healed.run, healed.state, healed.by) == ("r1", "clean", "keeper")
    assert str(healed) == "run r1: 1 fault left: agents.take_away on agents/a1 -> undone, verified"


def test_when_the_keeper_dies_too_the_fault_is_moot(mortal, history):
    with owner(mortal, history) as (process, warden):
        process.send_signal(signal.SIGSTOP)
        send_signal(warden, signal.SIGKILL)
        send_signal(mortal.keeper, signal.SIGKILL)
        process.kill()
    (healed,) = faults.heal_all()
    assert healed.state == "moot"
    assert "its stack is gone: nothing to undo" in str(healed)


def test_when_only_the_keeper_dies_the_fault_is_moot_and_the_warden_goes_on(mortal, start_warden):
    warden = start_warden(mortal)
    take_away(warden)
    send_signal(mortal.keeper, signal.SIGKILL)
    wait_gone(mortal.keeper, 2)
    assert warden.request("undo", fault="f1")["state"] == "moot"
    with pytest.raises(Unreachable, match="the stack has ended"):
        take_away(warden, "agents/a1", "f2")


def test_a_fault_that_was_armed_but_never_injected_heals_without_harm(stack, keeper, warden):
    warden.request("plan", fault="f1", kind=KIND, on="agents/a1")
    inc = component(keeper).inc
    ledger.append(toystack.changed(last(), state="armed", lease_end=1))
    os.kill(warden.pid, signal.SIGKILL)
    warden.close()
    assert last().state == "clean"
    assert component(keeper).inc == inc


def test_a_history_that_can_not_be_written_stops_new_faults_and_no_undo(stack, start_warden, keeper, history):
    warden = start_warden(stack)
    take_away(warden)
    # The limit on a file's size stands for a full disk: of the ledger's file there is room left, of the history's none.
    size = (history / "warden.jsonl").stat().st_size
    ledger_size = warden.ledger.stat().st_size
    assert size < ledger_size, "else this test limits the ledger"
    subprocess.run(["prlimit", "--pid", str(warden.pid), f"--fsize={size}"], check=True)
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert whole(keeper)
    with pytest.raises(NotAllowed, match="history can't be written"):
        take_away(warden, fault="f2")


def test_a_warden_keeps_an_owned_stack_until_it_has_undone(launch, history):
    program = f"""
import pathlib, sys, time
sys.path.append({str(pathlib.Path(toystack.__file__).parent)!r})
import toystack
from chaosreprise.faults import client as faults
port = toystack.free_port()
stack = toystack.launch([toystack.server(port), toystack.agent("a1", port)], owned=True)
warden = faults.Warden.start(run="r1", platform_id="toy@here", keeper=stack.address, history=pathlib.Path(sys.argv[1]),
                              platform_file=None, stack_fd=stack.owner_write_fd)
time.sleep(0.3)
warden.request("inject", fault="f1", kind="agents.take_away", on="agents/a1", hold_ns=10**10)
print(stack.keeper.pid, flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(history)], stdout=subprocess.PIPE, text=True) as process:
        keeper = incarnation(int(process.stdout.readline()))
        process.kill()
    assert wait_gone(keeper, 5)
    assert (last().state, last().by) == ("clean", "warden"), "it was undone while the stack still lived"
