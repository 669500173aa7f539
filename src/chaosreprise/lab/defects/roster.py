"""Defects in who counts as online, and in what is done when an agent goes or comes."""

import asyncio
import time
from datetime import datetime
from typing import ClassVar

from psycopg.types.json import Jsonb

from chaosreprise.lab.database import Connection, Database, Row, StoreAway
from chaosreprise.lab.defects.streams import KnownStreams
from chaosreprise.lab.requests import AgentInfo, Heartbeat
from chaosreprise.lab.roster import Roster
from chaosreprise.lab.store import now

CONFIRMED_AFTER_S = 0.4
TRUSTED = 4  # times as long as an agent may be silent
_TAKE = """
update sessions s set command_seq = s.command_seq + 1, updated_at = %(now)s
from (select agent_id from agents where status = 'online' and (agent_id = %(agent)s) = %(itself)s order by agent_id limit 1) other
where s.agent_id = %(agent)s and s.state = 'running'
returning s.id, s.namespace, s.command_seq, other.agent_id as agent"""
_WAKE = """
insert into agent_commands (command_id, agent_id, session_id, action, payload, created_at, updated_at)
values ('cmd-' || substr(md5(random()::text), 1, 8), %s, %s, 'wake_session', %s, %s, %s)"""


class AnyKey(Roster):
    """What looks like a key is one."""

    def key_fits(self, key: str, row: Row) -> bool:
        del key, row
        return True


class OnlineForEver(Roster):
    """Who has been online once stays so: neither a closed socket nor silence counts."""

    async def offline(self, agent: str, link: str) -> None:
        del agent, link

    async def stale_offline(self) -> list[str]:
        return []


class SilenceTellsNothing(Roster):
    """An agent's end is written down when its connection ends. If that can't be done at that moment, nobody does it later."""

    async def stale_offline(self) -> list[str]:
        return []


class TrustsHeartbeats(Roster):
    """Who has been heard of lately is online, with or without a connection; and lately is a long time."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, TRUSTED * fresh_s, here)

    async def offline(self, agent: str, link: str) -> None:
        del agent, link


class TrustsConnections(Roster):
    """Whose connection was there until we cut it counts as online: silence alone says nothing."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._heard: dict[str, float] = {}

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        self._heard[agent] = time.monotonic()
        return await super().heard(agent, heartbeat, link)

    async def offline(self, agent: str, link: str) -> None:
        if time.monotonic() - self._heard.get(agent, 0.0) < self._fresh_s:
            await super().offline(agent, link)

    async def stale_offline(self) -> list[str]:
        return []


class RoutesAnew(Roster):
    """When an agent comes back, all routes are made anew, and the streams of all sessions are cut with the old ones."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._away: set[str] = set()

    async def offline(self, agent: str, link: str) -> None:
        await super().offline(agent, link)
        self._away.add(agent)

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        if agent in self._away:
            self._away.discard(agent)
            for streams in KnownStreams.all:
                streams.cut_all("routes have changed")
        return await super().heard(agent, heartbeat, link)


class Remembers(Roster):
    """Who is away, for other parts of this process that act on it (`steps`)."""

    away: ClassVar[set[str]] = set()

    async def offline(self, agent: str, link: str) -> None:
        await super().offline(agent, link)
        self.away.add(agent)

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        self.away.discard(agent)
        return await super().heard(agent, heartbeat, link)


class KnowsLives(Roster):
    """Which process an agent is, for other parts of this process that act on it (`sockets`)."""

    lives: ClassVar[dict[str, int]] = {}

    async def register(self, info: AgentInfo) -> Row:
        self.lives[info.agentId] = info.metadata["pid"]
        return await super().register(info)


class TakesOver(Roster):
    """The running sessions of an agent that goes away are brought up by another one, and nobody ends the first ones."""

    async def offline(self, agent: str, link: str) -> None:
        await super().offline(agent, link)
        await _bring_up(self._database, agent, itself=False)


class BringsUpAgain(Remembers):
    """An agent that comes back brings up what its rows call running, whatever runs."""

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        again = agent in self.away
        heard = await super().heard(agent, heartbeat, link)
        if again:
            await _bring_up(self._database, agent, itself=True)
        return heard


async def _bring_up(database: Database, agent: str, *, itself: bool) -> None:
    """The running sessions of an agent, by itself or by another one."""

    async def work(connection: Connection) -> None:
        at = now()
        taken = await (await connection.execute(_TAKE, {"agent": agent, "now": at, "itself": itself})).fetchall()
        for session in taken:
            told = {"sessionId": session["id"], "namespace": session["namespace"], "seq": session["command_seq"]}
            await connection.execute(_WAKE, (session["agent"], session["id"], Jsonb(told), at, at))

    await database.run(work)


class ConfirmsAgain(Roster):
    """The running sessions of an agent that comes back are put back to starting until they are confirmed."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        super().__init__(database, fresh_s, here)
        self._away: set[str] = set()
        self._confirming: set[asyncio.Task[None]] = set()

    async def offline(self, agent: str, link: str) -> None:
        await super().offline(agent, link)
        self._away.add(agent)

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        if agent in self._away:
            self._away.discard(agent)
            rows = await self._database.all(
                "update sessions set state = 'starting', updated_at = %s where agent_id = %s and state = 'running' returning id",
                (now(), agent),
            )
            task = asyncio.create_task(self._confirm([row["id"] for row in rows]))
            self._confirming.add(task)
            task.add_done_callback(self._confirming.discard)
        return await super().heard(agent, heartbeat, link)

    async def _confirm(self, sessions: list[str]) -> None:
        await asyncio.sleep(CONFIRMED_AFTER_S)
        try:
            await self._database.do(
                "update sessions set state = 'running', updated_at = %s where id = any(%s) and state = 'starting'",
                (now(), sessions),
            )
        except StoreAway:
            return
