"""The contract of a StreamSpace, asked of the embedded platform and of the stand-in alike: where they differ, one of them is wrong."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import pathlib
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import spaces
from spaces import Served

ILL, WRONG = "short", "0" * 64
COLUMNS = {
    "agents": "id agent_id platform region status capacity last_heartbeat cluster_id cluster_name metadata approval_status approved_at "
    "approved_by api_key_hash api_key_last_used_at created_at updated_at",
    "agent_commands": "id command_id agent_id session_id action payload status error_message created_at sent_at acknowledged_at completed_at",
    "sessions": "id user_id template_name state agent_id cluster_id tags platform namespace pod_name memory cpu persistent_home idle_timeout "
    "max_session_duration url last_activity created_at updated_at",
}
OF_A_SESSION = {
    "name", "namespace", "user", "template", "state", "persistentHome", "idleTimeout", "maxSessionDuration", "platform",
    "activeConnections", "createdAt", "streamingProtocol", "streamingPort", "streamingPath", "status",
}  # fmt: skip
OF_AN_AGENT = {
    "id", "agentId", "platform", "status", "lastHeartbeat", "approvalStatus", "createdAt", "updatedAt",
}  # fmt: skip
MANIFEST = {"spec": {"baseImage": "vim:9", "ports": [{"containerPort": 3000}]}}


@pytest.fixture(scope="module", params=["lab", "stand-in"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        environment.delenv("REPRISE_LAB_DEFECT", raising=False)
        with spaces.lab() if request.param == "lab" else spaces.stand_in(tmp_path_factory.mktemp("space")) as found:
            yield found


@contextlib.asynccontextmanager
async def connected(served: Served, agent: str, key: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """As this agent, once the platform says so."""
    url = f"{served.url}/api/v1/agents/connect"
    async with (
        aiohttp.ClientSession(headers={"X-Agent-API-Key": key}) as http,
        http.ws_connect(url, params={"agent_id": agent}) as socket,
    ):
        while (await asyncio.to_thread(served.ask, "GET", f"/admin/agents/{agent}")).json()["status"] != "online":
            await asyncio.sleep(0.01)
        yield socket
    await asyncio.to_thread(
        served.until, lambda: served.ask("GET", f"/admin/agents/{agent}").json()["status"] == "offline", "it is offline"
    )


def agent_side(served: Served, agent: str, key: str | None) -> list[int]:
    """How its three calls are answered; a plain GET opens no socket, and to who drains no session is given."""
    headers = {"X-Agent-API-Key": key} if key is not None else {}
    with httpx.Client(base_url=f"{served.url}/api/v1/agents", headers=headers, trust_env=False, timeout=20) as http:
        calls = [
            http.post("/register", json={"agentId": agent}),
            http.post(f"/{agent}/heartbeat", json={"status": "draining"}),
            http.get("/connect", params={"agent_id": agent}),
        ]
    assert all(one.status_code < 400 or one.json()["error"] for one in calls[:2])
    return [one.status_code for one in calls]


def enrolled(served: Served, agent: str) -> httpx.Response:
    body = {
        "agentId": agent,
        "platform": "vm",
        "region": "r9",
        "capacity": {"maxSessions": 1},
        "metadata": {"of": "a test"},
    }
    return served.ask("POST", "/agents/register", body, key=served.bootstrap)


def approved(served: Served, agent: str) -> str:
    """Its key."""
    assert enrolled(served, agent).status_code == 202
    key: str = served.ask("POST", f"/admin/agents/{agent}/approve").json()["apiKey"]
    return key


@pytest.mark.parametrize("table", COLUMNS)
def test_the_tables_have_the_columns(served: Served, table: str) -> None:
    found = served.sql(
        "select column_name as name, data_type as kind from information_schema.columns where table_name = %s", table
    )
    kinds = {one["name"]: one["kind"] for one in found}
    assert set(COLUMNS[table].split()) <= set(kinds)
    assert {kind for name, kind in kinds.items() if name.endswith("_at")} == {"timestamp without time zone"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions"), ("POST", "/sessions"), ("DELETE", "/sessions/x"), ("GET", "/templates"), ("POST", "/templates"),
        ("GET", "/metrics"), ("GET", "/monitoring/metrics/prometheus"), ("GET", "/admin/agents"), ("DELETE", "/admin/agents/x"),
        *(("POST", f"/admin/agents/x/{verb}") for verb in ("command", "approve", "reject", "generate-key", "rotate-key")),
    ],
)  # fmt: skip
def test_who_is_not_logged_in_is_told_nothing(served: Served, method: str, path: str) -> None:
    answer = httpx.request(method, f"{served.url}/api/v1{path}", trust_env=False)
    assert (answer.status_code, bool(answer.json()["error"])) == (401, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "admin", "password": "x"}, 401),
        ({"username": "nobody", "password": "x"}, 401),
        ({"username": "admin"}, 400),
    ],
)
def test_a_login_is_refused(served: Served, body: dict[str, str], status: int) -> None:
    assert served.ask("POST", "/auth/login", body).status_code == status


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"user": ""}, 400, None),
        ({"template": ""}, 400, None),
        ({"resources": {"cpu": "99m", "memory": "1Gi"}}, 400, None),
        ({"resources": {"cpu": "1", "memory": "513Gi"}}, 400, None),
        ({"resources": {"cpu": "3", "memory": "1Gi"}}, 403, "Quota exceeded"),
        ({"user": "stranger"}, 403, "Quota exceeded"),
        ({"template": "cobol"}, 404, None),
    ],
)
def test_a_create_is_refused(served: Served, fields: dict[str, Any], status: int, error: str | None) -> None:
    answer = served.create(**fields)
    assert answer.status_code == status
    assert set(answer.json()) >= {"error", "message"}
    assert error in (None, answer.json()["error"])


def test_a_session_goes_through_its_life(served: Served) -> None:
    asked = {
        "resources": {"memory": "268435457", "cpu": "0.25"}, "idleTimeout": "31m7s", "maxSessionDuration": "2h0m1s",
        "persistentHome": True, "tags": ["reprise"],
    }  # fmt: skip
    answer = served.create(**asked)
    made = answer.json()
    name = made["name"]
    assert (answer.status_code, {what: made[what] for what in asked}) == (202, asked)
    assert re.fullmatch(rf"{served.user}-{served.template}-[0-9a-f]{{8}}", name)
    said = re.search(r"agent: (\S+), command: (cmd-[0-9a-f]{8})\)", made["status"]["message"])
    assert said is not None
    served.in_state(name, "running")
    shown = served.ask("GET", f"/sessions/{name}").json()
    assert set(shown) >= OF_A_SESSION
    assert (shown["status"]["phase"], shown["createdAt"][-1], shown["status"]["lastActivity"][-1]) == (
        "Running",
        "Z",
        "Z",
    )
    assert {what: shown[what] for what in asked if what != "tags"} == {
        what: asked[what] for what in asked if what != "tags"
    }
    [row] = served.sql("select * from sessions where id = %s", name)
    assert (row["agent_id"], row["memory"], row["idle_timeout"], row["tags"]) == (
        said[1],
        "268435457",
        "31m7s",
        ["reprise"],
    )
    served.until(lambda: command(served, said[2])["status"] == "completed", "its start is completed")
    wrong = {"wake": served.ask("PUT", f"/sessions/{name}/wake"), "other": served.ask("PUT", "/sessions/none-0/wake")}
    assert (wrong["wake"].status_code, wrong["wake"].json()["error"], wrong["other"].status_code) == (
        409,
        "Invalid session state",
        404,
    )
    for verb, state in (("hibernate", "hibernated"), ("wake", "running")):
        answer = served.ask("PUT", f"/sessions/{name}/{verb}")
        assert (answer.status_code, set(answer.json())) == (202, {"name", "commandId", "message"})
        served.in_state(name, state)
    assert served.ask("DELETE", f"/sessions/{name}").status_code == 202
    served.in_state(name, "terminated")
    again = served.ask("DELETE", f"/sessions/{name}")
    assert (again.status_code, again.json()["error"]) == (409, "Session already terminating")
    assert served.ask("GET", "/sessions/none-0").status_code == 404
    assert served.ask("GET", "/sessions", params={"user": "nobody"}).json()["total"] == 0


def test_the_sixth_session_of_a_user_is_refused(served: Served) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.create(), range(8)))
    assert sorted(one.status_code for one in answers) == [202] * 5 + [403] * 3
    for answer in answers:
        if answer.status_code == 202:
            served.in_state(answer.json()["name"], "running")
            served.ended(answer.json()["name"])


@pytest.mark.parametrize(("key", "status"), [(None, 401), (ILL, 401), (WRONG, 403)])
def test_an_agent_without_its_key_is_refused(served: Served, key: str | None, status: int) -> None:
    assert agent_side(served, served.agent, key) == [status] * 3


def test_an_agent_that_is_none_is_not_found_and_no_agent_is_a_bad_request(served: Served) -> None:
    assert agent_side(served, "nobody", WRONG) == [404] * 3
    assert served.ask("POST", "/agents/register", {}, key=served.key).status_code == 400
    assert served.ask("GET", "/agents/connect", key=served.key).status_code == 400
    toaster = {"agentId": served.agent, "platform": "toaster"}
    assert served.ask("POST", "/agents/register", toaster, key=served.key).status_code == 400


def test_an_agent_waits_for_approval_and_gets_its_key_by_that(served: Served) -> None:
    first = enrolled(served, "new-1")
    assert (first.status_code, first.json()["approvalStatus"]) == (202, "pending")
    assert first.json()["agent"]["agentId"] == "new-1"
    assert [one["approvalStatus"] for one in listed(served, "new-1")] == ["pending"]
    assert enrolled(served, "new-1").status_code == 202
    assert agent_side(served, "new-1", served.bootstrap)[1:] == [403, 403]
    made = served.ask("POST", "/admin/agents/new-1/approve")
    assert (made.status_code, set(made.json())) == (200, {"agentId", "apiKey", "message", "warning"})
    assert re.fullmatch("[0-9a-f]{64}", made.json()["apiKey"])
    assert served.ask("POST", "/admin/agents/new-1/approve").status_code == 404
    after = enrolled(served, "new-1")
    assert (after.status_code, after.json()["approvalStatus"], "apiKey" in after.text) == (200, "approved", False)
    key = made.json()["apiKey"]
    own = served.ask("POST", "/agents/register", {"agentId": "new-1", "platform": "cloud"}, key=key)
    assert (own.status_code, own.json()["agentId"], own.json()["platform"]) == (200, "new-1", "cloud")
    beat = served.ask("POST", "/agents/new-1/heartbeat", {"status": "draining", "activeSessions": 0}, key=key)
    assert (beat.status_code, set(beat.json())) == (200, {"agentId", "status", "lastHeartbeat", "message"})
    shown = served.ask("GET", "/admin/agents/new-1").json()
    assert (set(shown) >= OF_AN_AGENT, shown["approvalStatus"], shown["approvedBy"]) == (True, "", "admin")
    [row] = served.sql("select * from agents where agent_id = 'new-1'")
    assert (row["approval_status"], row["api_key_last_used_at"] is not None) == ("approved", True)
    assert key not in str(row)


def test_an_agent_that_is_rejected_stays_out(served: Served) -> None:
    enrolled(served, "new-2")
    assert served.ask("POST", "/admin/agents/new-2/reject").status_code == 200
    again = enrolled(served, "new-2")
    assert (again.status_code, again.json()["error"]) == (403, "rejected")
    assert [served.ask("POST", f"/admin/agents/new-2/{verb}").status_code for verb in ("approve", "reject")] == [
        404,
        404,
    ]
    key = served.ask("POST", "/admin/agents/new-2/generate-key").json()["apiKey"]
    assert agent_side(served, "new-2", key) == [403] * 3


@pytest.mark.parametrize("verb", ["generate-key", "rotate-key"])
def test_a_new_key_ends_the_older_one(served: Served, verb: str) -> None:
    agent = f"keys-{verb}"
    older = approved(served, agent)
    assert agent_side(served, agent, older)[:2] == [200, 200]
    made = served.ask("POST", f"/admin/agents/{agent}/{verb}")
    assert made.status_code == 200
    assert set(made.json()) >= {"agentId", "apiKey", "createdAt"}
    assert agent_side(served, agent, older) == [403] * 3
    assert agent_side(served, agent, made.json()["apiKey"])[:2] == [200, 200]
    assert served.ask("POST", f"/admin/agents/nobody/{verb}").status_code == 404


def test_what_a_socket_says_of_a_command_is_written_down(served: Served) -> None:
    key = approved(served, "talker")
    asked = {"action": "stop_session", "sessionId": "s-1", "payload": {"sessionId": "s-1"}}
    away = served.ask("POST", "/admin/agents/talker/command", asked)
    assert (away.status_code, away.json()["error"]) == (503, "Agent not connected")

    async def talk() -> list[str]:
        ids = []
        async with connected(served, "talker", key) as socket:
            for kind, more in (("complete", {"result": {}}), ("failed", {"error": "it broke"})):
                answer = await asyncio.to_thread(served.ask, "POST", "/admin/agents/talker/command", asked)
                made = answer.json()
                told = await socket.receive_json()
                assert (answer.status_code, made["status"], str(uuid.UUID(made["commandId"]))) == (
                    201,
                    "pending",
                    made["commandId"],
                )
                assert set(made) == {
                    "id",
                    "commandId",
                    "agentId",
                    "sessionId",
                    "action",
                    "payload",
                    "status",
                    "createdAt",
                }
                assert (told["type"], told["payload"]["commandId"], told["payload"]["action"]) == (
                    "command",
                    made["commandId"],
                    "stop_session",
                )
                assert told["payload"]["payload"]["sessionId"] == "s-1"
                await until_is(served, made["commandId"], "sent")
                await socket.send_json({"type": "ack", "payload": {"commandId": made["commandId"]}})
                await until_is(served, made["commandId"], "ack")
                await socket.send_json(
                    {
                        "type": kind,
                        "timestamp": "2026-01-01T00:00:00.5Z",
                        "payload": {"commandId": made["commandId"], **more},
                    }
                )
                await until_is(served, made["commandId"], "completed" if kind == "complete" else "failed")
                ids.append(made["commandId"])
        return ids

    done, failed = (command(served, one) for one in asyncio.run(talk()))
    assert done["created_at"] <= done["sent_at"] <= done["acknowledged_at"] <= done["completed_at"]
    assert (failed["error_message"], failed["completed_at"]) == ("it broke", None)
    assert served.ask("DELETE", "/admin/agents/talker").status_code == 200
    assert served.sql("select 1 from agent_commands where agent_id = 'talker'") == []
    assert served.ask("DELETE", "/admin/agents/talker").status_code == 404


def test_a_command_past_the_users_does_what_it_says(served: Served) -> None:
    name = served.running()
    agent = served.sql("select agent_id from sessions where id = %s", name)[0]["agent_id"]

    def told(action: str, session: str = name, to: str = agent) -> httpx.Response:
        body = {"action": action, "sessionId": session, "payload": {"sessionId": session}}
        return served.ask("POST", f"/admin/agents/{to}/command", body)

    assert (told("dance").status_code, told("stop_session", to="nobody").status_code) == (400, 404)
    assert told("hibernate_session").status_code == 201
    served.in_state(name, "hibernated")
    lost = told("hibernate_session", "nobody-none-0").json()["commandId"]
    served.until(lambda: command(served, lost)["status"] == "failed", "a command for a session that is none has failed")
    assert served.ask("DELETE", f"/admin/agents/{agent}").status_code == 500
    served.ended(name)


def test_a_template_is_added_and_a_start_without_an_image_fails(served: Served) -> None:
    body = {
        "repository_id": 2, "name": "editor", "display_name": "Editor", "description": "An editor", "category": "Text",
        "app_type": "desktop", "icon_url": "", "manifest": MANIFEST, "tags": ["text"],
    }  # fmt: skip
    made = served.ask("POST", "/templates", body)
    assert (made.status_code, made.json()["name"], made.json()["manifest"]) == (201, "editor", MANIFEST)
    assert served.ask("GET", "/templates/editor").json() == made.json()
    whole = served.ask("GET", "/templates").json()
    assert set(whole) == {"templates", "total", "categories", "filters"}
    assert (made.json() in whole["templates"], "Text" in whole["categories"]) == (True, True)
    assert served.ask("POST", "/templates", body | {"name": ""}).status_code == 400
    assert served.ask("POST", "/templates", body | {"name": "other", "repository_id": 3}).status_code == 400
    assert served.ask("POST", "/templates", body).status_code == 409
    assert served.ask("GET", "/templates/cobol").status_code == 404
    served.ask("POST", "/templates", body | {"name": "hollow", "manifest": {"spec": {"ports": []}}})
    name = served.create(template="hollow").json()["name"]
    own = "select status, error_message from agent_commands where session_id = %s"
    served.until(lambda: served.sql(own, name)[0]["status"] == "failed", "its start has failed")
    assert "baseImage" in served.sql(own, name)[0]["error_message"]
    served.ended(name)


def test_the_figures_are_those_of_the_rows(served: Served) -> None:
    before = served.ask("GET", "/metrics").json()["cluster"]
    name = served.running()
    after = served.ask("GET", "/metrics").json()["cluster"]
    assert {group: set(figures) for group, figures in after.items()} == {
        "nodes": {"total", "ready", "notReady"}, "sessions": {"total", "running", "hibernated", "terminated"},
        "resources": {"cpu", "memory", "pods"}, "users": {"total", "active"},
    }  # fmt: skip
    assert after["sessions"]["running"] == before["sessions"]["running"] + 1
    nodes = served.sql("select count(*) as n from agents where approval_status = 'approved'")[0]["n"]
    assert (after["nodes"]["total"], after["nodes"]["ready"]) == (nodes, spaces.AGENTS)
    text = served.ask("GET", "/monitoring/metrics/prometheus")
    assert text.headers["content-type"].startswith("text/plain")
    assert re.search(r"^\w+(\{.*\})? \d+(\.\d+)?$", text.text, re.MULTILINE)
    served.ended(name)


def test_agents_are_filtered_by_what_is_asked_together(served: Served) -> None:
    def names(**asked: str) -> list[str]:
        return [one["agentId"] for one in served.ask("GET", "/admin/agents", params=asked).json()["agents"]]

    assert served.agent in names(status="online", platform="docker")
    assert (names(status="online", platform="vm"), names(region="nowhere")) == ([], [])


def listed(served: Served, agent: str) -> list[dict[str, Any]]:
    return [one for one in served.ask("GET", "/admin/agents").json()["agents"] if one["agentId"] == agent]


def command(served: Served, number: str) -> dict[str, Any]:
    return served.sql("select * from agent_commands where command_id = %s", number)[0]


async def until_is(served: Served, number: str, status: str) -> None:
    await asyncio.to_thread(served.until, lambda: command(served, number)["status"] == status, f"{number} is {status}")


def test_the_stand_in_misbehaves_as_it_is_told(tmp_path: pathlib.Path) -> None:
    with spaces.stand_in(tmp_path, "old-keys,unapproved", RATE_LIMIT_ENABLED="true") as served:
        older = approved(served, "old")
        assert served.ask("POST", "/admin/agents/old/rotate-key").status_code == 200
        assert agent_side(served, "old", older)[:2] == [200, 200]
        enrolled(served, "late")
        assert agent_side(served, "late", WRONG) == [403] * 3
        own = hashlib.sha256(WRONG.encode()).hexdigest()
        served.sql("update agents set api_key_hash = %s where agent_id = 'late'", own)
        assert agent_side(served, "late", WRONG)[:2] == [200, 200]
        for _ in range(60):
            answer = served.ask("POST", "/agents/register", {"agentId": "late"}, key=ILL)
        assert (answer.status_code, answer.json()["retryAfter"]) == (429, 60)
