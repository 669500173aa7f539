"""The answers of contracts/streamspace.md and of the steps of contracts/sandbox.md, status by status."""

import asyncio
import concurrent.futures
import json
import re
import socket
import time
from collections import Counter

import aiohttp
import httpx
import psycopg
import pytest

from chaosreprise.lab import settings, store

KEY = "0" * 64


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "admin", "password": "wrong"}, 401),
        ({"username": "nobody", "password": "x"}, 401),
        ({"username": "user01", "password": "x"}, 401),
        ({"username": "admin"}, 400),
        ({"username": 1}, 400),
    ],
)
def test_a_login_that_does_not_fit_is_refused(lab, body, status):
    assert lab.call("POST", "/auth/login", body).status_code == status


def test_a_login_answers_who_and_until_when(lab):
    answer = lab.call("POST", "/auth/login", {"username": "admin", "password": lab.secret("admin")}).json()
    assert answer["user"]["id"] == answer["user"]["username"] == answer["user"]["role"] == "admin"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+Z", answer["expiresAt"])


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x.y.z", "Basic YTpi"])
@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/admin/agents", "/sessions/x/steps"])
def test_without_a_token_nothing_is_answered(lab, header, path):
    method = "POST" if path.endswith("steps") else "GET"
    answer = httpx.request(method, lab.url + path, headers={"Authorization": header} if header else {}, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["error"]


def test_health_and_version_are_public(lab):
    assert httpx.get(f"{lab.url}/health", trust_env=False).json()["status"] == "healthy"
    assert httpx.get(f"{lab.url}/version", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"user": ""}, 400, "Invalid request"),
        ({"template": ""}, 400, "Invalid request"),
        ({"user": 7}, 400, "Invalid request"),
        ({"tags": "x"}, 400, "Invalid request"),
        ({"tags": ["\x00"]}, 400, "Invalid request"),
        ({"resources": {"cpu": "99m", "memory": "1Gi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "65", "memory": "1Gi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "1", "memory": "127Mi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "1", "memory": "513Gi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "much", "memory": "1Gi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "1", "memory": "1Zi"}}, 400, "Invalid request"),
        ({"resources": {"cpu": "2001m", "memory": "1Gi"}}, 403, "Quota exceeded"),
        ({"resources": {"cpu": "1", "memory": "4097Mi"}}, 403, "Quota exceeded"),
        ({"user": "stranger"}, 403, "Quota exceeded"),
        ({"template": "cobol"}, 404, "Template not found"),
    ],
)
def test_a_create_is_refused_for_its_reason(lab, fields, status, error):
    answer = lab.create(**fields)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["message"]
    assert lab.call("GET", "/sessions", params={"user": "user01"}).json()["total"] == len(
        lab.sql("select 1 from sessions where user_id = 'user01'")
    )


def test_a_body_that_is_not_json_is_refused(lab):
    assert lab.http.post("/api/v1/sessions", content=b"{").status_code == 400


def test_what_a_create_asks_for_comes_back_word_for_word(lab):
    asked = {
        "resources": {"memory": "268435457", "cpu": "0.25"},
        "persistentHome": True,
        "idleTimeout": "31m7s",
        "maxSessionDuration": "2h0m1s",
        "tags": ["reprise", "ümläut \"x\""],
    }  # fmt: skip
    answer = lab.create(**asked)
    created = answer.json()
    assert answer.status_code == 202
    assert re.fullmatch(r"user01-python-[0-9a-f]{8}", created["name"])
    assert {name: created[name] for name in asked} == asked
    assert (created["state"], created["status"]["phase"], created["namespace"]) == ("pending", "Pending", "lab")
    message = re.fullmatch(
        r"Session provisioning in progress \(agent: (a\d), command: (cmd-[0-9a-f]{8})\)", created["status"]["message"]
    )
    lab.wait(created["name"], "running")
    seen = lab.call("GET", f"/sessions/{created['name']}").json()
    assert seen.items() >= {name: asked[name] for name in asked if name != "tags"}.items()
    assert "tags" not in seen  # rows have them, and the answer to a create
    assert seen["status"]["phase"] == "Running"
    assert seen["status"]["lastActivity"].endswith("Z")
    assert seen["createdAt"].endswith("Z")
    row = lab.sql("select * from sessions where id = %s", created["name"])[0]
    assert (row["memory"], row["cpu"], row["agent_id"]) == ("268435457", "0.25", message[1])
    assert (row["idle_timeout"], row["max_session_duration"], row["persistent_home"]) == ("31m7s", "2h0m1s", True)
    assert row["tags"] == asked["tags"]
    spec = lab.slot(created["name"]).spec
    assert spec == {
        "session": created["name"],
        "user": "user01",
        "template": "python",
        "memory": "268435457",
        "cpu": "0.25",
    } | {name: asked[name] for name in ("persistentHome", "idleTimeout", "maxSessionDuration", "tags")}
    command = lab.command(message[2])
    assert (command["action"], command["session_id"], command["status"]) == (
        "start_session",
        created["name"],
        "completed",
    )
    assert command["created_at"] <= command["sent_at"] <= command["acknowledged_at"] <= command["completed_at"]


def test_without_resources_a_session_takes_the_defaults(lab):
    name = lab.create(resources={}).json()["name"]
    assert lab.call("GET", f"/sessions/{name}").json()["resources"] == {"cpu": "1", "memory": "2Gi"}


def test_sessions_are_listed_newest_first_and_by_user(lab):
    first, second = lab.running("user01"), lab.running("user02")
    names = [session["name"] for session in lab.call("GET", "/sessions").json()["sessions"]]
    assert names.index(second) < names.index(first)
    assert lab.call("GET", "/sessions", params={"user": "user02"}).json()["sessions"][0]["name"] == second
    assert lab.call("GET", "/sessions", params={"user": "stranger"}).json() == {"sessions": [], "total": 0}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("PUT", "/hibernate"), ("PUT", "/wake")],
)
def test_a_session_that_does_not_exist_is_not_found(lab, method, path):
    answer = lab.call(method, f"/sessions/user01-python-00000000{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Session not found")


