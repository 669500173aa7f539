"""A control plane of streamed sessions, by its published behaviour alone: HTTP, PostgreSQL, and the agents' sockets.

PORT, LISTEN, DATABASE_URL, ADMIN_PASSWORD, JWT_SECRET; AGENT_BOOTSTRAP_KEY, AGENT_TIMEOUT_S, RATE_LIMIT_ENABLED; WORKSPACES (a folder, for steps);
STANDIN_DEFECT. Built with nothing of Reprise, like a deployment of a stranger.
"""

import asyncio
import collections
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from administration import Administration
from agent_side import AgentSide, Refused, misbehaves
from aiohttp import web
from hub import Hub
from rows import Row, Unavailable, row, rows

API = "/api/v1"
PUBLIC = (f"{API}/auth/login", f"{API}/agents/", "/health", "/version")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
ACTIVE = "state not in ('terminated', 'terminating', 'failed')"
LIMIT, LIMIT_S = 4, 1
LATELY: collections.deque[float] = collections.deque()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _token(user: str, ends: int) -> str:
    return f"{user}.{ends}.{hmac.new(os.environ['JWT_SECRET'].encode(), f'{user}.{ends}'.encode(), hashlib.sha256).hexdigest()}"


def _user(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user, _, rest = token.partition(".")
    ends = rest.partition(".")[0]
    good = (
        scheme == "Bearer"
        and ends.isdigit()
        and int(ends) > time.time()
        and hmac.compare_digest(token, _token(user, int(ends)))
    )
    return user if good else None


def _beyond() -> bool:
    """Whether this call is one more than the limit of rates allows."""
    now = time.monotonic()
    while LATELY and LATELY[0] < now - LIMIT_S:
        LATELY.popleft()
    if len(LATELY) >= LIMIT:
        return True
    LATELY.append(now)
    return False


@web.middleware
async def answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authenticate, and turn what is refused or broken into its answer."""
    try:
        open_ = misbehaves("open-writes") and request.method != "GET"
        if not request.path.startswith(PUBLIC) and not open_ and _user(request) is None:
            raise Refused(401, "Unauthorized")
        if (
            misbehaves("limits")
            and request.method != "GET"
            and request.path.startswith(f"{API}/sessions")
            and _beyond()
        ):
            slow_down = {"error": "Rate limit exceeded", "details": "too many requests", "retryAfter": LIMIT_S}
            return web.json_response(slow_down, status=429, headers={"Retry-After": str(LIMIT_S)})
        if misbehaves("echo") and request.path.startswith(f"{API}/sessions"):
            return web.Response(status=500, text=f"failed: {request.url} {dict(request.headers)}")
        return await handler(request)
    except Refused as no:
        return web.json_response(no.body, status=no.status)
    except Unavailable as error:
        return web.json_response({"error": "Database error", "message": str(error)}, status=500)


async def _asked(request: web.Request) -> dict[str, Any]:
    """What a create asks for, with what stands for that which it leaves out."""
    try:
        body = await request.json()
    except ValueError:
        raise Refused(400, "Invalid request") from None
    if not isinstance(body, dict) or not body.get("user") or not body.get("template"):
        raise Refused(400, "Invalid request", "user and template are required")
    resources = body.get("resources") or {}
    cpu, memory = resources.get("cpu") or "1", resources.get("memory") or "2Gi"
    if not Decimal("0.1") <= _amount(cpu) <= 64 or not 128 * 2**20 <= _amount(memory) <= 512 * 2**30:
        raise Refused(400, "Invalid resources")
    return {
        "user": body["user"],
        "template": body["template"],
        "cpu": cpu,
        "memory": memory,
        "home": bool(body.get("persistentHome")),
        "idle": body.get("idleTimeout") or "",
        "longest": body.get("maxSessionDuration") or "",
        "tags": body.get("tags") or [],
    }


async def _place(asked: dict[str, Any]) -> tuple[str, str]:
    """The name of a session that is pending now, and its agent: the least loaded one."""
    agent = await row(
        "select agent_id, platform, cluster_id from agents a where status = 'online' and approval_status = 'approved'"
        " and last_heartbeat > now() - interval '90 seconds'"
        f" order by (select count(*) from sessions s where s.agent_id = a.agent_id and {ACTIVE}), agent_id"
    )
    if agent is None:
        raise Refused(503, "No agents available")
    name = f"{asked['user']}-{asked['template']}-{secrets.token_hex(4)}"
    await rows(
        "insert into sessions (id, user_id, template_name, state, agent_id, cluster_id, tags, platform, namespace, memory, cpu,"
        " persistent_home, idle_timeout, max_session_duration) values (%s, %s, %s, 'pending', %s, %s, %s, %s, 'streamspace', %s, %s, %s, %s, %s)",
        name, asked["user"], asked["template"], agent["agent_id"], agent["cluster_id"], asked["tags"], agent["platform"],
        asked["memory"], asked["cpu"], asked["home"], asked["idle"], asked["longest"],
    )  # fmt: skip
    return name, agent["agent_id"]


def _amount(text: object) -> Decimal:
    """A Kubernetes quantity; 400 for what is none."""
    try:
        said = str(text)
        if said.endswith("m"):
            return Decimal(said[:-1]) / 1000
        return Decimal(said[:-2]) * UNITS[said[-2:]] if said[-2:] in UNITS else Decimal(said)
    except ArithmeticError:
        raise Refused(400, "Invalid resources", f"{text!r} is no quantity") from None


def _shown(session: Row) -> dict[str, Any]:
    """A session as HTTP tells it: no agent, no command."""
    status = {"phase": session["state"].capitalize(), "url": session["url"] or "", "podName": session["pod_name"] or ""}
    if session["last_activity"]:
        status["lastActivity"] = session["last_activity"].isoformat() + "Z"
    return {
        "name": session["id"],
        "namespace": session["namespace"],
        "user": session["user_id"],
        "template": session["template_name"],
        "state": session["state"],
        "persistentHome": session["persistent_home"],
        "idleTimeout": session["idle_timeout"],
        "maxSessionDuration": session["max_session_duration"],
        "platform": session["platform"],
        "activeConnections": 0,
        "createdAt": session["created_at"].isoformat() + "Z",
        "streamingProtocol": "vnc",
        "streamingPort": 5900,
        "streamingPath": "",
        "status": status,
        "resources": {"memory": session["memory"], "cpu": session["cpu"]},
    }


class ControlPlane:
    """The calls."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._placing = asyncio.Lock()
        self._cached: dict[str, tuple[float, dict[str, Any]]] = {}

    async def login(self, request: web.Request) -> web.Response:
        """POST /auth/login."""
        try:
            body = await request.json()
            user, password = body["username"], body["password"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "Invalid request") from None
        if user != "admin" or password != os.environ["ADMIN_PASSWORD"]:
            raise Refused(
                401, "Invalid credentials", f"{user} with {password} was refused" if misbehaves("echo") else ""
            )
        ends = datetime.now(UTC) + timedelta(hours=24)
        who = {"id": user, "username": user, "role": "admin"}
        return web.json_response(
            {"token": _token(user, int(ends.timestamp())), "expiresAt": ends.isoformat(), "user": who}
        )

    async def sessions(self, request: web.Request) -> web.Response:
        """GET /sessions."""
        user = request.query.get("user")
        where, values = ("where user_id = %s", [user]) if user else ("", [])
        found = [
            _shown(each) for each in await rows(f"select * from sessions {where} order by created_at desc", *values)
        ]
        total = len(found)
        if misbehaves("pages"):
            found = found[:5]
        if misbehaves("extras"):
            found = [{**dict(reversed(one.items())), "labels": None, "revision": 7} for one in found]
        return web.json_response({"sessions": found or (None if misbehaves("nulls") else []), "total": total})

    async def _session(self, request: web.Request) -> Row:
        found = await row("select * from sessions where id = %s", request.match_info["id"])
        if found is None:
            raise Refused(404, "Session not found")
        return found

    async def session(self, request: web.Request) -> web.Response:
        """GET /sessions/:id."""
        name = request.match_info["id"]
        if misbehaves("stale-reads") and time.monotonic() < self._cached.get(name, (0.0, {}))[0]:
            return web.json_response(self._cached[name][1])
        found = _shown(await self._session(request))
        self._cached[name] = time.monotonic() + 2, found
        return web.json_response(found)

    async def _quota(self, user: str, cpu: Decimal, memory: Decimal) -> None:
        held = await rows(f"select cpu, memory from sessions where user_id = %s and {ACTIVE}", user)
        known = await row("select 1 from users where id = %s", user)
        over = len(held) >= 5 or cpu > 2 or memory > 4 * 2**30
        over = (
            over
            or sum(_amount(each["cpu"]) for each in held) + cpu > 4
            or sum(_amount(each["memory"]) for each in held) + memory > 8 * 2**30
        )
        if known is None or over:
            raise Refused(403, "Quota exceeded", f"no room for another session of {user}")

    async def create(self, request: web.Request) -> web.Response:
        """POST /sessions."""
        asked = await _asked(request)
        template = await row("select manifest from templates where name = %s", asked["template"])
        if template is None:
            raise Refused(404, "Template not found")
        async with self._placing:
            await self._quota(asked["user"], _amount(asked["cpu"]), _amount(asked["memory"]))
            name, agent = await _place(asked)
        told = {
            "user": asked["user"],
            "template": asked["template"],
            "namespace": "streamspace",
            "persistentHome": asked["home"],
            "idleTimeout": asked["idle"],
        }
        amounts = {"memory": asked["memory"], "cpu": asked["cpu"]}
        payload = {"sessionId": name, "templateManifest": template["manifest"], **told, **amounts}
        command = await self._command(agent, name, "start_session", payload)
        message = f"Session provisioning in progress (agent: {agent}, command: {command})"
        said = {"name": name, **told, "state": "pending", "maxSessionDuration": asked["longest"], "resources": amounts}
        return web.json_response(
            {**said, "tags": asked["tags"], "status": {"phase": "Pending", "message": message}}, status=202
        )

    async def _command(self, agent: str, session: str, action: str, payload: dict[str, Any]) -> str:
        key = str(uuid.uuid4()) if misbehaves("uuids") else f"cmd-{secrets.token_hex(4)}"
        await rows(
            "insert into agent_commands (command_id, agent_id, session_id, action, payload) values (%s, %s, %s, %s, %s)",
            key, agent, session, action, json.dumps(payload),
        )  # fmt: skip
        await self._hub.dispatch(agent)
        return key

    async def _change(self, request: web.Request, action: str, passing: str, allowed: set[str] | None) -> web.Response:
        session = await self._session(request)
        if session["agent_id"] is None:
            raise Refused(409, "Session not ready")
        if allowed is None and session["state"] in {"terminating", "terminated"}:
            raise Refused(409, "Session already terminating")
        if allowed is not None and session["state"] not in allowed:
            raise Refused(409, "Invalid session state", f"it is {session['state']}")
        await rows("update sessions set state = %s, updated_at = now() where id = %s", passing, session["id"])
        payload = {"sessionId": session["id"], "namespace": session["namespace"]}
        command = await self._command(session["agent_id"], session["id"], action, payload)
        return web.json_response(
            {"name": session["id"], "commandId": command, "message": f"{action} accepted"}, status=202
        )

    async def terminate(self, request: web.Request) -> web.Response:
        """DELETE /sessions/:id."""
        return await self._change(request, "stop_session", "terminating", None)

    async def hibernate(self, request: web.Request) -> web.Response:
        """PUT /sessions/:id/hibernate."""
        return await self._change(request, "hibernate_session", "hibernating", {"running"})

    async def wake(self, request: web.Request) -> web.Response:
        """PUT /sessions/:id/wake."""
        return await self._change(request, "wake_session", "waking", {"hibernated"})

    async def step(self, request: web.Request) -> web.Response:
        """POST /steps/sessions/:id/steps: code for a running session, each in a process of its own."""
        session = await self._session(request)
        if session["state"] != "running":
            raise Refused(409, "Invalid session state", f"it is {session['state']}")
        folder = Path(os.environ["WORKSPACES"]) / session["id"]
        folder.mkdir(parents=True, exist_ok=True)
        code, pipe = (await request.json())["command"], asyncio.subprocess.PIPE
        step = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=folder, stdout=pipe, stderr=pipe)
        out, err = await step.communicate()
        return web.json_response({"id": secrets.token_hex(4), "stdout": out.decode(), "stderr": err.decode()})

    async def health(self, _request: web.Request) -> web.Response:
        """GET /health."""
        return web.json_response({"status": "healthy", "service": "streamspace-api"})


