"""The control plane: ids of sessions and steps, rows of both, and everything else asked of the data plane."""

import asyncio
import os
import time
import uuid
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp
from aiohttp import web
from service import (
    Refused,
    application,
    empty,
    fields,
    give_up,
    listen,
    metrics,
    misbehaves,
    say,
    setting,
    shown,
    wordy,
)
from store import SESSION, STEP, Postgres, Sqlite, Unavailable

LIMIT_S = float(os.environ.get("STANDIN_LIMIT_S", "10"))


def _step_id() -> str:
    now = time.time_ns()
    return f"step-{datetime.fromtimestamp(now // 10**9, UTC):%Y%m%d%H%M%S}.{now % 10**9:09}"


class ControlPlane:
    """The two calls."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._data_plane = setting("DATA_PLANE_URL").rstrip("/")
        kind, url = setting("DATABASE_DRIVER"), setting("DATABASE_URL")
        if kind not in {"sqlite", "postgres"}:
            give_up(f"DATABASE_DRIVER must be sqlite or postgres, not {kind}")
        self._store = Sqlite(url) if kind == "sqlite" else Postgres(url)
        self._given: set[str] = set()
        self._owners: dict[str, object] = {}
        self._steps = 0
        self._before = ""

    async def _ask(self, path: str, body: dict[str, str]) -> dict[str, str]:
        limit = aiohttp.ClientTimeout(total=LIMIT_S)
        try:
            async with self._http.post(
                f"{self._data_plane}{quote(path, safe='/')}", json=body, timeout=limit
            ) as answer:
                if answer.status != 202:
                    raise Refused(500)
                said: dict[str, str] = await answer.json() if answer.content_type == "application/json" else {}
                return said
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            say(f"sessions: create error: {error!r}")
            raise Refused(500) from error

    async def create(self, request: web.Request) -> web.Response:
        """POST /sessions. An id of this second is given once."""
        body = await fields(request, "runtime")
        texts = ("tenantId", "agentId", "policyId")
        if any(not isinstance(body.get(name, ""), str) for name in texts) or not isinstance(
            body.get("ttlSeconds", 0), int
        ):
            raise Refused(400)
        if misbehaves("refuses"):
            raise Refused(500)
        now = datetime.now(UTC)
        key = f"session-{now:%Y%m%d%H%M%S}" + (f"{now:%f}" if misbehaves("fine-ids") else "")
        key = f"{uuid.uuid4()}~:+%" if misbehaves("odd-ids") else key
        if not misbehaves("shared-ids"):
            if key in self._given:
                raise Refused(500)
            self._given.add(key)
        made = await self._ask(
            "/sessions",
            {"sessionId": key, "policyId": body.get("policyId", ""), "workspaceRef": key, "runtime": body["runtime"]},
        )
        try:
            await self._store.write(SESSION, key, "active", made["runtimeId"])
        except Unavailable as error:
            if not misbehaves("shared-ids"):
                say(f"sessions: create error: {error}")
                await self._ask(f"/sessions/{key}/terminate", {})
                raise Refused(500) from error
        self._owners[key] = shown(request).get("tenant_id")
        say(f"audit event action=session_created outcome=ok tenant={body.get('tenantId', '')} actor= detail={key}")
        return web.json_response(wordy({"id": key, "status": "active"}), status=201)

    async def step(self, request: web.Request) -> web.Response:
        """POST /sessions/{id}/steps."""
        command = (await fields(request, "command"))["command"]
        session = request.match_info["id"]
        owner = self._owners.get(session)
        if owner and owner != shown(request).get("tenant_id") and not misbehaves("any-tenant"):
            raise Refused(500)
        said = await self._ask(f"/sessions/{session}/steps", {"command": command})
        key = str(uuid.uuid4()) if misbehaves("odd-ids") else _step_id()
        self._steps += 1
        try:
            before, self._before = self._before, session
            of = before if misbehaves("row-mixed") else session
            lost = misbehaves("row-lost") and self._steps % 5 == 0
            if not lost and not misbehaves("no-step-rows"):
                await self._store.write(STEP, key, of, command, "accepted")
        except Unavailable as error:
            raise Refused(500) from error
        say(f"audit event action=session_step_accepted outcome=ok tenant= actor= detail={key}")
        stdout = f"[runtime] ready\r\n{said['stdout']}\r\n" if misbehaves("wordy") else said["stdout"]
        told = {"id": key, "status": "accepted", "stdout": stdout, "stderr": said["stderr"]}
        return web.json_response(wordy(told), status=202)


async def main() -> None:
    """Serve on both ports until the process is ended."""
    async with aiohttp.ClientSession() as http:
        plane = ControlPlane(http)
        calls = [
            ("POST", f"{at}/sessions{rest}", call)
            for at in ("", "/tools")
            for rest, call in (("", plane.create), ("/{id}/steps", plane.step))
        ]
        await listen(
            application([("GET", "/healthz", empty), ("GET", "/metrics", metrics), *calls[:2]]),
            int(setting("PORT", "8080")),
        )
        await listen(application(calls[2:]), int(setting("MCP_ADDR", ":8090").rpartition(":")[2]))
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (*Unavailable, ValueError) as error:
        give_up(f"control plane: {error}")
