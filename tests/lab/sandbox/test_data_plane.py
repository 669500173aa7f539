"""The data plane's answers, status by status, with a session agent and without one."""

import json
import os
import pathlib

import pytest
from sandboxes import marks, until

from chaosreprise.lab.sandbox.prepare import AGENT, DATA


@pytest.fixture(scope="module")
def alone(new_platform):
    """A data plane that runs the steps itself."""
    return new_platform(DATA, registry="file", env={"SESSION_AGENT_ENDPOINT": ""})


def test_a_create_answers_where_the_session_runs(sandbox):
    answer = sandbox.post(f"{sandbox.made.data_plane}/sessions", {"sessionId": "s-1", "runtime": "python"})
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    assert answer.json() == {"id": "s-1", "runtimeId": "s-1", "status": "running"}
    assert (sandbox.workspace("s-1").stat().st_mode & 0o777) == 0o750


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"sessionId": ""}, 400),
        ({"sessionId": 1, "runtime": "python"}, 400),
        ({"sessionId": "s-2"}, 500),
        ({"sessionId": "s-2", "runtime": "cobol"}, 500),
        ({"sessionId": "../s-2", "runtime": "python"}, 500),
        ({"sessionId": "s-2\0", "runtime": "python"}, 500),
        ({"sessionId": "s-2", "runtime": "python", "workspaceRef": "/tmp"}, 500),
        ({"sessionId": "s-2", "runtime": "python", "workspaceRef": "."}, 500),
    ],
)
def test_a_create_is_refused_without_a_word(sandbox, body, status):
    answer = sandbox.post(f"{sandbox.made.data_plane}/sessions", body)
    assert (answer.status_code, answer.content) == (status, b"")
    assert sandbox.data_step("s-2", "1").status_code == 410


def test_a_create_of_a_session_that_is_there_touches_nothing(sandbox):
    session = sandbox.session()
    sandbox.data_step(session, "x = 3")
    again = sandbox.post(f"{sandbox.made.data_plane}/sessions", {"sessionId": session, "runtime": "python"})
    assert (again.status_code, again.content) == (500, b"")
    assert sandbox.data_step(session, "print(x)").json()["stdout"] == "3\n"


def test_a_workspace_has_the_name_that_was_asked_for(sandbox):
    asked = {"sessionId": "s-3", "runtime": "python3", "workspaceRef": "a/b"}
    assert sandbox.post(f"{sandbox.made.data_plane}/sessions", asked).status_code == 202
    assert sandbox.data_step("s-3", marks("here")).status_code == 202
    assert (pathlib.Path(sandbox.made.workspaces) / "a/b/ledger").read_text() == "here\n"


def test_a_step_answers_with_the_agents_status(sandbox):
    answer = sandbox.data_step(sandbox.session(), "print(1)")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    assert answer.json() == {"status": "completed", "stdout": "1\n", "stderr": ""}


def test_a_step_is_refused_for_its_reason(sandbox):
    session = sandbox.session()
    for body in ({}, {"command": ""}, {"command": 1}):
        answer = sandbox.post(f"{sandbox.made.data_plane}/sessions/{session}/steps", body)
        assert (answer.status_code, answer.content) == (400, b"")
    assert (sandbox.data_step(session, "  ").status_code, sandbox.data_step(session, "  ").content) == (500, b"")
    unknown = sandbox.data_step("nobody", "1")
    assert (unknown.status_code, unknown.headers["content-type"]) == (410, "application/json")
    assert unknown.json().keys() == {"error", "message"}
    assert unknown.json()["error"] == "session_expired"


def test_a_terminated_session_runs_nothing_more(sandbox):
    session = sandbox.session()
    assert len(sandbox.interpreters(session)) == 2
    answer = sandbox.terminate(session)
    assert (answer.status_code, answer.content) == (202, b"")
    until(lambda: not sandbox.interpreters(session), "both interpreters have ended")
    assert sandbox.data_step(session, marks("late")).status_code == 410
    assert sandbox.ledger(session) == []
    assert sandbox.terminate(session).status_code == 404
    assert sandbox.workspace(session).is_dir()


def test_a_session_has_one_interpreter_below_the_agent_and_an_idle_one_below_the_data_plane(sandbox):
    session = sandbox.session()
    (works,), (idle,) = sandbox.interpreters(session, AGENT), sandbox.interpreters(session, DATA)
    assert int(sandbox.data_step(session, "import os; print(os.getpid())").json()["stdout"]) == works != idle
    assert os.getsid(works) == os.getsid(sandbox.running[AGENT].pid)
    assert os.getsid(idle) == os.getsid(sandbox.running[DATA].pid)


def test_without_an_agent_steps_run_in_the_data_plane(alone):
    session = alone.session()
    (here,) = alone.interpreters(session)
    answer = alone.data_step(session, "import os; print(os.getpid())")
    assert answer.json() == {"status": "accepted", "stdout": f"{here}\n", "stderr": ""}
    assert alone.routes()[session]["endpoint"] == ""
    os.kill(here, 9)
    for _ in range(2):
        answer = alone.data_step(session, marks("after"))
        assert (answer.status_code, answer.json()["error"]) == (503, "runtime_crashed")
    assert alone.ledger(session) == []
    assert alone.terminate(session).status_code == 202


def test_without_an_agent_a_restart_takes_the_interpreters_and_says_so(alone):
    session = alone.session()
    alone.end(DATA)
    until(lambda: not alone.interpreters(session), "its interpreter ends with it")
    alone.start(DATA, SESSION_AGENT_ENDPOINT="")
    answer = alone.data_step(session, "print(1)")
    assert (answer.status_code, answer.json()["error"]) == (503, "runtime_crashed")


def test_the_registry_file_has_the_routes_and_nothing_else(alone):
    session = alone.session()
    route = alone.routes()[session]
    assert route.keys() == {"runtimeId", "runtime", "endpoint", "token", "authMode"}
    assert (route["runtimeId"], route["runtime"], route["authMode"]) == (session, "python", "bypass")
    alone.terminate(session)
    assert session not in alone.routes()
    assert [path.name for path in pathlib.Path(alone.made.registry).parent.glob("*.tmp")] == []


@pytest.mark.parametrize("text", ["", "{", json.dumps({"s": {}})])
def test_a_registry_that_cannot_be_read_is_said_and_its_sessions_are_gone(alone, text):
    session = alone.session()
    alone.end(DATA)
    pathlib.Path(alone.made.registry).write_text(text)
    alone.start(DATA, SESSION_AGENT_ENDPOINT="")
    assert "can't be read, so there are no sessions" in alone.log(DATA)
    assert alone.data_step(session, "1").json()["error"] == "session_expired"
    assert alone.session() in alone.routes()
