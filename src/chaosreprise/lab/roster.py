"""Agents as rows: who they are, who let them in, whether they are online, when they were heard last, and who has them.

An agent is where its newest connection is, at whichever control plane: `claim` says so, and what an older connection says
of it afterwards does not count. A seam for planted defects.
"""
# ruff: noqa: S608 - what is put together here are constants and names of this package, never input

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from chaosreprise.lab import auth
from chaosreprise.lab.database import Database, Row
from chaosreprise.lab.refusals import Refused, agent_not_found
from chaosreprise.lab.requests import AgentInfo, Heartbeat
from chaosreprise.lab.store import now

FILTERS = ("platform", "status", "region")


class Superseded(Exception):
    """The agent has a newer connection than this one, perhaps at another control plane."""


class Roster:
    """`here`: the name of this control plane."""

    def __init__(self, database: Database, fresh_s: float, here: str) -> None:
        self._database = database
        self._fresh_s = fresh_s
        self._here = here

    async def agent(self, name: str) -> Row | None:
        return await self._database.one("select * from agents where agent_id = %s", (name,))

    async def agents(self, filters: dict[str, str]) -> list[Row]:
        """Those that fit all filters."""
        wanted = " and ".join(f"(%({name})s::text is null or {name} = %({name})s)" for name in FILTERS)
        values: dict[str, Any] = dict.fromkeys(FILTERS) | filters
        return await self._database.all(f"select * from agents where {wanted} order by agent_id", values)

    async def register(self, info: AgentInfo) -> Row:
        row = await self._database.one(
            "update agents set platform = %s, region = %s, cluster_id = %s, capacity = %s, metadata = %s, updated_at = %s "
            "where agent_id = %s returning *",
            (
                info.platform,
                info.region or None,
                info.clusterId or None,
                Jsonb(info.capacity),
                Jsonb(info.metadata),
                now(),
                info.agentId,
            ),
        )
        assert row is not None
        return row

    async def enrol(self, info: AgentInfo) -> Row:
        """The row of an agent that asks to be let in, pending if it is new; what it says of itself counts once it is approved."""
        await self._database.do(
            "insert into agents (agent_id, platform, region, cluster_id, capacity, metadata) "
            "values (%s, %s, %s, %s, %s, %s) on conflict (agent_id) do nothing",
            (
                info.agentId,
                info.platform,
                info.region or None,
                info.clusterId or None,
                Jsonb(info.capacity),
                Jsonb(info.metadata),
            ),
        )
        row = await self.agent(info.agentId)
        if row is None:  # deleted meanwhile
            raise agent_not_found(info.agentId)
        return row

    async def decide(self, agent: str, decision: str, by: str, key_hash: str | None) -> bool:
        """Approve or reject one that is pending. False: there is none."""
        at = now()
        changed = await self._database.do(
            "update agents set approval_status = %s, approved_at = %s, approved_by = %s, api_key_hash = %s, updated_at = %s "
            "where agent_id = %s and approval_status = 'pending'",
            (decision, at, by, key_hash, at, agent),
        )
        return changed > 0

    async def new_key(self, agent: str, key_hash: str) -> datetime | None:
        """From now on its only one. None: there is no such agent."""
        at = now()
        changed = await self._database.do(
            "update agents set api_key_hash = %s, api_key_last_used_at = null, updated_at = %s where agent_id = %s",
            (key_hash, at, agent),
        )
        return at if changed else None

    async def delete(self, agent: str) -> None:
        """With its commands. Refuses with 500 while sessions name it."""
        try:
            await self._database.do("delete from agents where agent_id = %s", (agent,))
        except psycopg.errors.ForeignKeyViolation as error:
            raise Refused(500, "Failed to delete agent", f"sessions name agent {agent}") from error

    def key_fits(self, key: str, row: Row) -> bool:
        return auth.key_fits(key, row["api_key_hash"])

    async def key_used(self, agent: str) -> None:
        await self._database.do("update agents set api_key_last_used_at = %s where agent_id = %s", (now(), agent))

    async def claim(self, agent: str, link: str) -> None:
        """This connection is the agent from now on."""
        await self._database.do(
            "update agents set control_plane = %s, link = %s, updated_at = %s where agent_id = %s",
            (self._here, link, now(), agent),
        )

    async def heard(self, agent: str, heartbeat: Heartbeat, link: str | None = None) -> datetime:
        """The time that is written down. Raises Superseded when the agent has another connection than `link` by now."""
        at = now()
        changed = await self._database.do(
            "update agents set status = %(status)s, last_heartbeat = %(at)s, updated_at = %(at)s, "
            "capacity = coalesce(%(capacity)s, capacity) "
            "where agent_id = %(agent)s and coalesce(%(link)s::varchar = link, true)",
            {
                "agent": agent,
                "link": link,
                "status": heartbeat.status,
                "at": at,
                "capacity": Jsonb(heartbeat.capacity) if heartbeat.capacity else None,
            },
        )
        if not changed:
            raise Superseded(f"agent {agent} has a newer connection")
        return at

    async def offline(self, agent: str, link: str) -> None:
        """This connection has ended: so is the agent, unless it has another one."""
        await self._database.do(
            "update agents set status = 'offline', updated_at = %s where agent_id = %s and link = %s",
            (now(), agent, link),
        )

    async def all_offline(self) -> None:
        """At the start of this control plane nobody is connected to it."""
        await self._database.do(
            "update agents set status = 'offline', updated_at = %s "
            "where status <> 'offline' and coalesce(control_plane, %s) = %s",
            (now(), self._here, self._here),
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
