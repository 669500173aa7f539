"""Defects in who counts as online, and in what is done when an agent goes or comes."""

import asyncio
from datetime import datetime
from typing import ClassVar

from psycopg.types.json import Jsonb

from chaosreprise.lab.database import Connection, Database, StoreAway
from chaosreprise.lab.requests import Heartbeat
from chaosreprise.lab.roster import Roster
from chaosreprise.lab.store import now

CONFIRMED_AFTER_S = 0.4
_TAKE = """
update sessions s set command_seq = s.command_seq + 1, updated_at = %(now)s
from (select agent_id from agents where status = 'online' and agent_id <> %(agent)s order by agent_id limit 1) other
where s.agent_id = %(agent)s and s.state = 'running'
returning s.id, s.namespace, s.command_seq, other.agent_id as agent"""
_WAKE = """
insert into agent_commands (command_id, agent_id, session_id, action, payload, created_at, updated_at)
values ('cmd-' || substr(md5(random()::text), 1, 8), %s, %s, 'wake_session', %s, %s, %s)"""


class OnlineForEver(Roster):
    """Who has been online once stays so: neither a closed socket nor silence counts."""

    async def offline(self, agent: str) -> None:
        del agent

    async def stale_offline(self) -> list[str]:
        return []


class Remembers(Roster):
    """Who is away, for other parts of this process that act on it (`steps`)."""

    away: ClassVar[set[str]] = set()

    async def offline(self, agent: str) -> None:
        await super().offline(agent)
        self.away.add(agent)

    async def heard(self, agent: str, heartbeat: Heartbeat) -> datetime:
        self.away.discard(agent)
        return await super().heard(agent, heartbeat)


class TakesOver(Roster):
    """The running sessions of an agent that goes away are brought up by another one, and nobody ends the first ones."""

    async def offline(self, agent: str) -> None:
        await super().offline(agent)

        async def work(connection: Connection) -> None:
            at = now()
            taken = await (await connection.execute(_TAKE, {"agent": agent, "now": at})).fetchall()
            for session in taken:
                told = {"sessionId": session["id"], "namespace": session["namespace"], "seq": session["command_seq"]}
                await connection.execute(_WAKE, (session["agent"], session["id"], Jsonb(told), at, at))

        await self._database.run(work)


class ConfirmsAgain(Roster):
    """The running sessions of an agent that comes back are put back to starting until they are confirmed."""

    def __init__(self, database: Database, fresh_s: float) -> None:
        super().__init__(database, fresh_s)
        self._away: set[str] = set()
        self._confirming: set[asyncio.Task[None]] = set()

    async def offline(self, agent: str) -> None:
        await super().offline(agent)
        self._away.add(agent)

    async def heard(self, agent: str, heartbeat: Heartbeat) -> datetime:
        if agent in self._away:
            self._away.discard(agent)
            rows = await self._database.all(
                "update sessions set state = 'starting', updated_at = %s where agent_id = %s and state = 'running' returning id",
                (now(), agent),
            )
            task = asyncio.create_task(self._confirm([row["id"] for row in rows]))
            self._confirming.add(task)
            task.add_done_callback(self._confirming.discard)
        return await super().heard(agent, heartbeat)

    async def _confirm(self, sessions: list[str]) -> None:
        await asyncio.sleep(CONFIRMED_AFTER_S)
        try:
            await self._database.do(
                "update sessions set state = 'running', updated_at = %s where id = any(%s) and state = 'starting'",
                (now(), sessions),
            )
        except StoreAway:
            return
