"""The session agent's answers, status by status, and what it runs once."""

import pathlib
import uuid

import pytest
from sandboxes import marks, until


@pytest.fixture(scope="module")
def agent(sandbox):
    """Calls of the session agent: path below /v1 and body."""
    return lambda path, body=None, **more: sandbox.post(f"{sandbox.made.session_agent}/v1{path}", body, **more)


@pytest.fixture
def session(agent, tmp_path):
    name = f"a-{uuid.uuid4().hex[:8]}"
    registered = {"sessionId": name, "runtime": "python", "workspaceDir": str(tmp_path / "work")}
    assert agent("/sessions", registered).status_code == 200
    return name


def test_a_session_is_registered_again_as_often_as_one_likes(agent, session):
    answer = agent("/sessions", {"sessionId": session, "runtime": "PYTHON3"})
    assert (answer.status_code, answer.json()) == (200, {"sessionId": session, "status": "registered"})
    answer = agent("/sessions", {"sessionId": session, "runtime": "node"})
    assert answer.status_code == 409
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"sessionId": "x"}, 400),
        ({"runtime": "python"}, 400),
        ({"sessionId": 1, "runtime": "python"}, 400),
        ({"sessionId": "x", "runtime": "cobol"}, 500),
    ],
)
def test_a_registration_is_refused_without_a_word(agent, body, status):
    assert (agent("/sessions", body).status_code, agent("/sessions", body).content) == (status, b"")


def test_a_step_is_answered_under_its_number(agent, session):
    asked = {"sessionId": session, "stepId": "n1", "code": "import sys; print(1); print(2, file=sys.stderr)"}
    answer = agent("/steps", asked)
    assert answer.status_code == 200
    assert answer.json() == {"stepId": "n1", "status": "completed", "stdout": "1\n", "stderr": "2\n"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sessionId": "nobody"}, 500),
        ({"stepId": ""}, 500),
        ({"stepId": None}, 500),
        ({"code": " \n"}, 500),
        ({"code": 1}, 400),
    ],
)
def test_a_step_is_refused_without_a_word(agent, session, tmp_path, change, status):
    answer = agent("/steps", {"sessionId": session, "stepId": "n1", "code": marks("ran")} | change)
    assert (answer.status_code, answer.content) == (status, b"")
    assert not (tmp_path / "work" / "ledger").exists()


def test_a_number_that_comes_again_runs_nothing_and_gets_the_first_answer(agent, session, tmp_path):
    asked = {"sessionId": session, "stepId": "n1", "code": marks("once") + "print('once')"}
    first, second = agent("/steps", asked), agent("/steps", asked | {"code": marks("twice")})
    assert first.json() == second.json()
    for number in range(70):
        agent("/steps", {"sessionId": session, "stepId": f"m{number}", "code": "1"})
    third = agent("/steps", asked).json()
    assert (third["status"], "no longer kept" in third["stderr"]) == ("failed", True)
    assert (tmp_path / "work" / "ledger").read_text() == "once\n"


def test_a_session_without_a_folder_works_below_the_root(new_platform, tmp_path):
    platform = new_platform("session-agent", env={"WORKSPACE_ROOT": str(tmp_path)})
    url = f"{platform.made.session_agent}/v1"
    assert platform.post(f"{url}/sessions", {"sessionId": "x", "runtime": "python"}).status_code == 200
    platform.post(f"{url}/steps", {"sessionId": "x", "stepId": "1", "code": marks("here")})
    assert (tmp_path / "x" / "ledger").read_text() == "here\n"


def test_terminating_ends_what_runs_and_all_that_it_has_started(sandbox, agent, session, tmp_path):
    code = "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '60']).pid)"
    pids = agent("/steps", {"sessionId": session, "stepId": "n1", "code": code}).json()["stdout"].split()
    for _ in range(2):
        answer = agent(f"/sessions/{session}/terminate")
        assert (answer.status_code, answer.json()) == (200, {"sessionId": session, "status": "terminated"})
    until(lambda: not any(state(pid) for pid in pids), "the interpreter and its child have ended")
    assert agent("/steps", {"sessionId": session, "stepId": "n2", "code": marks("late")}).status_code == 500
    assert not (tmp_path / "work" / "ledger").exists()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/health", 200),
        ("HEAD", "/v1/health", 405),
        ("GET", "/metrics", 404),
        ("GET", "/healthz", 404),
        ("GET", "/v1/steps", 405),
        ("DELETE", "/v1/sessions", 405),
        ("POST", "/sessions", 404),
    ],
)
def test_other_paths_and_methods_are_refused(sandbox, method, path, status):
    answer = sandbox.http.request(method, sandbox.made.session_agent + path)
    assert (answer.status_code, answer.content) == (status, b"")


def state(pid):
    """Whether a process is there and not waiting to be reaped."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
