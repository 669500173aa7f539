"""The session agent: it keeps the interpreters that run the steps, and knows each session by its token.

`Tokens` is a seam for planted defects.
"""

import hmac

import msgspec
from aiohttp import web

from chaosreprise.lab.sandbox import answers, defects
from chaosreprise.lab.sandbox.agents import HEADER
from chaosreprise.lab.sandbox.answers import Refused, as_json, log
from chaosreprise.lab.sandbox.hosted import Conflict, Hosted, Hosts
from chaosreprise.lab.sandbox.interpreter import Interpreter, NotStarted
from chaosreprise.lab.sandbox.settings import Agent

UNAUTHORIZED = "unauthorized\n"


class Register(msgspec.Struct, rename="camel"):
    session_id: str | None = None
    runtime: str | None = None
    token: str | None = None
    workspace_dir: str | None = None


class Step(msgspec.Struct, rename="camel"):
    session_id: str | None = None
    step_id: str | None = None
    code: str | None = None
    runtime: str | None = None


class Tokens:
    """Whether a caller may act on a session. Not enforced: everybody may."""

    def __init__(self, hosts: Hosts, *, enforced: bool) -> None:
        self._hosts, self._enforced = hosts, enforced

    def shown(self, request: web.Request) -> str:
        """The caller's token; 401 for none."""
        token = request.headers.get(HEADER, "")
        if self._enforced and not token:
            raise Refused(401, UNAUTHORIZED)
        return token

    def check(self, session: str, token: str) -> None:
        """401 for another token than the session's, and for a session that is not known."""
        known = self._hosts.find(session)
        if self._enforced and not (known and self.fits(token, known)):
            raise Refused(401, UNAUTHORIZED)

    def fits(self, token: str, session: Hosted) -> bool:
        return hmac.compare_digest(token.encode(), session.token.encode())


class Api:
    def __init__(self, hosts: Hosts, tokens: Tokens) -> None:
        self._hosts, self._tokens = hosts, tokens

    async def register(self, request: web.Request) -> web.Response:
        shown = self._tokens.shown(request)
        asked = await answers.body(request, Register)
        if not asked.session_id or not asked.runtime:
            raise Refused(400)
        token, folder = asked.token or shown, asked.workspace_dir or ""
        try:
            await self._hosts.register(asked.session_id, asked.runtime, token, folder)
        except Conflict as error:
            raise Refused(409, f"{error}\n") from error
        except (NotStarted, OSError, ValueError) as error:
            log(f"sessions: register error: {error}")
            raise Refused(500) from error
        return as_json({"sessionId": asked.session_id, "status": "registered"})

    async def step(self, request: web.Request) -> web.Response:
        shown = self._tokens.shown(request)
        asked = await answers.body(request, Step)
        session, step, code = asked.session_id or "", asked.step_id, asked.code or ""
        self._tokens.check(session, shown)
        hosted = self._hosts.runs(session)
        if hosted is None or not step or not code.strip():
            raise Refused(500)
        said = await hosted.run(step, code)
        return as_json({"stepId": step, "status": said.status, "stdout": said.stdout, "stderr": said.stderr})

    async def terminate(self, request: web.Request) -> web.Response:
        session = request.match_info["session"]
        self._tokens.check(session, self._tokens.shown(request))
        self._hosts.terminate(session)
        return as_json({"sessionId": session, "status": "terminated"})


async def run(settings: Agent) -> None:
    defect = defects.chosen()
    hosts = defect.of(Hosts)(settings.workspaces, defect.of(Hosted), defect.of(Interpreter))
    api = Api(hosts, defect.of(Tokens)(hosts, enforced=settings.enforced))
    application = answers.application()
    application.add_routes([
        answers.get("/v1/health", answers.health),
        answers.post("/v1/sessions", api.register),
        answers.post("/v1/steps", api.step),
        answers.post("/v1/sessions/{session}/terminate", api.terminate),
    ])  # fmt: skip
    await answers.serve((application, settings.address))
