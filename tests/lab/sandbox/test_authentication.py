"""Authentication at the control plane by bearer tokens, and at the session agent by session tokens."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from sandboxes import marks

from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA

OWNER = {"tenant_id": "t", "agent_id": "a"}


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bearer(secret, claims, alg="HS256"):
    signed = ".".join(text(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT"}, claims))
    digest = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}.get(alg)
    return f"Bearer {signed}.{text(hmac.new(secret.encode(), signed.encode(), digest).digest()) if digest else ''}"


@pytest.fixture(scope="module")
def guarded(new_platform):
    return new_platform(authentication=True, registry="file")


@pytest.fixture(scope="module")
def secret(guarded):
    return guarded.made.process(CONTROL).env["AUTH_JWT_SECRET"]


@pytest.fixture(scope="module")
def session(guarded):
    return guarded.created()


def status(platform, header, path="/healthz", method="GET", body=None):
    headers = {"Authorization": header} if header is not None else {"Authorization": ""}
    return platform.http.request(method, platform.made.control + path, headers=headers, json=body).status_code


@pytest.mark.parametrize(
    ("claims", "more"),
    [
        (OWNER, {"secret": "another"}),
        (OWNER, {"alg": "none"}),
        (OWNER, {"alg": "HS512"}),
        (OWNER | {"exp": 1}, {}),
        (OWNER | {"exp": "never"}, {}),
        ({"tenant_id": "t"}, {}),
        ({"agent_id": "a"}, {}),
        (OWNER | {"tenant_id": ""}, {}),
        ([], {}),
    ],
)
def test_a_token_that_is_none_of_ours_lets_nobody_in(guarded, secret, claims, more):
    assert status(guarded, bearer(**({"secret": secret, "claims": claims} | more))) == 401


def test_each_path_but_the_metrics_asks_for_a_token(guarded, secret):
    good = bearer(secret, OWNER | {"exp": time.time() + 60})
    for header in (None, "Bearer", "Bearer a.b.c", "Bearer \N{SNOWMAN}".encode(), f"Basic {good[7:]}"):
        for method, path in (
            ("GET", "/healthz"),
            ("POST", "/sessions"),
            ("POST", "/sessions/x/steps"),
            ("GET", "/nothing"),
        ):
            assert status(guarded, header, path, method) == 401
    assert status(guarded, None, "/metrics") == 200
    assert [status(guarded, good, path) for path in ("/healthz", "/nothing", "/sessions")] == [200, 404, 405]
    assert guarded.http.post(f"{guarded.made.tools}/tools/sessions", headers={"Authorization": ""}).status_code == 401
    answer = guarded.http.get(f"{guarded.made.control}/healthz", headers={"Authorization": ""})
    assert answer.content == b""


def test_only_its_owner_reaches_a_session(guarded, secret, session):
    step = {"command": marks("s")}
    path = f"/sessions/{session}/steps"
    for other in (OWNER, {"tenant_id": "reprise", "agent_id": "a"}, {"tenant_id": "t", "agent_id": "reprise"}):
        assert status(guarded, bearer(secret, other), path, "POST", step) == 401
    assert guarded.ledger(session) == []
    assert guarded.step(session, marks("own")).status_code == 202
    assert guarded.ledger(session) == ["own"]
    assert guarded.step("session-1", "1").status_code == 500


def test_issuer_and_audience_are_asked_for_where_they_are_set(guarded, secret):
    guarded.end(CONTROL)
    guarded.start(CONTROL, AUTH_ISSUER="i", AUTH_AUDIENCE="u")
    try:
        for more, expected in (
            ({}, 401),
            ({"iss": "i"}, 401),
            ({"aud": "u"}, 401),
            ({"iss": "i", "aud": "v"}, 401),
            ({"iss": "i", "aud": "u"}, 200),
            ({"iss": "i", "aud": ["v", "u"]}, 200),
        ):
            assert status(guarded, bearer(secret, OWNER | more)) == expected
    finally:
        guarded.restart(CONTROL)


def test_a_restart_forgets_the_owners_and_lets_nobody_in_for_them(guarded):
    session = guarded.created()
    guarded.restart(CONTROL)
    assert guarded.step(session, marks("s")).status_code == 500
    assert guarded.ledger(session) == []


def test_the_secret_is_no_variable_of_a_step(guarded):
    session = guarded.created()
    code = "import os; print([name for name in os.environ if 'SECRET' in name])"
    assert guarded.printed(session, code) == "[]\n"


def test_the_agent_knows_a_session_by_its_token(guarded):
    session = guarded.created()
    url, token = f"{guarded.made.session_agent}/v1", guarded.routes()[session]["token"]
    step = {"sessionId": session, "stepId": "1", "code": marks("s")}
    unknown = step | {"sessionId": "nobody"}
    register = {"sessionId": "new", "runtime": "python", "token": token}
    terminate = f"/sessions/{session}/terminate"
    for header, path, body in (
        (None, "/sessions", register),
        (None, "/steps", step),
        ("another", "/steps", step),
        (token, "/steps", unknown),
        (None, terminate, None),
        ("another", terminate, None),
        (token, "/sessions/nobody/terminate", None),
    ):
        answer = guarded.post(url + path, body, headers={"X-Session-Token": header} if header else {})
        assert answer.status_code == 401, (header, path)
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text
    assert guarded.ledger(session) == []
    assert guarded.http.get(f"{url}/health").status_code == 200
    again = {"sessionId": session, "runtime": "python", "token": "another"}
    assert guarded.post(f"{url}/sessions", again, headers={"X-Session-Token": "another"}).status_code == 200
    assert guarded.post(f"{url}/steps", step, headers={"X-Session-Token": "another"}).status_code == 401
    assert guarded.post(f"{url}/steps", step, headers={"X-Session-Token": token}).status_code == 200
    assert guarded.step(session, marks("t")).status_code == 202
    assert guarded.ledger(session) == ["s", "t"]


def test_an_agent_that_was_started_again_knows_no_token_and_its_sessions_are_gone(guarded):
    session = guarded.created()
    guarded.restart(AGENT)
    assert guarded.data_step(session, marks("s")).status_code == 500
    assert guarded.step(session, marks("s")).status_code == 500
    assert guarded.ledger(session) == []
    assert guarded.printed(guarded.created(), "print(1)") == "1\n"


def test_a_data_plane_that_asks_for_tokens_refuses_its_control_plane(guarded):
    guarded.end(DATA)
    guarded.start(DATA, AUTHZ_BYPASS="false", AUTH_JWT_SECRET="another")
    try:
        assert guarded.create().status_code == 500
        for path in ("/healthz", "/sessions", "/nothing"):
            answer = guarded.http.get(guarded.made.data_plane + path)
            assert (answer.status_code, answer.content) == (401, b"")
        header = {"Authorization": bearer("another", OWNER)}
        assert guarded.http.get(f"{guarded.made.data_plane}/healthz", headers=header).status_code == 200
    finally:
        guarded.restart(DATA)
