"""An agent: takes commands over a WebSocket, works on one at a time, and keeps its objects as files, which no tester knows of.

AGENT_ID, CONTROL_PLANE_URL (ws://...), AGENT_API_KEY, HEALTH_CHECK_INTERVAL (s), OBJECTS (a folder), WORK_S. With CLUSTER its objects
are those of a cluster (`deployments`).
"""

import asyncio
import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from deployments import Deployments

STATES = {
    "start_session": "running",
    "stop_session": "terminated",
    "hibernate_session": "hibernated",
    "wake_session": "running",
}


def lacking(command: dict[str, Any]) -> str:
    """What keeps a command from being begun."""
    payload = command["payload"]
    if not payload.get("sessionId"):
        return "no sessionId"
    spec = (payload.get("templateManifest") or {}).get("spec") or {}
    return "no spec.baseImage" if command["action"] == "start_session" and not spec.get("baseImage") else ""


class Agent:
    """One life of the agent: what it made outlives it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, cluster: "Deployments | None") -> None:
        self._socket, self._cluster = socket, cluster
        self._objects = Path(os.environ["OBJECTS"])
        self._objects.mkdir(parents=True, exist_ok=True)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def _say(self, kind: str, **payload: Any) -> None:
        await self._socket.send_json({"type": kind, "timestamp": datetime.now(UTC).isoformat(), "payload": payload})

    async def _heartbeats(self) -> None:
        while True:
            await self._say(
                "heartbeat",
                status="online",
                activeSessions=len(list(self._objects.iterdir())),
                capacity={"maxSessions": 100},
            )
            await asyncio.sleep(float(os.environ.get("HEALTH_CHECK_INTERVAL", "30")))

    async def _work(self) -> None:
        while True:
            command = await self._queue.get()
            name, action = command["payload"].get("sessionId"), command["action"]
            await asyncio.sleep(float(os.environ.get("WORK_S", "0.02")))
            if why := lacking(command):
                await self._say("failed", commandId=command["commandId"], error=why)
                continue
            if self._cluster is not None:
                await self._in_cluster(self._cluster, command)
                continue
            path = self._objects / name
            if action in {"hibernate_session", "wake_session"} and not path.exists():
                await self._say("failed", commandId=command["commandId"], error=f"no object {name}")
                continue
            if action == "stop_session":
                path.unlink(missing_ok=True)
            else:
                path.write_text(json.dumps({"replicas": int(action != "hibernate_session")}))
            await self._done(command, f"{name}-0")

    async def _in_cluster(self, cluster: "Deployments", command: dict[str, Any]) -> None:
        try:
            pod = await cluster.act(command["action"], command["payload"])
        except Exception as error:  # noqa: BLE001 - whatever it was, it is reported
            await self._say("failed", commandId=command["commandId"], error=str(error)[:200])
        else:
            await self._done(command, pod)

    async def _done(self, command: dict[str, Any], pod: str) -> None:
        name, state = command["payload"]["sessionId"], STATES[command["action"]]
        where = {"podName": pod, "podIP": "10.0.0.1"}
        await self._say("status", sessionId=name, state=state, vncReady=True, vncPort=5900, platformMetadata=where)
        await self._say("complete", commandId=command["commandId"], result={})

    async def run(self) -> None:
        """Until the socket closes."""
        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(self._heartbeats()), tasks.create_task(self._work())]
            async for message in self._socket:
                said = json.loads(message.data)
                if said["type"] == "command":
                    await self._say("ack", commandId=said["payload"]["commandId"])
                    self._queue.put_nowait(said["payload"])
            for job in jobs:
                job.cancel()


def _cluster() -> "Deployments | None":
    if "CLUSTER" not in os.environ:
        return None
    from deployments import Deployments  # noqa: PLC0415 - takes a while

    mark = Path(f"{os.environ['OBJECTS']}.lived")
    again = mark.exists()
    mark.touch()
    return Deployments(again)


def _beats_only() -> bool:
    """Misbehaviour of one: it says over HTTP that it is there, from the start on or once it has died, and never connects."""
    mark, on = Path(f"{os.environ['OBJECTS']}.beats"), os.environ.get("STANDIN_DEFECT", "").split(",")
    again = mark.exists()
    mark.touch()
    return (os.environ["AGENT_ID"] == "west-1" and "beats" in on) or (again and "beats-again" in on)


async def main() -> None:
    """Connect, again and again."""
    cluster = _cluster()
    url = f"{os.environ['CONTROL_PLANE_URL']}/api/v1/agents/connect?agent_id={os.environ['AGENT_ID']}"
    headers = {"X-Agent-API-Key": os.environ["AGENT_API_KEY"]}
    async with aiohttp.ClientSession() as http:
        while _beats_only():
            with contextlib.suppress(OSError, aiohttp.ClientError):
                at = url.replace("ws://", "http://").replace("connect?agent_id=", "") + "/heartbeat"
                await (await http.post(at, json={"status": "online"}, headers=headers)).read()
            await asyncio.sleep(2.0)  # its calls are limited
        while True:
            with contextlib.suppress(OSError, aiohttp.ClientError, ExceptionGroup):
                async with http.ws_connect(url, headers=headers) as socket:
                    await Agent(socket, cluster).run()
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
