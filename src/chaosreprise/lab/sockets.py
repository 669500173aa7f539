"""The agents' WebSockets: who is connected, what is sent to whom, what they say.

The newest connection of an agent is the agent, also where that is at another control plane; an older one is cut, and its end
says nothing about the agent. A closed socket is an agent offline at once, a silent one after MISSED_HEARTBEATS. A message that
could not be written down cuts the connection: the agent comes back, and what is not finished is delivered again, so nothing is
lost in between. A seam for planted defects.
"""

import asyncio
import contextlib
import secrets
import time
from typing import Any, Literal

import msgspec
from aiohttp import ClientConnectionResetError, WSMsgType, web

from chaosreprise.lab.database import StoreAway
from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.frames import Frames, envelope
from chaosreprise.lab.log import LabLog
from chaosreprise.lab.others import Others
from chaosreprise.lab.outbox import Outbox
from chaosreprise.lab.requests import Heartbeat
from chaosreprise.lab.roster import Roster, Superseded
from chaosreprise.lab.store import Command

RETRY_S = 0.1
PONG_S = 6.0  # how late the answer to a ping may be; a real one waits as long


class Payload(msgspec.Struct):
    """The fields of all messages of an agent; which are set follows from the type."""

    commandId: str = ""  # noqa: N815 - the names on the wire
    sessionId: str = ""  # noqa: N815
    state: Literal["", "running", "hibernated", "terminated"] = ""
    error: str = ""
    status: Literal["online", "draining"] = "online"
    capacity: dict[str, Any] = {}
    platformMetadata: dict[str, Any] = {}  # noqa: N815


class Message(msgspec.Struct):
    type: Literal["heartbeat", "ack", "complete", "failed", "status"]
    payload: Payload


