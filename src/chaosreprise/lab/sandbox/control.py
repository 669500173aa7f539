"""The control plane: creates of sessions and their steps, each written into the database before it is answered.

Nothing is accepted that has no row. A session whose row can't be written is ended again. With authentication on a session
belongs to whom its create's token spoke for: others get 401, and so nobody gets further after a restart, which is a 500.
`Sessions` and `Api` are seams for planted defects.
"""

import contextlib
from typing import NamedTuple

import msgspec
from aiohttp import web

from chaosreprise.lab.sandbox import answers, defects, ids, rows
from chaosreprise.lab.sandbox.answers import Refused, as_json, log
from chaosreprise.lab.sandbox.dataplane import DataPlane, NotDone
from chaosreprise.lab.sandbox.guard import Guard
from chaosreprise.lab.sandbox.rows import Rows, StoreRefused
from chaosreprise.lab.sandbox.settings import Control
from chaosreprise.lab.sandbox.tokens import Owner


class Create(msgspec.Struct, rename="camel"):
    """Of all this the runtime alone decides anything."""

    tenant_id: str | None = None
    agent_id: str | None = None
    policy_id: str | None = None
    ttl_seconds: int | None = None
    runtime: str | None = None


class Step(msgspec.Struct):
    command: str | None = None


class Ran(NamedTuple):
    """A step that was accepted, with what it printed."""

    id: str
    stdout: str
    stderr: str


class Sessions:
    def __init__(self, data_plane: DataPlane, kept: Rows) -> None:
        self._data_plane, self._rows = data_plane, kept
        self._owners: dict[str, Owner] = {}
        self._ids = ids.StepIds()

    async def create(self, policy: str, runtime: str, owner: Owner | None) -> str:
        """The id of a new session. Raises NotDone or StoreRefused."""
        session = ids.session()
        started = await self._data_plane.create(session, policy, runtime)
        try:
            await self._rows.add_session(session, started.runtime_id)
        except StoreRefused:
            with contextlib.suppress(NotDone):
                await self._data_plane.terminate(session)
            raise
        if owner is not None:
            self._owners[session] = owner
        return session

    async def step(self, session: str, command: str, owner: Owner | None) -> Ran:
        """Run it, once. Raises NotDone or StoreRefused: then nobody knows, except for 401."""
        if owner is not None:
            self._check(session, owner)
        said = await self._data_plane.step(session, command)
        if said.status == "failed":
            raise NotDone(f"session {session} gave no answer: {said.stderr}")
        ran = Ran(self._ids.next(), said.stdout, said.stderr)
        await self._rows.add_step(ran.id, session, command)
        return ran

    def _check(self, session: str, owner: Owner) -> None:
        if session not in self._owners:
            raise NotDone(f"session {session} has no owner that is known here")
        if self._owners[session] != owner:
            raise Refused(401)


class Api:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def create(self, request: web.Request) -> web.Response:
        asked, owner = await answers.body(request, Create), request.get("owner")
        if not asked.runtime:
            raise Refused(400)
        try:
            session = await self._sessions.create(asked.policy_id or "", asked.runtime, owner)
        except (NotDone, StoreRefused) as error:
            log(f"sessions: create error: {error}")
            raise Refused(500) from error
        _audit("session_created", owner.tenant if owner else asked.tenant_id or "", session)
        return as_json({"id": session, "status": "active"}, 201)

    async def step(self, request: web.Request) -> web.Response:
        command, owner = (await answers.body(request, Step)).command, request.get("owner")
        if not command:
            raise Refused(400)
        try:
            ran = await self._sessions.step(request.match_info["session"], command, owner)
        except (NotDone, StoreRefused) as error:
            log(f"sessions: step error: {error}")
            raise Refused(500) from error
        _audit("session_step_accepted", owner.tenant if owner else "", ran.id)
        return as_json({"id": ran.id, "status": "accepted", "stdout": ran.stdout, "stderr": ran.stderr}, 202)

    def calls(self, before: str = "") -> list[web.RouteDef]:
        return [
            answers.post(f"{before}/sessions", self.create),
            answers.post(f"{before}/sessions/{{session}}/steps", self.step),
        ]


async def run(settings: Control) -> None:
    defect = defects.chosen()
    guard = defect.of(Guard)(settings.keys)
    kept = defect.of(Rows)(rows.opened(settings.driver, settings.database))
    api = defect.of(Api)(defect.of(Sessions)(DataPlane(settings.data_plane, settings.limit_s), kept))
    main, tools = answers.application(guard.middleware), answers.application(guard.middleware)
    main.add_routes([*api.calls(), answers.get("/healthz", answers.health), answers.get("/metrics", answers.metrics)])
    tools.add_routes(api.calls("/tools"))
    others = [(tools, settings.tools)] if settings.tools else []
    await answers.serve((main, settings.address), *others)


def _audit(action: str, tenant: str, detail: str) -> None:
    log(f"audit event action={action} outcome=ok tenant={tenant} actor= detail={detail}")
