"""What an administrator asks: agents, their approval and keys, commands to them, new templates, figures."""

import json
import uuid
from decimal import Decimal
from typing import Any

import psycopg
from agent_side import Refused, body_of, misbehaves, new_key, shown
from aiohttp import web
from hub import Hub
from rows import Row, row, rows

ACTIONS = ("start_session", "stop_session", "hibernate_session", "wake_session")
TEMPLATE = """select id, repository_id as "repositoryId", name, display_name as "displayName", description, category,
  app_type as "appType", icon_url as "icon", manifest, tags from templates"""


class Administration:
    """The calls."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self, api: str) -> list[web.RouteDef]:
        """All of them."""
        one = f"{api}/admin/agents/{{id}}"
        return [
            web.get(f"{api}/admin/agents", self.agents),
            web.get(one, self.agent),
            web.delete(one, self.delete),
            web.post(f"{one}/command", self.command),
            web.post(f"{one}/approve", self.approve),
            web.post(f"{one}/reject", self.reject),
            web.post(f"{one}/generate-key", self.new_key),
            web.post(f"{one}/rotate-key", self.new_key),
            web.get(f"{api}/templates", self.templates),
            web.post(f"{api}/templates", self.new_template),
            web.get(f"{api}/templates/{{id}}", self.template),
            web.get(f"{api}/metrics", self.metrics),
            web.get(f"{api}/monitoring/metrics/prometheus", self.prometheus),
        ]

    async def _agent(self, request: web.Request) -> Row:
        found = await row("select * from agents where agent_id = %s", request.match_info["id"])
        if found is None:
            raise Refused(404, "Agent not found")
        return found

    async def agents(self, request: web.Request) -> web.Response:
        """GET /admin/agents."""
        asked = {name: request.query[name] for name in ("platform", "status", "region") if name in request.query}
        where = "".join(f" and {name} = %s" for name in asked)
        found = await rows(f"select * from agents where true{where} order by agent_id", *asked.values())
        return web.json_response({"agents": [shown(each) for each in found], "total": len(found)})

    async def agent(self, request: web.Request) -> web.Response:
        """GET /admin/agents/:id."""
        return web.json_response(shown(await self._agent(request), approval=False))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /admin/agents/:id."""
        agent = (await self._agent(request))["agent_id"]
        try:
            await rows("delete from agents where agent_id = %s", agent)
        except psycopg.errors.ForeignKeyViolation:
            raise Refused(500, "Failed to delete agent", "sessions name it") from None
        if socket := self._hub.sockets.pop(agent, None):
            await socket.close()
        return web.json_response({"agentId": agent, "message": "Agent deleted"})

    async def command(self, request: web.Request) -> web.Response:
        """POST /admin/agents/:id/command."""
        body = await body_of(request)
        if body.get("action") not in ACTIONS:
            raise Refused(400, "Invalid action")
        agent = (await self._agent(request))["agent_id"]
        if agent not in self._hub.sockets:
            raise Refused(503, "Agent not connected")
        made = await row(
            "insert into agent_commands (command_id, agent_id, session_id, action, payload) values (%s, %s, %s, %s, %s) returning *",
            str(uuid.uuid4()), agent, body.get("sessionId") or "", body["action"], json.dumps(body.get("payload") or {}),
        )  # fmt: skip
        assert made is not None
        await self._hub.dispatch(agent)
        names = {"commandId": "command_id", "agentId": "agent_id", "sessionId": "session_id", "action": "action"}
        said = {name: made[column] for name, column in names.items()}
        said |= {"id": str(made["id"]), "payload": made["payload"], "status": made["status"]}
        return web.json_response({**said, "createdAt": made["created_at"].isoformat() + "Z"}, status=201)

    async def approve(self, request: web.Request) -> web.Response:
        """POST /admin/agents/:id/approve."""
        key, kept = new_key()
        agent = await self._decided(request, "approved", kept)
        return web.json_response(
            {"agentId": agent, "apiKey": key, "message": "Agent approved", "warning": "shown once"}
        )

    async def reject(self, request: web.Request) -> web.Response:
        """POST /admin/agents/:id/reject."""
        return web.json_response({"agentId": await self._decided(request, "rejected", None), "message": "rejected"})

    async def _decided(self, request: web.Request, decision: str, kept: str | None) -> str:
        done = await row(
            "update agents set approval_status = %s, approved_at = now(), approved_by = 'admin', api_key_hash = %s, updated_at = now()"
            " where agent_id = %s and approval_status = 'pending' returning agent_id",
            decision, kept, request.match_info["id"],
        )  # fmt: skip
        if done is None:
            raise Refused(404, "Agent not found", "none of this name is pending")
        return str(done["agent_id"])

    async def new_key(self, request: web.Request) -> web.Response:
        """POST /admin/agents/:id/generate-key, .../rotate-key."""
        agent = (await self._agent(request))["agent_id"]
        key, kept = new_key()
        if not misbehaves("old-keys"):
            await rows("update agents set api_key_hash = %s, updated_at = now() where agent_id = %s", kept, agent)
        said = await row("select now()::timestamp as at")
        assert said is not None
        return web.json_response({"agentId": agent, "apiKey": key, "createdAt": said["at"].isoformat() + "Z"})

    async def templates(self, _request: web.Request) -> web.Response:
        """GET /templates."""
        found = await rows(f"{TEMPLATE} order by name")
        kinds = sorted({each["category"] for each in found if each["category"]})
        return web.json_response({"templates": found, "total": len(found), "categories": kinds, "filters": {}})

    async def template(self, request: web.Request) -> web.Response:
        """GET /templates/:name."""
        found = await row(f"{TEMPLATE} where name = %s", request.match_info["id"])
        if found is None:
            raise Refused(404, "Template not found")
        return web.json_response(found)

    async def new_template(self, request: web.Request) -> web.Response:
        """POST /templates."""
        body = await body_of(request)
        name, manifest = body.get("name"), body.get("manifest")
        if not name or not isinstance(manifest, dict) or not manifest or body.get("repository_id", 1) not in (1, 2):
            raise Refused(400, "Invalid request", "name, manifest and repository_id 1 or 2 are required")
        texts = ("display_name", "description", "category", "app_type", "icon_url")
        try:
            await rows(
                f"insert into templates (repository_id, name, {', '.join(texts)}, manifest, tags) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                body.get("repository_id", 1), name, *(body.get(each) or "" for each in texts), json.dumps(manifest), body.get("tags") or [],
            )  # fmt: skip
        except psycopg.errors.UniqueViolation:
            raise Refused(409, "Template exists") from None
        return web.json_response(await row(f"{TEMPLATE} where name = %s", name), status=201)

    async def _figures(self) -> dict[str, Any]:
        nodes = await rows("select status from agents where approval_status = 'approved'")
        sessions = await rows("select state, cpu, user_id from sessions")
        users = await rows("select id from users")
        living = [each for each in sessions if each["state"] not in ("hibernated", "terminated", "failed")]
        ready = sum(each["status"] == "online" for each in nodes)
        cpus = [each["cpu"] for each in living]
        millis = sum(Decimal(each[:-1]) if each.endswith("m") else Decimal(each) * 1000 for each in cpus)
        states = ("running", "hibernated", "terminated")
        return {
            "nodes": {"total": len(nodes), "ready": ready, "notReady": len(nodes) - ready},
            "sessions": {
                "total": len(sessions),
                **{state: sum(each["state"] == state for each in sessions) for state in states},
            },
            "resources": {"cpu": float(millis / 1000), "memory": 0, "pods": len(living)},
            "users": {"total": len(users), "active": len({each["user_id"] for each in living})},
        }

    async def metrics(self, _request: web.Request) -> web.Response:
        """GET /metrics."""
        return web.json_response({"cluster": await self._figures()})

    async def prometheus(self, _request: web.Request) -> web.Response:
        """GET /monitoring/metrics/prometheus."""
        lines = [
            f"streamspace_{group}_{name} {value}"
            for group, figures in (await self._figures()).items()
            for name, value in figures.items()
        ]
        return web.Response(text="\n".join(lines) + "\n")