def test_a_wrong_state_is_a_conflict_and_changes_nothing(lab):
    name = lab.running()

    def refused(method, path):
        before = (lab.state(name), len(lab.sql("select 1 from agent_commands where session_id = %s", name)))
        answer = lab.call(method, f"/sessions/{name}{path}")
        assert before == (lab.state(name), len(lab.sql("select 1 from agent_commands where session_id = %s", name)))
        return answer.status_code, answer.json()["error"]

    assert refused("PUT", "/wake") == (409, "Invalid session state")
    lab.change(name, "hibernate")
    lab.wait(name, "hibernated")
    assert refused("PUT", "/hibernate") == (409, "Invalid session state")
    assert lab.step(name, "1").status_code == 409
    lab.change(name, "stop")
    assert lab.call("DELETE", f"/sessions/{name}").json()["error"] == "Session already terminating"
    lab.wait(name, "terminated")
    assert refused("DELETE", "") == (409, "Session already terminating")
    assert refused("PUT", "/hibernate") == refused("PUT", "/wake") == (409, "Invalid session state")


def test_a_change_answers_with_its_command(lab):
    name = lab.running()
    answer = lab.call("PUT", f"/sessions/{name}/hibernate")
    assert answer.status_code == 202
    assert set(answer.json()) == {"name", "commandId", "message"}
    assert lab.command(answer.json()["commandId"])["action"] == "hibernate_session"


def test_templates_are_listed_and_read(lab):
    listed = lab.call("GET", "/templates").json()
    assert (listed["total"], listed["categories"]) == (1, ["Development"])
    [template] = listed["templates"]
    assert (template["name"], template["manifest"]["spec"]["baseImage"]) == ("python", "python")
    assert lab.call("GET", "/templates/python").json() == template
    missing = lab.call("GET", "/templates/cobol")
    assert (missing.status_code, missing.json()["error"]) == (404, "Template not found")


def test_agents_are_listed_with_filters_that_combine(lab):
    listed = lab.call("GET", "/admin/agents").json()
    assert listed["total"] == 3
    assert {(a["agentId"], a["status"], a["approvalStatus"]) for a in listed["agents"]} == {
        (f"a{n}", "online", "approved") for n in (1, 2, 3)
    }
    assert lab.call("GET", "/admin/agents", params={"status": "online", "platform": "docker"}).json()["total"] == 3
    assert lab.call("GET", "/admin/agents", params={"status": "online", "platform": "vm"}).json()["agents"] == []
    assert lab.call("GET", "/admin/agents", params={"region": "nowhere"}).json()["total"] == 0


