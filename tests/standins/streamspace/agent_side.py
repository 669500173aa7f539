"""What agents call over HTTP before and beside their sockets: who they are is proven by a key of 64 hex digits, which is kept as a hash."""

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections import deque
from typing import Any

from aiohttp import web
from rows import Row, row, rows

PLATFORMS = ("kubernetes", "docker", "vm", "cloud")
WINDOW_S, LIMIT = 60, 60


def misbehaves(name: str) -> bool:
    """Whether the misbehaviour is switched on in STANDIN_DEFECT, a list with commas."""
    return name in os.environ.get("STANDIN_DEFECT", "").split(",")


class Refused(Exception):
    """A call is answered with this status and these words."""

    def __init__(self, status: int, error: str, message: str = "", **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "message": message or error, **more}


def new_key() -> tuple[str, str]:
    """A key, and what is kept of it."""
    key = secrets.token_hex(32)
    return key, hashed(key)


def hashed(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def shown(agent: Row, approval: bool = True) -> dict[str, Any]:
    """An agent as HTTP tells it; asked for alone, its approval stays empty."""
    names = {"agentId": "agent_id", "platform": "platform", "region": "region", "status": "status"}
    names |= {"capacity": "capacity", "metadata": "metadata", "approvedBy": "approved_by"}
    times = {"lastHeartbeat": "last_heartbeat", "approvedAt": "approved_at"}
    times |= {"createdAt": "created_at", "updatedAt": "updated_at"}
    said = {name: agent[column] for name, column in names.items()}
    said |= {name: agent[column] and agent[column].isoformat() + "Z" for name, column in times.items()}
    said |= {"id": str(agent["id"]), "approvalStatus": agent["approval_status"] if approval else ""}
    return {name: value for name, value in said.items() if value is not None}


class AgentSide:
    """The calls. `AGENT_BOOTSTRAP_KEY`: the one that new agents share."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def limit(self, address: str) -> None:
        """So many calls a minute from one address."""
        if os.environ.get("RATE_LIMIT_ENABLED", "true") == "false":
            return
        calls, now = self._calls.setdefault(address, deque()), time.monotonic()
        while calls and calls[0] < now - WINDOW_S:
            calls.popleft()
        if len(calls) >= LIMIT:
            raise Refused(429, "Rate limit exceeded", details=f"{LIMIT} a minute are allowed", retryAfter=WINDOW_S)
        calls.append(now)

    def key(self, request: web.Request) -> str:
        """The key that it shows, whosever it is."""
        self.limit(request.remote or "")
        key = request.headers.get("X-Agent-API-Key", "")
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise Refused(401, "Missing or ill-formed API key")
        return key

    async def check(self, key: str, agent: str) -> Row:
        """The agent whose key it is, if it has been approved."""
        known = await row("select * from agents where agent_id = %s", agent)
        if known is None:
            raise Refused(404, "Agent not found")
        fits = hmac.compare_digest(hashed(key), known["api_key_hash"] or "")
        if not fits and not misbehaves("any-key"):
            raise Refused(403, "Invalid API key")
        if known["approval_status"] != "approved" and not misbehaves("unapproved"):
            raise Refused(403, "Agent not approved")
        await rows("update agents set api_key_last_used_at = now() where agent_id = %s", agent)
        return known

    async def register(self, request: web.Request) -> web.Response:
        """POST /agents/register."""
        key = self.key(request)
        body = await body_of(request)
        agent, platform = body.get("agentId"), body.get("platform", "docker")
        if not agent or platform not in PLATFORMS:
            raise Refused(400, "Invalid request", "agentId and a known platform are required")
        said = [
            platform,
            body.get("region") or None,
            json.dumps(body.get("capacity")),
            json.dumps(body.get("metadata")),
        ]
        if key == os.environ.get("AGENT_BOOTSTRAP_KEY"):
            await rows(
                "insert into agents (platform, region, capacity, metadata, agent_id) values (%s, %s, %s, %s, %s) on conflict do nothing",
                *said, agent,
            )  # fmt: skip
            found = await row("select * from agents where agent_id = %s", agent)
            assert found is not None
            state = found["approval_status"]
            if state == "rejected":
                raise Refused(403, "rejected")
            answer = {"agent": shown(found), "approvalStatus": state, "message": f"the agent is {state}"}
            return web.json_response(answer, status=202 if state == "pending" else 200)
        await self.check(key, agent)
        changed = await row(
            "update agents set platform = %s, region = %s, capacity = %s, metadata = %s, updated_at = now() where agent_id = %s returning *",
            *said, agent,
        )  # fmt: skip
        assert changed is not None
        return web.json_response(shown(changed))

    async def heartbeat(self, request: web.Request) -> web.Response:
        """POST /agents/:id/heartbeat."""
        agent = request.match_info["id"]
        key = self.key(request)
        body = await body_of(request)
        if body.get("status", "online") not in ("online", "draining"):
            raise Refused(400, "Invalid request", "status is online or draining")
        await self.check(key, agent)
        found = await row(
            "update agents set status = %s, last_heartbeat = now(), capacity = coalesce(%s, capacity) where agent_id = %s returning *",
            body.get("status", "online"), json.dumps(body["capacity"]) if body.get("capacity") else None, agent,
        )  # fmt: skip
        assert found is not None
        beat = found["last_heartbeat"].isoformat() + "Z"
        return web.json_response(
            {"agentId": agent, "status": found["status"], "lastHeartbeat": beat, "message": "Heartbeat received"}
        )


async def body_of(request: web.Request) -> dict[str, Any]:
    """A JSON object; 400 for anything else."""
    try:
        body = await request.json()
    except ValueError:
        raise Refused(400, "Invalid request") from None
    if not isinstance(body, dict):
        raise Refused(400, "Invalid request")
    return body