class Link:
    """One connection of an agent; `id` is no other's."""

    def __init__(self, agent: str, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.agent = agent
        self.id = secrets.token_hex(8)
        self.socket = socket
        self.heard = self.answered = time.monotonic()
        self.news = asyncio.Event()
        self._transport = transport

    def cut(self) -> None:
        """End it now: a peer that is frozen would not answer a closing handshake."""
        self._transport.abort()


class Switchboard:
    def __init__(
        self,
        outbox: Outbox,
        roster: Roster,
        delivery: Delivery,
        frames: Frames,
        others: Others,
        log: LabLog,
        offline_s: float,
        ping_s: float,
    ) -> None:
        self._outbox, self._roster, self._delivery, self._frames, self._log = outbox, roster, delivery, frames, log
        self._others = others
        self._offline_s, self._ping_s = offline_s, ping_s
        self._links: dict[str, Link] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.ready = asyncio.Event()

    def connected(self) -> list[str]:
        return list(self._links)

    async def accepted(self, command: Command) -> None:
        """A command is stored: tell its agent."""
        link = self._links.get(command.agent)
        if link is not None:
            link.news.set()
        elif not await self._others.told(command.agent):
            await self._delivery.while_away(command)

    def news(self, agent: str | None) -> None:
        """Another control plane has accepted something for this agent, or for whoever."""
        for link in self._links.values():
            if agent in (None, link.agent):
                link.news.set()

    async def serve(self, link: Link) -> None:
        """A connection from its beginning to its end."""
        older = self._links.get(link.agent)
        self._links[link.agent] = link
        if older is not None:
            older.cut()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with self._lock(link.agent):
                await self._roster.claim(link.agent, link.id)
                await self._roster.heard(link.agent, Heartbeat(), link.id)
            self._log.write("agent-online", agent=link.agent)
            tasks += [asyncio.create_task(self._deliver(link)), asyncio.create_task(self._ping(link))]
            for task in tasks:
                task.add_done_callback(lambda _: link.cut())  # an agent that nothing is sent to must not look connected
            await self._listen(link)
        except (StoreAway, Superseded, msgspec.DecodeError) as error:
            self._log.write("link-cut", agent=link.agent, why=str(error))
        finally:
            link.cut()
            for task in tasks:
                task.cancel()
            await self._left(link)

    async def start(self, reconcile_s: float) -> None:
        """Wait for the database, then look after the agents for ever."""
        while not self.ready.is_set():
            try:
                await self._roster.all_offline()
                self.ready.set()
            except StoreAway:
                await asyncio.sleep(RETRY_S)
        while True:
            await asyncio.sleep(reconcile_s)
            for link in list(self._links.values()):
                link.news.set()  # a command may have been stored although its caller got an error, or by another one
                if time.monotonic() - link.heard > self._offline_s:
                    link.cut()
            with contextlib.suppress(StoreAway):
                for agent in await self._roster.stale_offline():
                    self._log.write("agent-offline", agent=agent, why="silent")

    def cut_all(self) -> None:
        for link in list(self._links.values()):
            link.cut()

    async def _left(self, link: Link) -> None:
        if self._links.get(link.agent) is not link:
            return  # a newer connection took over
        del self._links[link.agent]
        self._log.write("agent-offline", agent=link.agent, why="socket closed")
        with contextlib.suppress(StoreAway):  # then its silence will tell
            async with self._lock(link.agent):
                if link.agent not in self._links:
                    await self._roster.offline(link.agent, link.id)

    async def _deliver(self, link: Link) -> None:
        look = self._delivery.on_connect
        while True:
            link.news.clear()
            try:
                await self._send(link, await look(link.agent))
            except Superseded:
                await self._others.told(link.agent)  # what this one was told is its business
                return
            except (StoreAway, ClientConnectionResetError):
                return  # what may be marked as sent and has not left is delivered to the next connection
            look = self._delivery.afterwards
            await link.news.wait()

    async def _send(self, link: Link, commands: list[Command]) -> None:
        """Marked as sent first: the other way round an acknowledgement could come before the mark."""
        if not commands:
            return
        if not await self._outbox.sent(commands, link.id):
            raise Superseded(f"agent {link.agent} has a newer connection")
        messages = (
            envelope("command", {"commandId": command.id, "action": command.action, "payload": command.payload})
            for command in commands
        )
        for frame in self._frames.pack(messages):
            await link.socket.send_str(frame)
        for command in commands:
            self._log.write("command-sent", agent=link.agent, command=command.id)

    async def _ping(self, link: Link) -> None:
        """An agent whose messages come but who does not answer pings is cut, too: what it is sent may not arrive."""
        with contextlib.suppress(ClientConnectionResetError):
            while time.monotonic() - link.answered < self._ping_s + PONG_S:
                await link.socket.ping()
                await asyncio.sleep(self._ping_s)

    async def _listen(self, link: Link) -> None:
        async for frame in link.socket:
            if frame.type is WSMsgType.PONG:
                link.answered = time.monotonic()
                continue
            if frame.type is WSMsgType.PING:
                await link.socket.pong(frame.data)
                continue
            if frame.type is not WSMsgType.TEXT:
                return
            link.heard = time.monotonic()
            message = msgspec.json.decode(frame.data, type=Message)
            await self._take(link, message.type, message.payload)

    async def _take(self, link: Link, kind: str, said: Payload) -> None:
        agent = link.agent
        match kind:
            case "heartbeat":
                await self._roster.heard(agent, Heartbeat(status=said.status, capacity=said.capacity), link.id)
            case "ack":
                await self._outbox.acknowledged(agent, said.commandId)
            case "status" if said.state:
                await self._outbox.reported(agent, said.commandId, said.state, said.platformMetadata)
            case "complete":
                if await self._outbox.completed(agent, said.commandId):
                    self._log.write("command-completed", agent=agent, command=said.commandId)
            case "failed":
                await self._outbox.failed(agent, said.commandId, said.error)
                self._log.write("command-failed", agent=agent, command=said.commandId, why=said.error)

    def _lock(self, agent: str) -> asyncio.Lock:
        """Coming and going of one agent are written down one after the other."""
        return self._locks.setdefault(agent, asyncio.Lock())
