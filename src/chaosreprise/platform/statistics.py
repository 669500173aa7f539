"""How long statements take in a platform's database, as PostgreSQL shows who is at work: samples of a signal.

`STATISTICS.statement_ms`: for how long the longest of the statements has been running that another role than ours runs there now; 0
where none does. Who waits for a lock is not counted: for that the platform has its reasons. What is shorter than the time between two
looks may escape, what is longer can't. A role is shown what others do if it is a member of pg_read_all_stats; `pg_stat_database` needs no
right, but mixes our own looks with the platform's statements, and `pg_stat_statements` is not everywhere.
"""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from chaosreprise.clock import Clock
from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.history import Observe
from chaosreprise.observe import Emit, sample
from chaosreprise.platform.file import Platform

CONNECT_S = 2
READ_ONLY = "-c statement_timeout=2000 -c default_transaction_read_only=on"
LONGEST = """
    select pg_has_role(current_user, 'pg_read_all_stats', 'usage'), current_user, coalesce(max(case
      when state = 'active' and wait_event_type is distinct from 'Lock' then extract(epoch from clock_timestamp() - query_start) end), 0)::float8
    from pg_stat_activity where datname = current_database() and usename <> current_user and backend_type = 'client backend'"""


def source(platform: Platform, name: str) -> "StatisticsSource":
    dsn = platform.file.evidence[name].dsn
    assert dsn is not None
    return StatisticsSource(name, platform.file.evidence[name].hz, dsn.read(platform.folder))


class StatisticsSource:
    def __init__(self, name: str, hz: float, dsn: str) -> None:
        self.name, self._hz, self._dsn = name, hz, dsn
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            del last
            value = await self._longest_ms()
            emit(Observe(lo=since, hi=clock.now(), source=self.name, signal="statement_ms", value=value))

        try:
            await sample(self.name, self._hz, clock, emit, stop, look)
        finally:
            await self._close()

    async def _longest_ms(self) -> float:
        try:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=CONNECT_S, row_factory=tuple_row, options=READ_ONLY
                )
            found = await (await self._connection.execute(LONGEST)).fetchone()
        except psycopg.Error as error:
            await self._close()
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise Unreachable(f"the platform's database can't be read: {reason}") from error
        assert found is not None
        sees, role, seconds = found
        if not sees:
            raise NotPossible(f"the role {role} is not shown what others do: grant pg_read_all_stats to {role}")
        return round(float(seconds) * 1000, 1)

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