def test_one_agent_is_shown_bare(lab):
    shown = lab.call("GET", "/admin/agents/a2").json()
    assert (shown["agentId"], shown["approvalStatus"]) == ("a2", "")
    assert shown["capacity"]["maxSessions"] > 0
    assert lab.call("GET", "/admin/agents/a9").status_code == 404


@pytest.mark.parametrize(
    ("headers", "agent", "status"),
    [
        ({}, "a1", 401),
        ({"X-Agent-API-Key": "short"}, "a1", 401),
        ({"X-Agent-API-Key": KEY}, "a1", 403),
        ({"X-Agent-API-Key": KEY}, "a9", 404),
    ],
)
def test_who_is_not_this_agent_is_refused_on_its_side(lab, headers, agent, status):
    register = lab.call("POST", "/agents/register", {"agentId": agent}, headers=headers)
    heartbeat = lab.call("POST", f"/agents/{agent}/heartbeat", {"status": "online"}, headers=headers)
    connect = lab.call("GET", "/agents/connect", params={"agent_id": agent}, headers=headers)
    assert [register.status_code, heartbeat.status_code, connect.status_code] == [status] * 3


def test_an_agent_registers_and_beats_over_http(lab):
    key = {"X-Agent-API-Key": lab.secret("agents/a1")}
    agent = {"agentId": "a1", "platform": "docker", "capacity": {"maxSessions": 64}}
    assert lab.call("POST", "/agents/register", agent, headers=key).json()["agentId"] == "a1"
    assert lab.call("POST", "/agents/register", {}, headers=key).status_code == 400
    assert lab.call("POST", "/agents/register", agent | {"platform": "toaster"}, headers=key).status_code == 400
    assert lab.call("GET", "/agents/connect", headers=key).status_code == 400
    beat = lab.call("POST", "/agents/a1/heartbeat", {"status": "online", "activeSessions": 0}, headers=key)
    assert (beat.status_code, beat.json()["agentId"], beat.json()["status"]) == (200, "a1", "online")
    assert set(beat.json()) == {"agentId", "status", "lastHeartbeat", "message"}


def test_a_step_runs_in_the_interpreter_that_the_step_before_left(lab):
    name = lab.running()
    first = lab.step(name, "x = 5 * 10")
    second = lab.step(name, "import sys; print(x); print('beside', file=sys.stderr)")
    assert first.status_code == second.status_code == 202
    assert (first.json()["stdout"], first.json()["status"]) == ("", "accepted")
    assert (second.json()["stdout"], second.json()["stderr"]) == ("50\n", "beside\n")
    assert re.fullmatch(r"step-\d{14}\.\d{9}", second.json()["id"])
    rows = lab.sql("select id, command, status from session_steps where session_id = %s order by id", name)
    assert [(row["id"], row["command"]) for row in rows] == [
        (first.json()["id"], "x = 5 * 10"),
        (second.json()["id"], "import sys; print(x); print('beside', file=sys.stderr)"),
    ]
    assert {row["status"] for row in rows} == {"accepted"}


@pytest.mark.parametrize("code", ["1 / 0", "if", "import sys; sys.exit(3)", "raise KeyboardInterrupt"])
def test_an_exception_of_a_step_is_its_traceback(lab, code):
    name = lab.running()
    answer = lab.step(name, code)
    assert answer.status_code == 202
    assert answer.json()["stderr"].strip()
    assert lab.step(name, "print('alive')").json()["stdout"] == "alive\n"


def test_a_step_that_can_not_run_is_refused(lab):
    name = lab.running()
    assert lab.step("user01-python-00000000", "1").status_code == 404
    assert lab.step(name, " ").status_code == 400
    assert lab.http.post(f"/sessions/{name}/steps", json={}).status_code == 400
    assert lab.http.post(f"/sessions/{name}/steps", content=b"x").status_code == 400


