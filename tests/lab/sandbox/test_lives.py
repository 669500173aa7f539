"""Each process killed, frozen or asked to end, in the middle of a step and between steps: what is said, and what has run."""

import os
import signal
import time

import pytest
from sandboxes import Beside, marks, until, waiting

from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA

LIMIT_S = 2.0
EACH = [AGENT, DATA, CONTROL]


@pytest.fixture(scope="module")
def platform(new_platform):
    return new_platform(limit_s=LIMIT_S)


@pytest.fixture(scope="module")
def patient(new_platform):
    """Its processes wait for each other for the usual 10 s."""
    return new_platform(registry="file")


def test_an_interpreter_killed_in_a_step_is_said_and_stays_dead(patient):
    session = patient.session()
    patient.step(session, "x = 1")
    step = Beside(patient.step, session, waiting("s"))
    patient.begun(session, "s")
    for pid in patient.interpreters(session, AGENT):
        os.kill(pid, signal.SIGKILL)
    assert step.status() == 500
    for _ in range(2):
        assert patient.step(session, marks("late")).status_code == 500
    said = patient.data_step(session, marks("late")).json()
    assert (said["status"], said["stdout"]) == ("failed", "")
    assert "signal 9" in said["stderr"]
    assert patient.ledger(session) == ["s b"]
    assert [command for _, command, _ in patient.steps_of(session)] == ["x = 1"]
    assert patient.terminate(session).status_code == 202


def test_an_interpreter_killed_between_steps_is_said(patient):
    session = patient.session()
    patient.step(session, "x = 1")
    os.kill(patient.interpreters(session, AGENT)[0], signal.SIGKILL)
    assert patient.step(session, marks("late")).status_code == 500
    assert patient.ledger(session) == []


def test_an_idle_interpreter_that_is_killed_is_missed_by_nobody(patient):
    session = patient.session()
    os.kill(patient.interpreters(session, DATA)[0], signal.SIGKILL)
    assert patient.printed(session, "print(1)") == "1\n"
    assert patient.terminate(session).status_code == 202


def test_an_agent_killed_in_a_step_leaves_its_code_to_end_and_says_what_is_gone(patient):
    session, idle = patient.session(), patient.session()
    step = Beside(patient.step, session, waiting("s"))
    patient.begun(session, "s")
    patient.end(AGENT)
    assert step.status() == 500
    until(lambda: len(patient.interpreters(idle)) == 1, "the idle one has ended with its parent")
    answer = patient.data_step(idle, marks("late"))
    assert (answer.status_code, answer.json()["error"]) == (503, "runtime_unreachable")
    assert len(patient.interpreters(session)) == 2, "the busy one goes on"
    patient.go(session)
    until(lambda: patient.ledger(session) == ["s b", "s e"], "its code has ended")
    until(lambda: len(patient.interpreters(session)) == 1, "and so has it")
    assert patient.terminate(session).status_code == 500
    patient.start(AGENT)
    for name in (session, idle):
        answer = patient.data_step(name, marks("late"))
        assert (answer.status_code, answer.json()["error"]) == (503, "runtime_crashed")
        assert patient.step(name, marks("late")).status_code == 500
        assert patient.terminate(name).status_code == 202
    assert (patient.ledger(session), patient.ledger(idle)) == (["s b", "s e"], [])
    assert patient.steps_of(session) == []


def test_a_data_plane_killed_in_a_step_leaves_it_to_end_once(patient):
    session = patient.session()
    patient.step(session, "x = 1")
    step = Beside(patient.step, session, waiting("s"))
    patient.begun(session, "s")
    patient.end(DATA)
    assert step.status() == 500
    assert patient.step(session, "1").status_code == 500
    until(lambda: len(patient.interpreters(session)) == 1, "the idle one has ended")
    patient.go(session)
    patient.start(DATA)
    assert patient.printed(session, "print(x)") == "1\n", "its file remembers the way"
    assert patient.ledger(session) == ["s b", "s e"]
    assert len(patient.steps_of(session)) == 2
    assert patient.terminate(session).status_code == 202


