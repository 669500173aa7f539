"""The data plane: a registry of routes from sessions to their runtimes, in memory or in a file, and the way of a step to the agent."""

import asyncio
import importlib
import json
import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from runtimes import NAMES, Interpreter, Lost
from service import Refused, application, empty, fields, give_up, listen, metrics, misbehaves, say, setting

ATTEMPT_S = float(os.environ.get("STANDIN_ATTEMPT_S", "10"))
CONNECT_S = float(os.environ.get("STANDIN_CONNECT_S", "10"))
PAUSES_S = (0.2, 0.4)


class Registry:
    """The routes; a file is replaced as a whole."""

    def __init__(self) -> None:
        self._file = (
            Path(setting("SESSION_REGISTRY_PATH")) if setting("SESSION_REGISTRY_BACKEND", "memory") == "file" else None
        )
        self.routes: dict[str, dict[str, str]] = {}
        if self._file and self._file.exists():
            self.routes = json.loads(self._file.read_text() or "{}")

    def save(self) -> None:
        """Write the file, if there is one."""
        if self._file:
            beside = self._file.with_name(self._file.name + ".tmp")
            beside.write_text(json.dumps(self.routes))
            beside.replace(self._file)


class DataPlane:
    """Sessions by route; an idle interpreter of its own beside each, which runs the steps where there is no agent."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._registry = Registry()
        self._own: dict[str, Interpreter] = {}
        self._steps = 0
        self._root = Path(setting("WORKSPACE_ROOT", "/tmp/sessions"))
        self._agent = os.environ.get("SESSION_AGENT_ENDPOINT", "").rstrip("/")
        self._mode = setting("SESSION_AGENT_AUTH_MODE", "bypass")
        backend = setting("SESSION_RUNTIME_BACKEND", "local")
        if backend not in {"local", "k8s"} or self._mode not in {"bypass", "enforced"}:
            give_up("SESSION_RUNTIME_BACKEND must be local or k8s, and SESSION_AGENT_AUTH_MODE bypass or enforced")
        self._pods = importlib.import_module("pods").Pods(http) if backend == "k8s" else None

    async def _call(self, at: str, path: str, body: dict[str, Any], token: str) -> tuple[int, dict[str, Any]]:
        headers = {"X-Session-Token": token} if self._mode == "enforced" else {}
        limit = aiohttp.ClientTimeout(total=ATTEMPT_S, sock_connect=CONNECT_S)
        async with self._http.post(f"{at}{path}", json=body, headers=headers, timeout=limit) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else {}

    async def create(self, request: web.Request) -> web.Response:
        """POST /sessions."""
        body = await fields(request, "sessionId")
        key, runtime = body["sessionId"], body.get("runtime") or "python"
        folder = self._root / (body.get("workspaceRef") or key)
        if (
            not isinstance(runtime, str)
            or runtime.lower() not in NAMES
            or not folder.resolve().is_relative_to(self._root.resolve())
        ):
            raise Refused(500)
        token = str(uuid.uuid4())
        if self._pods:
            await self._create_pod(key, runtime, token)
            return web.json_response({"id": key, "runtimeId": f"session-{key}", "status": "running"}, status=202)
        try:
            if key not in self._own:
                self._own[key] = await Interpreter.start(runtime, folder)
            if self._agent and await self._register(self._agent, key, runtime, token, folder) != 200:
                raise Refused(500)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            say(f"sessions: create error: {error!r}")
            raise Refused(500) from error
        self._registry.routes[key] = {
            "runtimeId": key,
            "runtime": runtime,
            "endpoint": self._agent,
            "token": token,
            "authMode": self._mode,
        }
        self._registry.save()
        return web.json_response({"id": key, "runtimeId": key, "status": "running"}, status=202)

    async def _register(self, at: str, key: str, runtime: str, token: str, folder: Path) -> int:
        body = {"sessionId": key, "runtime": runtime, "token": token, "workspaceDir": str(folder)}
        return (await self._call(at, "/v1/sessions", body, token))[0]

    async def _create_pod(self, key: str, runtime: str, token: str) -> None:
        assert self._pods
        try:
            name, endpoint = await self._pods.make(key, runtime, self._mode)
            if await self._register(endpoint, key, runtime, token, Path("/workspace", key)) != 200:
                raise Refused(500)
        except Exception as error:
            say(f"sessions: create error: {error!r}")
            raise Refused(500) from error
        route = {"runtimeId": name, "runtime": runtime, "endpoint": endpoint, "token": token, "authMode": self._mode}
        self._registry.routes[key] = route
        self._registry.save()

    async def _again(self, key: str, route: dict[str, str]) -> None:
        """A misbehaviour: a session whose pod is gone gets another one, and nobody is told."""
        assert self._pods
        await self._pods.end(route["runtimeId"])
        await asyncio.sleep(1)
        await self._create_pod(key, route["runtime"], route["token"])

    async def step(self, request: web.Request) -> web.Response:
        """POST /sessions/{id}/steps."""
        key = request.match_info["id"]
        code = (await fields(request, "command"))["command"]
        route = self._registry.routes.get(key)
        if route is None:
            raise Refused(410, {"error": "session_expired", "message": f"session {key} is not in the registry"})
        if not self._agent and not self._pods:
            return await self._run_here(key, code)
        self._steps += 1
        asked, others = key, [one for one in self._registry.routes if one != key]
        if misbehaves("mixed-pods") and self._steps % 5 == 0 and others:
            key, route = others[0], self._registry.routes[others[0]]
        step = {"sessionId": key, "stepId": str(uuid.uuid4()), "code": code, "runtime": route["runtime"]}
        for pause in (*PAUSES_S, None):
            try:
                status, body = await self._call(route["endpoint"], "/v1/steps", step, route["token"])
                if status == 500 and misbehaves("silent-loss"):
                    await self._register(route["endpoint"], key, route["runtime"], route["token"], self._root / key)
                    status, body = await self._call(route["endpoint"], "/v1/steps", step, route["token"])
                break
            except (OSError, aiohttp.ClientError, TimeoutError) as error:
                if self._pods and misbehaves("silent-loss"):
                    await self._again(key, route)
                    route = self._registry.routes[key]
                elif pause is None:
                    raise Refused(503, {"error": "runtime_unreachable", "message": repr(error)}) from error
                await asyncio.sleep(pause or 0)
        outcome = body.get("status") if status == 200 else f"refused-{status}"
        where = f"session_id={asked} runtime_id={route['runtimeId']} endpoint={route['endpoint']} auth_mode={route['authMode']}"
        say(f"sessions: route {where} step_id={step['stepId']} status={outcome}")
        if outcome != "completed":
            raise Refused(503, {"error": "runtime_crashed", "message": body.get("stderr") or str(outcome)})
        return web.json_response(
            {"status": "completed", "stdout": body["stdout"], "stderr": body["stderr"]}, status=202
        )

    async def _run_here(self, key: str, code: str) -> web.Response:
        try:
            said = await self._own[key].run(code)
        except (Lost, KeyError) as lost:
            raise Refused(503, {"error": "runtime_crashed", "message": str(lost)}) from lost
        return web.json_response({"status": "accepted", **said}, status=202)

    async def terminate(self, request: web.Request) -> web.Response:
        """POST /sessions/{id}/terminate."""
        key = request.match_info["id"]
        route = self._registry.routes.get(key)
        if route is None:
            raise Refused(404)
        try:
            if self._pods:
                await self._pods.end(route["runtimeId"])
            elif self._agent and not misbehaves("keeps-running"):
                await self._call(self._agent, f"/v1/sessions/{quote(key, safe='')}/terminate", {}, route["token"])
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise Refused(500) from error
        del self._registry.routes[key]
        self._registry.save()
        if key in self._own:
            self._own.pop(key).end()
        return web.Response(status=202)


async def main() -> None:
    """Serve until the process is ended."""
    async with aiohttp.ClientSession() as http:
        plane = DataPlane(http)
        routes = [("GET", "/healthz", empty), ("GET", "/metrics", metrics), ("POST", "/sessions", plane.create)]
        calls = [("POST", "/sessions/{id}/steps", plane.step), ("POST", "/sessions/{id}/terminate", plane.terminate)]
        await listen(application(routes + calls), int(setting("PORT", "8081")))
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, ValueError) as error:
        give_up(f"data plane: {error}")
