"""What StreamSpace says in its rows: commands, sessions and agents, as reports.

Reads only, each look one short transaction with a statement timeout. Rows that have reached their last state are not read
again until the last look, which reads all: a late change of a final row must not escape. A missing table or column is
named: evidence that is not there must not look like evidence of nothing. Only where there are several control planes, which
are not all alike, rows must say which one has an agent. So with clusters, regions and platforms of agents.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Observe, Report
from chaosreprise.observe import Emit, sample

STATEMENT_TIMEOUT_MS = 2000
UNSEEN_S = STATEMENT_TIMEOUT_MS / 1000  # no longer than the slowest look: what rows said for a shorter time may escape
RUNNING, EVERY_S = "running", 0.5  # a signal: how many of our sessions are
FINAL = {"command": ("completed", "failed"), "session": ("terminated", "failed"), "agent": ()}
QUERIES = {
    "agent": """
        select a.agent_id, a.status, a.agent_id, d.doc->>'control_plane', d.doc->>'cluster_id', d.doc->>'region', d.doc->>'platform'
        from agents a cross join lateral (select to_jsonb(a) as doc) d where a.approval_status = 'approved' and not a.agent_id::text = any(%(final)s)""",
    "session": """
        select s.id::text, s.state::text, a.agent_id, s.memory, s.user_id::text, null
        from sessions s left join agents a on s.agent_id::text in (a.id::text, a.agent_id)
        where %(tag)s = any(s.tags) and not s.id::text = any(%(final)s)""",
    "command": """
        select c.command_id::text, c.status::text, a.agent_id, c.session_id::text, c.action::text, c.error_message
        from agent_commands c join sessions s on s.id::text = c.session_id::text left join agents a on c.agent_id::text in (a.id::text, a.agent_id)
        where %(tag)s = any(s.tags) and not c.command_id::text = any(%(final)s)
        order by c.created_at""",
}
COLUMNS = {
    "agents": ("id", "agent_id", "status", "approval_status"),
    "sessions": ("id", "state", "agent_id", "memory", "user_id", "tags"),
    "agent_commands": ("command_id", "status", "agent_id", "session_id", "action", "error_message", "created_at"),
}
"""What these queries can't do without."""
NAMES = {
    "agent": ("control_plane", "cluster", "region", "platform"),
    "session": ("key", "user"),
    "command": ("session", "action", "error"),
}


class Rows:
    """The changes of our rows since the last look. `tag` is carried by each session that this run made."""

    def __init__(self, dsn: str, tag: str) -> None:
        self._dsn, self._tag = dsn, tag
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._known: dict[str, dict[str, tuple[Any, ...]]] = {about: {} for about in QUERIES}
        self._final: dict[str, list[str]] = {about: [] for about in QUERIES}

    async def changes(self, source: str, since: int, full: bool) -> AsyncIterator[Report]:
        """Reports of what changed; each happened between `since` (when the look before began) and the end of this one.

        Raises Unreachable when the database can't be read.
        """
        try:
            found = await self._read(full)
        except psycopg.Error as error:
            await self.close()
            raise Unreachable(
                f"the platform's database can't be read: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}"
            ) from error
        now = time.monotonic_ns()
        for about, rows in found.items():
            known = self._known[about]
            for row in rows:
                if known.get(row[0]) != row:
                    known[row[0]] = row
                    if row[1] in FINAL[about] and row[0] not in self._final[about]:
                        self._final[about].append(row[0])
                    yield _report(source, about, row, since, now)

    def running(self) -> int:
        """How many of our sessions are, as far as the last look has shown."""
        return sum(row[1] == RUNNING for row in self._known["session"].values())

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _read(self, full: bool) -> dict[str, list[tuple[Any, ...]]]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=2,
                row_factory=tuple_row,
                options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            )
        found = {}
        async with self._connection.pipeline():
            cursors = {}
            for about, query in QUERIES.items():
                cursors[about] = self._connection.cursor()
                await cursors[about].execute(query, {"tag": self._tag, "final": [] if full else self._final[about]})
            for about, cursor in cursors.items():
                found[about] = await cursor.fetchall()
        return found


class RowSource:
    """The rows, sampled."""

    def __init__(self, name: str, hz: float, rows: Rows) -> None:
        self.name, self._hz, self._rows = name, hz, rows
        self._told = 0

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            async for report in self._rows.changes(self.name, since, full=last):
                emit(report)
            if clock.now() - self._told > EVERY_S * SECOND:
                self._told = clock.now()
                emit(Observe(lo=since, hi=self._told, source=self.name, signal=RUNNING, value=self._rows.running()))

        try:
            await sample(self.name, self._hz, clock, emit, stop, look, UNSEEN_S)
        finally:
            await self._rows.close()


def _report(source: str, about: str, row: tuple[Any, ...], lo: int, hi: int) -> Report:
    name, state, owner, *rest = row
    fields = {key: value for key, value in zip(NAMES[about], rest, strict=False) if value is not None}
    return Report(lo=lo, hi=hi, source=source, about=about, id=name, state=state, owner=owner, fields=fields)  # type: ignore[arg-type]