def test_a_control_plane_killed_in_a_step_has_no_row_of_it(patient):
    session = patient.created()
    step = Beside(patient.step, session, waiting("s"))
    patient.begun(session, "s")
    patient.end(CONTROL)
    assert step.status() is None
    patient.go(session)
    until(lambda: patient.ledger(session) == ["s b", "s e"], "its code has ended")
    patient.start(CONTROL)
    assert patient.steps_of(session) == []
    assert patient.printed(session, "print(2)") == "2\n"
    assert patient.rows(f"select status from sessions where id = '{session}'") == [("active",)]


def test_a_registry_in_memory_is_gone_with_its_data_plane(platform):
    session = platform.session()
    platform.step(session, "x = 1")
    platform.restart(DATA)
    assert platform.step(session, marks("late")).status_code == 500
    assert platform.data_step(session, marks("late")).json()["error"] == "session_expired"
    assert platform.ledger(session) == []


def test_a_slow_step_is_asked_for_again_and_runs_once(platform):
    """The control plane gives up after its limit, the data plane gets the answer with its second attempt."""
    session = platform.session()
    step = Beside(platform.data_step, session, waiting("s") + "print('done')")
    platform.begun(session, "s")
    patient = Beside(platform.step, session, marks("t"))
    assert patient.status() == 500
    platform.go(session)
    assert step.status() == 202
    assert step.answer.json()["stdout"] == "done\n"
    until(lambda: sorted(platform.ledger(session)) == ["s b", "s e", "t"], "each has run")
    assert platform.data_step(session, "print(1)").json()["stdout"] == "1\n"
    assert platform.steps_of(session) == []
    assert sorted(platform.ledger(session)) == ["s b", "s e", "t"]


def test_a_frozen_agent_is_given_up_after_three_attempts_and_runs_the_step_at_most_once(platform):
    session = platform.session()
    platform.send(AGENT, signal.SIGSTOP)
    began = time.monotonic()
    try:
        answer = platform.data_step(session, marks("s"))
    finally:
        platform.send(AGENT, signal.SIGCONT)
    assert (answer.status_code, answer.json()["error"]) == (503, "runtime_unreachable")
    assert time.monotonic() - began >= 3 * LIMIT_S + 0.6
    assert platform.data_step(session, "print(1)").json()["stdout"] == "1\n"
    time.sleep(0.3)
    assert platform.ledger(session) in ([], ["s"]), "what it had been sent ran once, if at all"


def test_a_frozen_data_plane_is_given_up_after_one_attempt(platform):
    session = platform.session()
    platform.send(DATA, signal.SIGSTOP)
    try:
        answer = platform.step(session, marks("s"))
    finally:
        platform.send(DATA, signal.SIGCONT)
    assert (answer.status_code, answer.content) == (500, b"")
    assert platform.data_step(session, "print(1)").status_code == 202
    assert platform.ledger(session) in ([], ["s"])
    assert platform.steps_of(session) == []


def test_an_agent_that_is_not_there_refuses_creates_and_leaves_nothing(platform):
    platform.end(AGENT)
    try:
        answer = platform.create()
        assert (answer.status_code, answer.content) == (500, b"")
    finally:
        platform.start(AGENT)
    assert "sessions: start error: " in platform.log(DATA)
    assert platform.rows("select * from sessions") == []


@pytest.mark.parametrize("name", EACH)
def test_each_ends_at_once_when_it_is_asked_to(patient, name):
    session = patient.session()
    step = Beside(patient.step, session, waiting("s"))
    patient.begun(session, "s")
    try:
        assert patient.end(name, signal.SIGTERM) == -signal.SIGTERM
    finally:
        patient.go(session)
        patient.start(name)
    assert step.status() in {None, 500}
    until(lambda: patient.ledger(session) == ["s b", "s e"], "its code has ended")
