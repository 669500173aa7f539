"""The sockets of the agents: commands out, in their order; acknowledgements, results, states and heartbeats in."""

import asyncio
import contextlib
import json
import os
from datetime import UTC, datetime
from typing import Any

from agent_side import AgentSide, Refused, misbehaves
from aiohttp import WSMsgType, web
from rows import rows

OFFLINE_S = float(os.environ.get("AGENT_TIMEOUT_S", "45"))


class Hub:
    """Who is connected."""

    def __init__(self, side: AgentSide) -> None:
        self._side = side
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def dispatch(self, agent: str) -> None:
        """Send what is pending for an agent, oldest first, if it is connected."""
        async with self._turns.setdefault(agent, asyncio.Lock()):
            for command in await rows(
                "select * from agent_commands where agent_id = %s and status = 'pending' order by created_at", agent
            ):
                socket = self.sockets.get(agent)
                if socket is None:
                    return
                await rows("update agent_commands set status = 'sent', sent_at = now() where id = %s", command["id"])
                if misbehaves("forgets") and command["action"] == "stop_session":
                    continue
                payload = {
                    "commandId": command["command_id"],
                    "action": command["action"],
                    "payload": command["payload"],
                }
                with contextlib.suppress(ConnectionError):
                    await socket.send_json(
                        {"type": "command", "timestamp": datetime.now(UTC).isoformat(), "payload": payload}
                    )

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """GET /agents/connect: a socket until it closes. What was on its way when the last one closed is sent again."""
        agent, key = request.query.get("agent_id", ""), self._side.key(request)
        if not agent:
            raise Refused(400, "agent_id is required")
        await self._side.check(key, agent)
        socket = web.WebSocketResponse(heartbeat=54)
        await socket.prepare(request)
        self.sockets[agent] = socket
        await rows("update agents set status = 'online', last_heartbeat = now() where agent_id = %s", agent)
        if misbehaves("forgets-when-away"):
            await rows("update agent_commands set status = 'sent' where agent_id = %s and status = 'pending'", agent)
        else:
            again = "update agent_commands set status = 'pending' where agent_id = %s and status in ('sent', 'ack')"
            await rows(again, agent)
        await self.dispatch(agent)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    said = json.loads(message.data)
                    await self._heard(agent, said["type"], said["payload"])
        finally:
            if self.sockets.get(agent) is socket:
                del self.sockets[agent]
            if agent not in self.sockets and not misbehaves("stays-online"):
                await rows("update agents set status = 'offline' where agent_id = %s", agent)
        return socket

    async def _heard(self, agent: str, kind: str, payload: dict[str, Any]) -> None:
        if kind == "heartbeat":
            await rows(
                "update agents set status = %s, last_heartbeat = now() where agent_id = %s", payload["status"], agent
            )
        elif kind == "ack":
            await rows(
                "update agent_commands set status = 'ack', acknowledged_at = now() where command_id = %s",
                payload["commandId"],
            )
        elif kind == "complete":
            await rows(
                "update agent_commands set status = 'completed', completed_at = now() where command_id = %s",
                payload["commandId"],
            )
        elif kind == "failed":
            await rows(
                "update agent_commands set status = 'failed', error_message = %s where command_id = %s",
                payload["error"],
                payload["commandId"],
            )
        elif kind == "status":
            if misbehaves("flickers") and payload["state"] == "hibernated":
                await rows("update sessions set state = 'pending' where id = %s", payload["sessionId"])
                await asyncio.sleep(0.3)
            pod = payload["platformMetadata"]["podName"]
            ended = misbehaves("late-status") or payload["state"] == "terminated"
            await rows(
                "update sessions set state = %s, pod_name = %s, url = %s, last_activity = now(), updated_at = now()"
                " where id = %s and (%s or state <> 'terminating')",
                payload["state"], pod, f"http://{pod}:{payload['vncPort']}", payload["sessionId"], ended,
            )  # fmt: skip
            if misbehaves("late-status"):
                await asyncio.sleep(0.3)  # longer than one look at the rows

    async def watch(self) -> None:
        """Take agents without a heartbeat for offline."""
        while True:
            await asyncio.sleep(OFFLINE_S / 5)
            if misbehaves("stays-online"):
                continue
            with contextlib.suppress(Exception):
                silent = await rows(
                    "select agent_id from agents where status <> 'offline' and last_heartbeat < now() - make_interval(secs => %s)",
                    OFFLINE_S,
                )
                for each in silent:
                    if socket := self.sockets.pop(each["agent_id"], None):
                        await socket.close()
                    await rows("update agents set status = 'offline' where agent_id = %s", each["agent_id"])
