"""The data plane: where each session runs, and the way of its steps to there. `Runner` is a seam for planted defects.

A session has an interpreter below this process. It is idle where a session agent runs the steps in one of its own.
"""

import contextlib
import errno
import pathlib
import uuid

import msgspec
from aiohttp import web

from chaosreprise.lab.sandbox import answers, defects
from chaosreprise.lab.sandbox.agents import AgentClient, AgentRefused, Unreachable, new_number
from chaosreprise.lab.sandbox.answers import Refused, as_json, log
from chaosreprise.lab.sandbox.dataplane import Output
from chaosreprise.lab.sandbox.guard import Guard
from chaosreprise.lab.sandbox.interpreter import Interpreter, Lost, NotStarted, canonical
from chaosreprise.lab.sandbox.registry import Registry, Route
from chaosreprise.lab.sandbox.settings import Data

FOLDER_MODE = 0o750


class Create(msgspec.Struct, rename="camel"):
    session_id: str | None = None
    policy_id: str | None = None
    workspace_ref: str | None = None
    runtime: str | None = None


class Step(msgspec.Struct):
    command: str | None = None


class Runner:
    def __init__(self, settings: Data, registry: Registry, agents: AgentClient) -> None:
        self._settings, self._registry, self._agents = settings, registry, agents
        self._interpreters: dict[str, Interpreter] = {}
        self._beginning: set[str] = set()

    async def create(self, session: str, workspace: str, runtime: str) -> Route:
        """A new session; 500 for one that is there. Raises NotStarted, Unreachable, AgentRefused or OSError."""
        if session in self._beginning or self._registry.get(session):
            log(f"sessions: start error: session {session} is there already")
            raise Refused(500)
        self._beginning.add(session)
        try:
            return await self._create(session, self._folder(workspace or session), runtime)
        finally:
            self._beginning.discard(session)

    async def step(self, session: str, command: str) -> Output:
        route = self._registry.get(session)
        if route is None:
            raise Refused(410, {"error": "session_expired", "message": f"session {session} is not in the registry"})
        number, status = new_number(), "failed"
        try:
            if route.endpoint:
                said = await self._by_agent(route, session, number, command)
            else:
                said = await self._here(session, command)
            status = said.status
        finally:
            log(
                f"sessions: route session_id={session} runtime_id={route.runtime_id} endpoint={route.endpoint} "
                f"auth_mode={route.auth_mode} step_id={number} status={status}"
            )
        return said

    async def terminate(self, session: str) -> None:
        """End it for good; what can't be ended stays. Raises Unreachable, AgentRefused or OSError."""
        route = self._registry.get(session)
        if route is None:
            raise Refused(404)
        if route.endpoint:
            await self._agents.terminate(route, session)
        self._end(session)
        self._registry.remove(session)

    async def _create(self, session: str, folder: pathlib.Path, runtime: str) -> Route:
        mode = "enforced" if self._settings.enforced else "bypass"
        route = Route(session, canonical(runtime), self._settings.agent, str(uuid.uuid4()), mode)
        self._interpreters[session] = await Interpreter.start(route.runtime, folder)
        try:
            if route.endpoint:
                await self._agents.register(route, session, str(folder))
            self._registry.put(session, route)
        except (Unreachable, AgentRefused, OSError) as error:
            self._end(session)
            if route.endpoint and not isinstance(error, AgentRefused):  # it may have it, and nobody will ask for it
                with contextlib.suppress(Unreachable, AgentRefused):
                    await self._agents.terminate(route, session)
            raise
        return route

    def _folder(self, name: str) -> pathlib.Path:
        root = self._settings.workspaces
        folder = (root / name).resolve()
        if root.resolve() not in folder.parents:
            raise OSError(errno.EPERM, "it leads out of the workspaces", name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
        return folder

    def _end(self, session: str) -> None:
        if session in self._interpreters:
            self._interpreters.pop(session).kill()

    async def _here(self, session: str, command: str) -> Output:
        try:
            if session not in self._interpreters:
                raise Lost("the data plane has been started again since")
            said = await self._interpreters[session].run(command)
        except Lost as error:
            raise _crashed(session, str(error)) from error
        return Output("accepted", said.stdout, said.stderr)

    async def _by_agent(self, route: Route, session: str, number: str, command: str) -> Output:
        try:
            return await self._agents.step(route, session, number, command)
        except Unreachable as error:
            raise Refused(503, {"error": "runtime_unreachable", "message": str(error)}) from error
        except AgentRefused as error:
            if error.status == 500 and command.strip():  # so it does not know the session
                raise _crashed(session, "the session agent has been started again since") from error
            log(f"sessions: agent step error: {error}")
            raise Refused(500) from error


class Api:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def create(self, request: web.Request) -> web.Response:
        asked = await answers.body(request, Create)
        if not asked.session_id:
            raise Refused(400)
        try:
            route = await self._runner.create(asked.session_id, asked.workspace_ref or "", asked.runtime or "")
        except (NotStarted, Unreachable, AgentRefused, OSError, ValueError) as error:
            log(f"sessions: start error: {error}")
            raise Refused(500) from error
        return as_json({"id": asked.session_id, "runtimeId": route.runtime_id, "status": "running"}, 202)

    async def step(self, request: web.Request) -> web.Response:
        command = (await answers.body(request, Step)).command
        if not command:
            raise Refused(400)
        return as_json(await self._runner.step(request.match_info["session"], command), 202)

    async def terminate(self, request: web.Request) -> web.Response:
        try:
            await self._runner.terminate(request.match_info["session"])
        except (Unreachable, AgentRefused, OSError) as error:
            log(f"sessions: terminate error: {error}")
            raise Refused(500) from error
        return web.Response(status=202)


async def run(settings: Data) -> None:
    defect = defects.chosen()
    guard = defect.of(Guard)(settings.keys)
    registry, agents = defect.of(Registry)(settings.routes), defect.of(AgentClient)(settings.limit_s)
    api = Api(defect.of(Runner)(settings, registry, agents))
    application = answers.application(guard.middleware)
    application.add_routes([
        answers.post("/sessions", api.create),
        answers.post("/sessions/{session}/steps", api.step),
        answers.post("/sessions/{session}/terminate", api.terminate),
        answers.get("/healthz", answers.health),
        answers.get("/metrics", answers.metrics),
    ])  # fmt: skip
    await answers.serve((application, settings.address))


def _crashed(session: str, why: str) -> Refused:
    return Refused(503, {"error": "runtime_crashed", "message": f"session {session} has lost its interpreter: {why}"})
