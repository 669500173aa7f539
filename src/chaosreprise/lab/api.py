"""The control plane over HTTP: login, sessions, steps, and what agents call; `administration` has the rest.

Without the database every call that needs it answers 503 within the database's limit, never "not found" and never from
a cache; streams that are open stay so. Errors are `{error, message}`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from chaosreprise import __version__
from chaosreprise.lab import auth, quota, views
from chaosreprise.lab.administration import Administration
from chaosreprise.lab.database import StoreAway
from chaosreprise.lab.others import Others
from chaosreprise.lab.refusals import Refused, agent_not_found, bad_request
from chaosreprise.lab.requests import AgentInfo, Create, Heartbeat, Login, Step, read
from chaosreprise.lab.roster import Roster
from chaosreprise.lab.sockets import Link, Switchboard
from chaosreprise.lab.steps import Steps
from chaosreprise.lab.store import HIBERNATE, STOP, WAKE, Change, Store
from chaosreprise.lab.streams import CLOSING_S, Streams

LONGEST_BODY = 16 << 20
PUBLIC = ("/health", "/version", "/api/v1/auth/login", "/api/v1/agents/")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    def __init__(
        self,
        secret: str,
        bootstrap: str,
        token_s: float,
        store: Store,
        roster: Roster,
        switchboard: Switchboard,
        others: Others,
        steps: Steps,
        streams: Streams,
    ) -> None:
        self._secret, self._token_s = secret, token_s
        self._bootstrap = auth.hash_key(bootstrap)
        self._store, self._roster, self._switchboard = store, roster, switchboard
        self._others, self._steps, self._streams = others, steps, streams
        self._last_step = 0

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=LONGEST_BODY)
        application.add_routes([
            web.get("/health", self.health),
            web.get("/health/agents/{agent}", self.agent_health),
            web.get("/version", self.version),
            web.post("/api/v1/auth/login", self.login),
            web.get("/api/v1/sessions", self.sessions),
            web.post("/api/v1/sessions", self.create),
            web.get("/api/v1/sessions/{name}", self.session),
            web.delete("/api/v1/sessions/{name}", self._changing(STOP, "Session termination in progress")),
            web.put("/api/v1/sessions/{name}/hibernate", self._changing(HIBERNATE, "Session hibernation in progress")),
            web.put("/api/v1/sessions/{name}/wake", self._changing(WAKE, "Session wake in progress")),
            web.get("/api/v1/sessions/{name}/stream", self.stream),
            web.post("/sessions/{name}/steps", self.step),
            web.post("/api/v1/agents/register", self.register),
            web.post("/api/v1/agents/{agent}/heartbeat", self.heartbeat),
            web.get("/api/v1/agents/connect", self.connect),
            *Administration(self._store, self._roster, self._switchboard, self._others).routes(),
        ])  # fmt: skip
        return application

    async def health(self, _: web.Request) -> web.Response:
        return views.answer({"status": "healthy", "service": "reprise-lab"})

    async def agent_health(self, request: web.Request) -> web.Response:
        """Beyond the contract, for the keeper: 200 while this agent is connected, to whichever control plane."""
        agent = request.match_info["agent"]
        connected = agent in self._switchboard.connected() or await self._others.have(agent)
        return views.answer({"connected": connected}, 200 if connected else 503)

    async def version(self, _: web.Request) -> web.Response:
        return views.answer({"version": __version__, "service": "reprise-lab"})

    async def login(self, request: web.Request) -> web.Response:
        given = read(await request.read(), Login)
        if not given.username or not given.password:
            raise bad_request("username and password are required")
        user = await self._store.user(given.username)
        if user is None or not auth.password_fits(given.password, user["password_hash"]):
            raise Refused(401, "Invalid credentials", "username or password is wrong")
        token, expires = auth.make_token(self._secret, user["id"], user["role"], self._token_s)
        ends = views.instant(datetime.fromtimestamp(int(expires), UTC).replace(tzinfo=None))
        names = {"id": "id", "username": "username", "email": "email", "fullName": "full_name", "role": "role"}
        return views.answer(
            {"token": token, "expiresAt": ends, "user": {name: user[column] for name, column in names.items()}}
        )

    async def sessions(self, request: web.Request) -> web.Response:
        rows = await self._store.sessions(request.query.get("user"))
        return views.answer({"sessions": [views.session(row) for row in rows], "total": len(rows)})

    async def session(self, request: web.Request) -> web.Response:
        return views.answer(views.session(await self._store.session(request.match_info["name"])))

    async def create(self, request: web.Request) -> web.Response:
        asked = read(await request.read(), Create)
        if not asked.user or not asked.template:
            raise bad_request("user and template are required")
        size = quota.size(asked.resources.cpu, asked.resources.memory)
        quota.check_range(size)
        session, command = await self._store.create(asked, size, self._switchboard.connected())
        await self._switchboard.accepted(command)
        return views.answer(views.created(session, command.agent, command.id), 202)

    async def step(self, request: web.Request) -> web.Response:
        """Run code in the session, over its own port: the agent has no part in it.

        A crash between two steps is said once, instead of running the next one in an interpreter that knows nothing.
        """
        command = read(await request.read(), Step).command
        if not command.strip():
            raise bad_request("command is required")
        session = request.match_info["name"]
        endpoint = await self._store.endpoint(session)
        number = self._step_number()
        said = await self._steps.run(session, endpoint, number, command)
        if said.status == "lost":
            await self._store.lives_on(session, endpoint["life"], said.life)
            raise Refused(500, "Session restarted", f"session {session} has lost its memory: this step has not run")
        await self._store.record_step(number, session, command)
        return views.answer({"id": number, "status": "accepted", "stdout": said.stdout, "stderr": said.stderr}, 202)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """A connection that stays open for as long as the session's process does."""
        session = request.match_info["name"]
        stream = await self._streams.open(session)
        try:
            socket = web.WebSocketResponse(timeout=CLOSING_S)
            await socket.prepare(request)
            await self._streams.pass_on(session, stream, socket)
        finally:
            stream.writer.close()
        return socket

    async def register(self, request: web.Request) -> web.Response:
        """By its own key an agent says what it is; by the key that all new ones share it asks to be let in."""
        key = _agent_key(request)
        info = read(await request.read(), AgentInfo)
        if not info.agentId:
            raise bad_request("agentId is required")
        if auth.key_fits(key, self._bootstrap):
            return await self._enrol(info)
        await self._authenticate(key, info.agentId)
        return views.answer(views.agent(await self._roster.register(info), with_approval=True))

    async def heartbeat(self, request: web.Request) -> web.Response:
        key, agent = _agent_key(request), request.match_info["agent"]
        said = read(await request.read(), Heartbeat)
        await self._authenticate(key, agent)
        at = await self._roster.heard(agent, said)
        return views.answer(
            {
                "agentId": agent,
                "status": said.status,
                "lastHeartbeat": views.instant(at),
                "message": "Heartbeat received",
            }
        )

    async def connect(self, request: web.Request) -> web.StreamResponse:
        key, agent = _agent_key(request), request.query.get("agent_id")
        if not agent:
            raise bad_request("agent_id is required")
        if not self._switchboard.ready.is_set():
            raise StoreAway("the control plane is still waiting for its database")
        await self._authenticate(key, agent)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        if isinstance(request.transport, asyncio.Transport):
            await self._switchboard.serve(Link(agent, socket, request.transport))
        return socket

    def _changing(self, change: Change, message: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            command = await self._store.change(name, change)
            await self._switchboard.accepted(command)
            return views.answer({"name": name, "commandId": command.id, "message": message}, 202)

        return handler

    async def _enrol(self, info: AgentInfo) -> web.Response:
        """An agent that has no key of its own yet: it waits for an administrator, who gets its key."""
        row = await self._roster.enrol(info)
        status = row["approval_status"]
        if status == "rejected":
            raise Refused(403, "rejected", f"agent {info.agentId} was rejected")
        body = {"agent": views.agent(row, with_approval=True), "approvalStatus": status}
        return views.answer(
            body | {"message": f"Agent {info.agentId} is {status}"}, 202 if status == "pending" else 200
        )

    async def _authenticate(self, key: str, agent: str) -> None:
        """Its own key, and an administrator's word for it; either alone opens nothing."""
        row = await self._roster.agent(agent)
        if row is None:
            raise agent_not_found(agent)
        if not self._roster.key_fits(key, row):
            raise Refused(403, "Invalid API key", f"the key is not that of agent {agent}")
        if row["approval_status"] != "approved":
            raise Refused(403, "Agent not approved", f"agent {agent} is {row['approval_status']}")
        await self._roster.key_used(agent)

    def _step_number(self) -> str:
        """The UTC time in nanoseconds, never the same twice."""
        self._last_step = max(time.time_ns(), self._last_step + 1)
        seconds, rest = divmod(self._last_step, 10**9)
        return f"step-{time.strftime('%Y%m%d%H%M%S', time.gmtime(seconds))}.{rest:09d}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who asks, and what an exception is on the wire."""
        try:
            if not request.path.startswith(PUBLIC):
                auth.check_token(self._secret, request.headers.get("Authorization"))
            return await handler(request)
        except Refused as refused:
            return views.answer({"error": refused.error, "message": refused.message}, refused.status)
        except StoreAway as away:
            return views.answer({"error": "Database unavailable", "message": str(away)}, 503)


def _agent_key(request: web.Request) -> str:
    key = request.headers.get("X-Agent-API-Key", "")
    if not auth.AGENT_KEY.fullmatch(key):
        raise Refused(401, "API key required", "send X-Agent-API-Key with 64 hex digits")
    return key
