"""The control plane's answers, status by status, and its rows."""

import re
import time

import pytest

FORM = {"tenantId": "t", "agentId": "a", "policyId": "p", "ttlSeconds": 60}


@pytest.fixture(scope="module")
def session(sandbox):
    return sandbox.created(**FORM)


def test_a_create_answers_a_time_and_leaves_one_row(sandbox):
    answer = sandbox.create(**FORM)
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
    said = answer.json()
    assert said.keys() == {"id", "status"}
    assert said["status"] == "active"
    assert abs(time.mktime(time.strptime(said["id"], "session-%Y%m%d%H%M%S")) - time.mktime(time.gmtime())) < 60
    assert sandbox.rows(f"select * from sessions where id = '{said['id']}'") == [(said["id"], "active", said["id"])]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no JSON", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"runtime": ""}', 400),
        (b'{"runtime": null}', 400),
        (b'{"runtime": 3}', 400),
        (b'{"runtime": "python", "ttlSeconds": "60"}', 400),
        (b'{"runtime": "python", "ttlSeconds": 1.5}', 400),
        (b'{"runtime": "python", "tenantId": 7}', 400),
        (b'{"runtime": "cobol"}', 500),
    ],
)
def test_a_create_is_refused_without_a_word(sandbox, body, status):
    answer = sandbox.http.post(f"{sandbox.made.control}/sessions", content=body)
    assert (answer.status_code, answer.content) == (status, b"")


def test_two_creates_in_one_second_share_no_id(sandbox):
    """The second one is refused, and the first one's session does not notice."""
    first = sandbox.created()
    sandbox.printed(first, "x = 7")
    answers = sandbox.creates_at_once(3)
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, answer.content) for answer in refused} <= {(500, b"")}
    assert len(accepted) == len(set(accepted)) >= 1
    assert sandbox.printed(accepted[0], "print(2)") == "2\n"
    assert sandbox.printed(first, "print(x)") == "7\n"


def test_a_step_answers_what_it_printed_and_leaves_its_row(sandbox, session):
    answer = sandbox.step(session, "x = 5*10  # first")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    said = answer.json()
    assert said | {"id": ""} == {"id": "", "status": "accepted", "stdout": "", "stderr": ""}
    again = sandbox.step(session, "print(x)").json()
    assert again["stdout"] == "50\n"
    pattern = r"step-\d{14}\.\d{9}"
    assert re.fullmatch(pattern, said["id"])
    assert re.fullmatch(pattern, again["id"])
    assert said["id"] < again["id"]
    assert sandbox.steps_of(session)[-2:] == [
        (said["id"], "x = 5*10  # first", "accepted"),
        (again["id"], "print(x)", "accepted"),
    ]


@pytest.mark.parametrize("code", ["1/0", "if", "raise SystemExit(3)", "print('\0')"])
def test_an_exception_in_a_step_is_a_step_with_its_traceback(sandbox, session, code):
    said = sandbox.step(session, code)
    assert said.status_code == 202
    assert "Error" in said.json()["stderr"] or "SystemExit" in said.json()["stderr"]
    assert sandbox.printed(session, "print('on')") == "on\n"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"{}", b'{"command": ""}', b'{"command": 1}'])
def test_a_step_without_a_command_is_refused_without_a_word(sandbox, session, body):
    answer = sandbox.http.post(f"{sandbox.made.control}/sessions/{session}/steps", content=body)
    assert (answer.status_code, answer.content) == (400, b"")


@pytest.mark.parametrize(("name", "command"), [("session-1", "1"), ("a%2F..%2Fb", "1"), (None, " \n")])
def test_what_the_data_plane_refuses_is_a_500_without_a_row(sandbox, session, name, command):
    before = sandbox.rows("select count(*) from session_steps")
    answer = sandbox.step(name or session, command)
    assert (answer.status_code, answer.content) == (500, b"")
    assert sandbox.rows("select count(*) from session_steps") == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/healthz", 405),
        ("POST", "/healthz", 405),
        ("GET", "/sessions", 405),
        ("DELETE", "/sessions", 405),
        ("PUT", "/sessions/x/steps", 405),
        ("GET", "/sessions/x", 404),
        ("POST", "/sessions/x/terminate", 404),
        ("POST", "/tools/sessions", 404),
        ("GET", "/", 404),
    ],
)
@pytest.mark.parametrize("where", ["control", "data_plane"])
def test_other_paths_and_methods_are_refused(sandbox, where, method, path, status):
    answer = sandbox.http.request(method, getattr(sandbox.made, where) + path)
    assert answer.status_code == status
    assert path == "/metrics" or answer.content == b""


def test_the_metrics_are_text_about_the_process(sandbox):
    for url in (sandbox.made.control, sandbox.made.data_plane):
        answer = sandbox.http.get(f"{url}/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "process_cpu_seconds_total " in answer.text


def test_the_tools_port_offers_the_same_two_calls_and_nothing_else(sandbox, session):
    tools = sandbox.made.tools
    answer = sandbox.post(f"{tools}/tools/sessions/{session}/steps", {"command": "print('by the tools')"})
    assert (answer.status_code, answer.json()["stdout"]) == (202, "by the tools\n")
    assert sandbox.steps_of(session)[-1][0] == answer.json()["id"]
    assert sandbox.post(f"{tools}/tools/sessions", {}).status_code == 400
    assert sandbox.post(f"{tools}/tools/sessions/none/steps", {"command": "1"}).status_code == 500
    assert sandbox.post(f"{tools}/sessions", {"runtime": "python"}).status_code == 404
    assert sandbox.http.get(f"{tools}/healthz").status_code == 404
    assert sandbox.create(at=f"{tools}/tools/sessions").status_code == 201


def test_what_happens_is_logged(sandbox, session):
    step = sandbox.step(session, "1").json()["id"]
    sandbox.create(runtime="cobol")
    log, data = sandbox.log("control-plane"), sandbox.log("data-plane")
    assert f"audit event action=session_created outcome=ok tenant=t actor= detail={session}\n" in log
    assert re.search(rf"audit event action=session_step_accepted outcome=ok tenant=\S* actor= detail={step}\n", log)
    assert "sessions: create error: " in log
    route = rf"sessions: route session_id={session} runtime_id={session} endpoint={sandbox.made.session_agent} auth_mode=bypass "
    assert re.search(rf"{route}step_id=\S+ status=completed\n", data)