def test_a_step_in_which_the_session_dies_is_an_error_without_a_row(lab):
    name = lab.running()
    assert lab.step(name, "import os; os._exit(1)").status_code == 500
    assert lab.sql("select 1 from session_steps where session_id = %s", name) == []
    assert lab.step(name, "1").status_code == 500


def test_steps_of_one_session_run_one_at_a_time(lab):
    name = lab.running()
    code = "import time; assert not globals().get('busy'); busy = True; time.sleep(0.05); busy = False"
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: lab.step(name, code), range(6)))
    assert [answer.json()["stderr"] for answer in answers] == [""] * 6
    assert len({answer.json()["id"] for answer in answers}) == 6


def test_a_session_answers_only_who_has_its_token(lab):
    name = lab.running()
    with socket.create_connection(("127.0.0.1", lab.slot(name).processes[0].port), timeout=5) as session:
        session.sendall(json.dumps({"token": "guess", "id": "1", "code": "open('here', 'w')"}).encode() + b"\n")
        assert json.loads(session.makefile().readline())["status"] == "refused"
    assert not (lab.dir / "workspaces" / name / "here").exists()


def test_twenty_creates_at_once_get_five_places(lab):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: lab.create("user05"), range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 5, 403: 15}
    assert len(lab.sql("select 1 from sessions where user_id = 'user05' and state <> 'terminated'")) == 5


def test_the_sum_of_a_users_sessions_is_limited(lab):
    big = {"cpu": "2", "memory": "4Gi"}
    assert [lab.create("user06", resources=big).status_code for _ in range(3)] == [202, 202, 403]
    lab.clear()
    assert lab.create("user06", resources=big).status_code == 202


def test_creates_at_once_spread_over_the_agents_by_at_most_one(lab):
    users = [f"user{number:02d}" for number in range(1, 7)] * 5
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lab.create, users))
    assert {answer.status_code for answer in answers} == {202}
    load = Counter(row["agent_id"] for row in lab.sql("select agent_id from sessions where state <> 'terminated'"))
    assert sorted(load.values()) == [10, 10, 10]


def test_creates_that_wait_for_each_other_hold_up_no_heartbeat(lab):
    users = [f"user{number:02d}" for number in range(1, 7)] * 3
    with concurrent.futures.ThreadPoolExecutor(len(users)) as pool, psycopg.connect(lab.secret("reader.dsn")) as held:
        held.execute("select pg_advisory_lock(%s)", (store.PLACEMENT_LOCK,))
        answers = [pool.submit(lab.create, user) for user in users]
        time.sleep(2 * settings.MISSED_HEARTBEATS * lab.settings["heartbeat_s"])
        assert not any(answer.done() for answer in answers)
        held.execute("select pg_advisory_unlock(%s)", (store.PLACEMENT_LOCK,))
        assert {answer.result().status_code for answer in answers} == {202}


def test_without_agents_there_is_no_place(lab):
    with lab.away("agents/a1", "agents/a2", "agents/a3"):
        answer = lab.create()
        assert (answer.status_code, answer.json()["error"]) == (503, "No agents available")
        assert lab.call("GET", "/sessions").status_code == 200
    assert lab.create().status_code == 202


def test_a_full_agent_gets_no_more(lab):
    """The agent is this test: a real one would say with its next heartbeat how much room it has."""
    key = {"X-Agent-API-Key": lab.secret("agents/a1")}

    async def create_two():
        async with aiohttp.ClientSession(headers=key) as http:
            url = f"{lab.url}/api/v1/agents/connect?agent_id=a1"
            async with http.ws_connect(url) as link:
                await link.send_json({"type": "heartbeat", "payload": {"status": "online", "activeSessions": 0}})
                while lab.call("GET", "/admin/agents/a1").json()["status"] != "online":
                    await asyncio.sleep(0.02)
                return [lab.create(user, persistentHome=True).status_code for user in ("user01", "user02")]

    with lab.away("agents/a1", "agents/a2", "agents/a3"):
        registered = {"agentId": "a1", "platform": "kubernetes", "capacity": {"maxSessions": 1}}
        assert lab.call("POST", "/agents/register", registered, headers=key).status_code == 200
        assert asyncio.run(create_two())[-1] == 503