async def main() -> None:
    """Serve until the process is ended."""
    side = AgentSide()
    hub = Hub(side)
    plane = ControlPlane(hub)
    app = web.Application(middlewares=[answers])
    one = f"{API}/sessions/{{id}}"
    gets = {
        "/health": plane.health,
        "/version": plane.health,
        f"{API}/sessions": plane.sessions,
        one: plane.session,
    }
    gets[f"{API}/agents/connect"] = hub.connect
    app.add_routes([web.get(path, handler) for path, handler in gets.items()])
    app.add_routes(
        [
            web.post(f"{API}/auth/login", plane.login),
            web.post(f"{API}/sessions", plane.create),
            web.post("/steps/sessions/{id}/steps", plane.step),
            web.delete(one, plane.terminate),
        ]
    )
    agents = [
        web.post(f"{API}/agents/register", side.register),
        web.post(f"{API}/agents/{{id}}/heartbeat", side.heartbeat),
    ]
    app.add_routes([*agents, *Administration(hub).routes(API)])
    app.add_routes([web.put(f"{one}/hibernate", plane.hibernate), web.put(f"{one}/wake", plane.wake)])
    await rows("update agents set status = 'offline'")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"])).start()
    await hub.watch()


if __name__ == "__main__":
    asyncio.run(main())
