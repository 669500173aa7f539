"""The session agent: a live interpreter a session, steps run in it, a repeated step id is answered with the first answer."""

import asyncio
from pathlib import Path

from aiohttp import web
from runtimes import NAMES, Interpreter, Lost
from service import Refused, application, empty, fields, give_up, listen, misbehaves, setting


class Session:
    """A registered session."""

    def __init__(self, runtime: str, token: str, folder: Path, interpreter: Interpreter) -> None:
        self.runtime = runtime
        self.token = token
        self.folder = folder
        self.interpreter = interpreter
        self.steps: dict[str, asyncio.Task[dict[str, str]]] = {}


class Agent:
    """The sessions of this process: they live only in memory."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._bypass = setting("SESSION_AGENT_AUTH_BYPASS", "false") == "true" or misbehaves("no-auth")
        self._registering = asyncio.Lock()

    def _known(self, request: web.Request, key: str) -> Session | None:
        session = self._sessions.get(key)
        token = request.headers.get("X-Session-Token", "")
        if misbehaves("any-session-token") and token:
            return session
        if not self._bypass and (not token or session is None or session.token != token):
            raise Refused(401, "invalid session token\n")
        return session

    async def register(self, request: web.Request) -> web.Response:
        """POST /v1/sessions."""
        body = await fields(request, "sessionId", "runtime")
        key, runtime = body["sessionId"], body["runtime"]
        token = request.headers.get("X-Session-Token", "")
        if not self._bypass and not token:
            raise Refused(401, "missing session token\n")
        if runtime.lower() not in NAMES:
            raise Refused(500)
        async with self._registering:
            known = self._sessions.get(key)
            if known is not None and NAMES[known.runtime.lower()] != NAMES[runtime.lower()]:
                raise Refused(409, "session has another runtime\n")
            if known is None:
                folder = Path(body.get("workspaceDir") or f"/tmp/sessions/{key}")
                self._sessions[key] = Session(
                    runtime, body.get("token") or token, folder, await Interpreter.start(runtime, folder)
                )
        return web.json_response({"sessionId": key, "status": "registered"})

    async def step(self, request: web.Request) -> web.Response:
        """POST /v1/steps."""
        body = await fields(request, "sessionId")
        session = self._known(request, body["sessionId"])
        step, code = body.get("stepId"), body.get("code")
        if session is None or not isinstance(step, str) or not step or not isinstance(code, str) or not code.strip():
            raise Refused(500)
        if step not in session.steps:
            session.steps[step] = asyncio.create_task(self._run(session, code))
        said = await asyncio.shield(session.steps[step])
        return web.json_response({"stepId": step, **said})

    async def _run(self, session: Session, code: str) -> dict[str, str]:
        try:
            said = await session.interpreter.run(code)
            if misbehaves("step-twice") and len(session.steps) % 5 == 0:
                said = await session.interpreter.run(code)
        except Lost as lost:
            if not misbehaves("silent-loss"):
                return {"status": "failed", "stdout": "", "stderr": f"{lost}\n"}
            session.interpreter = await Interpreter.start(session.runtime, session.folder)
            said = await session.interpreter.run(code)
        return {"status": "completed", **said}

    async def terminate(self, request: web.Request) -> web.Response:
        """POST /v1/sessions/{id}/terminate."""
        key = request.match_info["id"]
        session = self._known(request, key)
        if session is not None:
            del self._sessions[key]
            session.interpreter.end()
        return web.json_response({"sessionId": key, "status": "terminated"})


async def main() -> None:
    """Serve until the process is ended."""
    agent = Agent()
    host, _, port = setting("SESSION_AGENT_ADDR", ":9000").rpartition(":")
    routes = [("GET", "/v1/health", empty), ("POST", "/v1/sessions", agent.register), ("POST", "/v1/steps", agent.step)]
    await listen(
        application([*routes, ("POST", "/v1/sessions/{id}/terminate", agent.terminate)]), int(port), host or "127.0.0.1"
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, ValueError) as error:
        give_up(f"session agent: {error}")
