"""Agents as rows: who they are, whether they are online, when they were heard last. A seam for planted defects."""
# ruff: noqa: S608 - what is put together here are constants and names of this package, never input

from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from chaosreprise.lab.database import Database, Row
from chaosreprise.lab.requests import AgentInfo, Heartbeat
from chaosreprise.lab.store import now

FILTERS = ("platform", "status", "region")


class Roster:
    def __init__(self, database: Database, fresh_s: float) -> None:
        self._database = database
        self._fresh_s = fresh_s

    async def agent(self, name: str) -> Row | None:
        return await self._database.one("select * from agents where agent_id = %s", (name,))

    async def agents(self, filters: dict[str, str]) -> list[Row]:
        """Those that fit all filters."""
        wanted = " and ".join(f"(%({name})s::text is null or {name} = %({name})s)" for name in FILTERS)
        values: dict[str, Any] = dict.fromkeys(FILTERS) | filters
        return await self._database.all(f"select * from agents where {wanted} order by agent_id", values)

    async def register(self, info: AgentInfo) -> Row:
        row = await self._database.one(
            "update agents set platform = %s, region = %s, capacity = %s, metadata = %s, updated_at = %s "
            "where agent_id = %s returning *",
            (info.platform, info.region or None, Jsonb(info.capacity), Jsonb(info.metadata), now(), info.agentId),
        )
        assert row is not None
        return row

    async def heard(self, agent: str, heartbeat: Heartbeat) -> datetime:
        """The time that is written down."""
        at = now()
        await self._database.do(
            "update agents set status = %(status)s, last_heartbeat = %(at)s, updated_at = %(at)s, "
            "capacity = coalesce(%(capacity)s, capacity) where agent_id = %(agent)s",
            {
                "agent": agent,
                "status": heartbeat.status,
                "at": at,
                "capacity": Jsonb(heartbeat.capacity) if heartbeat.capacity else None,
            },
        )
        return at

    async def offline(self, agent: str) -> None:
        await self._database.do(
            "update agents set status = 'offline', updated_at = %s where agent_id = %s", (now(), agent)
        )

    async def all_offline(self) -> None:
        """At the start of the control plane nobody is connected to it."""
        await self._database.do(
            "update agents set status = 'offline', updated_at = %s where status <> 'offline'", (now(),)
        )

    async def stale_offline(self) -> list[str]:
        """Those that have been silent for too long, marked; their names."""
        at = now()
        rows = await self._database.all(
            "update agents set status = 'offline', updated_at = %s "
            "where status <> 'offline' and last_heartbeat < %s returning agent_id",
            (at, at - timedelta(seconds=self._fresh_s)),
        )
        return [row["agent_id"] for row in rows]
