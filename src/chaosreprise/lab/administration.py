"""What an administrator asks of the control plane: agents, their approval and keys, commands past users, templates, figures.

A key is shown once, when it is made; from then on the former one opens nothing. Connections that it has opened stay, as a token's
do. A command past users is a command of its session all the same: what the session's state does not allow is refused, and one
for a session that this agent does not have is stored, delivered, and failed by the agent.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from chaosreprise.lab import auth, metrics, views
from chaosreprise.lab.database import Row
from chaosreprise.lab.others import Others
from chaosreprise.lab.refusals import Refused, agent_not_found, bad_request
from chaosreprise.lab.requests import AgentCommand, NewTemplate, read
from chaosreprise.lab.roster import FILTERS, Roster
from chaosreprise.lab.sockets import Switchboard
from chaosreprise.lab.store import CHANGES, Command, Store

REPOSITORIES = (1, 2)
ADMIN = "admin"  # the one who can log in
ONCE = "it is shown this once: store it now"
Decision = Callable[[str], Awaitable[dict[str, Any]]]


class Administration:
    def __init__(self, store: Store, roster: Roster, switchboard: Switchboard, others: Others) -> None:
        self._store, self._roster, self._switchboard, self._others = store, roster, switchboard, others

    def routes(self) -> list[web.RouteDef]:
        agents = "/api/v1/admin/agents"
        return [
            web.get(agents, self.agents),
            web.get(f"{agents}/{{agent}}", self.agent),
            web.delete(f"{agents}/{{agent}}", self._deciding(self._delete)),
            web.post(f"{agents}/{{agent}}/command", self.command),
            web.post(f"{agents}/{{agent}}/approve", self._deciding(self._approve)),
            web.post(f"{agents}/{{agent}}/reject", self._deciding(self._reject)),
            web.post(f"{agents}/{{agent}}/generate-key", self._deciding(self._new_key)),
            web.post(f"{agents}/{{agent}}/rotate-key", self._deciding(self._new_key)),
            web.get("/api/v1/templates", self.templates),
            web.post("/api/v1/templates", self.new_template),
            web.get("/api/v1/templates/{name}", self.template),
            web.get("/api/v1/metrics", self.metrics),
            web.get("/api/v1/monitoring/metrics/prometheus", self.prometheus),
        ]

    async def agents(self, request: web.Request) -> web.Response:
        rows = await self._roster.agents({name: request.query[name] for name in FILTERS if request.query.get(name)})
        return views.answer({"agents": [views.agent(row, with_approval=True) for row in rows], "total": len(rows)})

    async def agent(self, request: web.Request) -> web.Response:
        return views.answer(views.agent(await self._existing(request.match_info["agent"]), with_approval=False))

    async def command(self, request: web.Request) -> web.Response:
        agent, asked = request.match_info["agent"], read(await request.read(), AgentCommand)
        if asked.action not in CHANGES:
            raise bad_request(f"action {asked.action!r} is none of {', '.join(CHANGES)}")
        await self._existing(agent)
        if agent not in self._switchboard.connected() and not await self._others.have(agent):
            raise Refused(503, "Agent not connected", f"agent {agent} has no connection")
        payload = {"sessionId": asked.sessionId} | asked.payload
        command = Command(str(uuid.uuid4()), agent, asked.sessionId, asked.action, payload)
        row = await self._store.order(command)
        await self._switchboard.accepted(command)
        return views.answer(views.command(row), 201)

    async def templates(self, _: web.Request) -> web.Response:
        found = [views.template(row) for row in await self._store.templates()]
        categories = sorted({one["category"] for one in found})
        return views.answer({"templates": found, "total": len(found), "categories": categories, "filters": {}})

    async def template(self, request: web.Request) -> web.Response:
        return views.answer(views.template(await self._store.template(request.match_info["name"])))

    async def new_template(self, request: web.Request) -> web.Response:
        asked = read(await request.read(), NewTemplate)
        if not asked.name or not asked.manifest:
            raise bad_request("name and manifest are required")
        if asked.repository_id not in REPOSITORIES:
            raise bad_request(f"repository_id {asked.repository_id} is none of {REPOSITORIES}")
        return views.answer(views.template(await self._store.add_template(asked)), 201)

    async def metrics(self, _: web.Request) -> web.Response:
        return views.answer(metrics.shown(await self._store.counts()))

    async def prometheus(self, _: web.Request) -> web.Response:
        return web.Response(text=metrics.exposition(await self._store.counts()))

    def _deciding(self, decision: Decision) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.Response:
            return views.answer(await decision(request.match_info["agent"]))

        return handler

    async def _approve(self, agent: str) -> dict[str, Any]:
        key = auth.new_key()
        await self._decide(agent, "approved", auth.hash_key(key))
        return {"agentId": agent, "apiKey": key, "message": f"Agent {agent} is approved", "warning": ONCE}

    async def _reject(self, agent: str) -> dict[str, Any]:
        await self._decide(agent, "rejected", None)
        return {"agentId": agent, "message": f"Agent {agent} is rejected"}

    async def _decide(self, agent: str, decision: str, key_hash: str | None) -> None:
        if not await self._roster.decide(agent, decision, ADMIN, key_hash):
            raise Refused(404, "Agent not found", f"no agent {agent} is pending")

    async def _new_key(self, agent: str) -> dict[str, Any]:
        key = auth.new_key()
        at = await self._roster.new_key(agent, auth.hash_key(key))
        if at is None:
            raise agent_not_found(agent)
        return {"agentId": agent, "apiKey": key, "createdAt": views.instant(at), "warning": ONCE}

    async def _delete(self, agent: str) -> dict[str, Any]:
        """Its commands go with it; whoever is connected as it is cut with its next word."""
        await self._existing(agent)
        await self._roster.delete(agent)
        return {"agentId": agent, "message": f"Agent {agent} is deleted"}

    async def _existing(self, agent: str) -> Row:
        if (row := await self._roster.agent(agent)) is None:
            raise agent_not_found(agent)
        return row
