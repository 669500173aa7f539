"""An agent: it works on one command at a time, in order, and tells the control plane. It may die at any moment.

It keeps nothing of its own: what has been applied stands in the slots, what is to be done comes from the control plane,
and both survive it. Every connection begins from scratch, so losing it and dying are the same case. It writes no ledger.
A seam for planted defects.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

import aiohttp
import msgspec

from chaosreprise.errors import BadInput, RepriseError, Unreachable
from chaosreprise.lab import defects
from chaosreprise.lab.doors import Doors
from chaosreprise.lab.frames import Frames
from chaosreprise.lab.hands import Hands, LoggedSlots, Slots, order_of
from chaosreprise.lab.lane import BySession, Lane
from chaosreprise.lab.log import LabLog
from chaosreprise.lab.settings import Settings, load, secret
from chaosreprise.stack.client import AsyncKeeper, read_file
from chaosreprise.stack.protocol import KEEPER_FILE

FIRST_BACKOFF_S = 0.05
CALL_LIMIT_S = 5.0
WORK_S = "REPRISE_LAB_WORK_S"
LONGEST_WORK_S = 60.0
CAPACITY = {"maxSessions": 64, "cpu": "64", "memory": "128Gi", "storage": "100Gi"}


class Saying(Protocol):
    """The part of a connection by which an agent speaks."""

    def send_str(self, data: str, /) -> Awaitable[None]: ...


class Agent:
    def __init__(self, name: str, folder: pathlib.Path, settings: Settings) -> None:
        self._name, self._folder, self._settings = name, folder, settings
        defect = defects.chosen()
        self._hands, self._frames, self._lane = defect.of(Hands), defect.of(Frames)(), self._lane_of(defect)
        self._log = LabLog(folder)
        self._work_s = work_s()
        self._serving: set[str] = set()  # sessions that this life has brought up: a figure for the heartbeat, no more

    def _lane_of(self, defect: defects.Defect) -> Lane:
        lane = defect.of(Lane)
        return BySession() if lane is Lane and self._settings.namespace else lane()

    async def run(self) -> None:
        """Stay connected for ever, to one control plane after the other; between attempts wait, longer each time, at most backoff_s."""
        headers = {"X-Agent-API-Key": secret(self._folder, f"agents/{self._name}")}
        limit = aiohttp.ClientTimeout(total=CALL_LIMIT_S)
        doors = Doors(
            self._settings.doors_of(self._name), self._settings.offline_s, self._settings.host("control-plane")
        )
        backoff = FIRST_BACKOFF_S
        async with aiohttp.ClientSession(headers=headers, timeout=limit) as http:
            while True:
                try:
                    await self._register(http, doors.here)
                    async with http.ws_connect(
                        f"{doors.here}/connect", params={"agent_id": self._name}, heartbeat=doors.silence_s
                    ) as link:
                        backoff = FIRST_BACKOFF_S
                        doors.reached()
                        await self._serve(link)
                except (aiohttp.ClientError, OSError, TimeoutError, Unreachable):
                    pass
                doors.turn()
                await asyncio.sleep(min(backoff, self._settings.backoff_s))
                backoff *= 2

    async def _register(self, http: aiohttp.ClientSession, url: str) -> None:
        info = {
            "agentId": self._name,
            "platform": self._settings.platform_of(self._name),
            "region": self._settings.region_of(self._name),
            "clusterId": self._settings.cluster_of(self._name),
            "capacity": CAPACITY,
            "metadata": {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()},
        }
        async with http.post(f"{url}/register", json=info) as answer:
            answer.raise_for_status()

    async def _serve(self, link: aiohttp.ClientWebSocketResponse) -> None:
        """One connection. Its end ends what is under way: the command comes again, and the slot knows how far it got."""
        async with self._slots() as slots:
            commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            tasks = [
                asyncio.create_task(self._listen(link, commands)),
                asyncio.create_task(self._work(link, self._hands(LoggedSlots(slots, self._log, self._name)), commands)),
                asyncio.create_task(self._beat(link)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    @contextlib.asynccontextmanager
    async def _slots(self) -> AsyncIterator[Slots]:
        """The keeper's, or in a cluster Deployments."""
        if self._settings.namespace:
            from chaosreprise.lab.deployed import Deployed  # noqa: PLC0415 - where there is no cluster, nobody pays for it

            async with await Deployed.to(self._settings.namespace) as deployed:
                yield deployed
        else:
            async with await AsyncKeeper.connect(read_file(self._folder / KEEPER_FILE).socket) as keeper:
                yield keeper

    async def _listen(self, link: aiohttp.ClientWebSocketResponse, commands: "asyncio.Queue[dict[str, Any]]") -> None:
        async for frame in link:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return
            for message in self._frames.unpack(frame.data):
                if message["type"] == "command":
                    commands.put_nowait(message["payload"])

    async def _beat(self, link: Saying) -> None:
        while True:
            beat = {"status": "online", "activeSessions": len(self._serving), "capacity": CAPACITY}
            await say(link, "heartbeat", beat)
            await asyncio.sleep(self._settings.heartbeat_s)

    async def _work(self, link: Saying, hands: Hands, commands: "asyncio.Queue[dict[str, Any]]") -> None:
        await self._lane.work(commands, lambda command: self._do(link, hands, command))

    async def _acknowledge(self, link: Saying, command: dict[str, Any]) -> None:
        await say(link, "ack", {"commandId": command["commandId"]})

    async def _do(self, link: Saying, hands: Hands, command: dict[str, Any]) -> None:
        number, payload = command["commandId"], command["payload"]
        await self._acknowledge(link, command)
        await asyncio.sleep(self._work_s)
        try:
            order = order_of(command["action"], payload)
            done = await hands.do(order)
        except Unreachable:
            raise  # the keeper is gone, and with it this agent: nothing is known about the command
        except RepriseError as error:
            await say(link, "failed", {"commandId": number, "error": str(error)})
            return
        (self._serving.add if done.state == "running" else self._serving.discard)(order.session)
        report = {
            "commandId": number,
            "sessionId": order.session,
            "state": done.state,
            "platformMetadata": done.pod,
        }
        await say(link, "status", report)
        await say(link, "complete", {"commandId": number, "result": {"state": done.state}})


def work_s() -> float:
    """How long this agent has a command in its hands before it acts, as $REPRISE_LAB_WORK_S says; else no longer than it must."""
    told = os.environ.get(WORK_S, "0")
    with contextlib.suppress(ValueError):
        if 0 <= (found := float(told)) <= LONGEST_WORK_S:
            return found
    raise BadInput(f"{WORK_S} = {told!r}: expected seconds from 0 to {LONGEST_WORK_S:g}")


def main(name: str, folder: pathlib.Path) -> None:
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_run(defects.chosen().of(Agent)(name, folder, load(folder))))


async def _run(agent: Agent) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await agent.run()


async def say(link: Saying, kind: str, payload: dict[str, Any]) -> None:
    await link.send_str(msgspec.json.encode({"type": kind, "payload": payload}).decode())
