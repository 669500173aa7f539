"""Let each transaction wait at the first table that it touches, as on a database that is too busy.

Two sessions of ours lock the tables (ACCESS EXCLUSIVE) in turns, and let all through who wait as soon as the first of them
has done so for `delay_s`: who comes alone waits just so long. One who comes in the instant of a turn may slip through
at all but the first table. A table that a transaction keeps for longer is not waited for, with everybody else behind it,
for longer than that and half a second. Of a circle of waiting it is always ours that gives way. Whoever reads for the
platform file's evidence is as slow.
"""

import asyncio
import contextlib
import statistics
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import base, on_database, sql
from chaosreprise.faults.base import Context, Target

FIRST_S = 5.0
LOOK_EVERY_S = 0.002
TRIES = 3
APART_S = 0.01
LEAST = 0.5  # of the delay: half of the tries at least took so long
QUEUED_S = 0.1
PATIENCE_S = 0.5  # beyond the delay, for a lock
SPARE_S = 1.0  # after the delay, the server takes the tables back from a warden that has stopped to work
DEADLOCK_MS = 5  # less than anybody else waits before he looks for a circle: who looks first gives up
WAIT_STARTS_SINCE = 140000
ALL = """
    select array_agg(c.oid::regclass::text order by c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$)'"""
LONGEST_WAIT = """
    select coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0)::float from pg_locks
    where not granted and %s = any(pg_blocking_pids(pid))"""


class Arguments(base.Arguments, frozen=True):
    delay_s: Annotated[
        float,
        msgspec.Meta(
            ge=0.01, le=60, title="how long who comes alone waits", description="a number of seconds from 0.01 to 60"
        ),
    ] = 0.2
    table: Annotated[
        str,
        msgspec.Meta(
            max_length=200,
            title="the only table at which one waits",
            description="the name of a table; empty: each one that is not the server's own",
        ),
    ] = ""


class Slowed(on_database.Store, kw_only=True):
    """`names` are the tables as the server writes them."""

    delay_s: float
    names: list[str]


class Turnstile:
    """Two sessions that hold the tables in turns: each asks before the other lets go, so that nobody slips through between.

    `closed` is set when they are held for the first time.
    """

    def __init__(self, slowed: Slowed, name: str, holders: "list[sql.Connection]", control: "sql.Connection") -> None:
        self._name = name
        self._slowed, self._holders, self._control = slowed, holders, control
        self._statement = f"lock table {', '.join(slowed.names)} in access exclusive mode"
        self.closed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def end(self) -> bool:
        """Whether it had ended already."""
        over = await sql.count(self._control, self._name) <= len(self._holders) or self._task.done()
        for connection in (*self._holders, self._control):
            await sql.close(connection)
        self._task.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):  # it has lost its sessions in whatever it was at
            await self._task
        return over

    async def _run(self) -> None:
        holder, other = self._holders
        await self._lock(holder)
        self.closed.set()
        while True:
            await self._until_waited(holder)
            async with asyncio.TaskGroup() as tasks:
                locked = tasks.create_task(self._lock(other))
                await self._until_queued(other, locked)
                await sql.rows(holder, "rollback")
            holder, other = other, holder

    async def _lock(self, connection: "sql.Connection") -> None:
        """Until all tables are its own."""
        while True:
            await sql.rows(connection, "begin")
            refused = await sql.refused(connection, self._statement)
            if refused is None:
                return
            if refused not in (sql.LOCK_NOT_AVAILABLE, sql.DEADLOCK):
                raise NotPossible(f"the tables can't be locked any more ({refused})")
            await sql.rows(connection, "rollback")

    async def _until_waited(self, holder: "sql.Connection") -> None:
        """Somebody has waited for as long as he should."""
        while True:
            [[waited]] = await sql.rows(self._control, LONGEST_WAIT, holder.info.backend_pid)
            if waited >= self._slowed.delay_s:
                return
            await asyncio.sleep(max(LOOK_EVERY_S, (self._slowed.delay_s - waited) / 2))
            await sql.rows(holder, "select 1")  # the server takes the tables back from who says nothing

    async def _until_queued(self, other: "sql.Connection", locked: "asyncio.Task[None]") -> None:
        waits = "select count(*) from pg_locks where pid = %s and not granted"
        deadline = time.monotonic() + QUEUED_S
        while not locked.done() and time.monotonic() < deadline:
            [[queued]] = await sql.rows(self._control, waits, other.info.backend_pid)
            if queued:
                return


class SlowStatements(on_database.OnDatabase):
    needs = f"{on_database.NEEDS}, who must be a superuser; PostgreSQL 14"
    arguments = Arguments
    way_back = "the session that holds them up is ended"
    proof = f"of {TRIES} statements each of a session that was there before and of a new one, half took {LEAST:.0%} of `delay_s`"

    def __init__(self) -> None:
        self._turnstiles: dict[str, Turnstile] = {}
        self._witnesses: dict[str, sql.Connection] = {}

    async def more(self, connection: "sql.Connection", given: Arguments) -> Target:
        await on_database.check_superuser(connection)
        if connection.info.server_version < WAIT_STARTS_SINCE:
            raise NotPossible("this server does not tell since when one waits: it takes PostgreSQL 14")
        if given.table:
            return {"names": [await on_database.table(connection, given.table)]}
        [[names]] = await sql.rows(connection, ALL)
        if not names:
            raise NotPossible("the database of components.database.admin has no tables: nothing waits at them")
        return {"names": [await on_database.table(connection, name) for name in names]}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        slowed, name = msgspec.convert(target, Slowed), sql.name_of(mark)
        lease = slowed.lease(lease_end)
        self._witnesses[mark] = await sql.connect(slowed.admin, name, **lease)
        limits = lease | {
            "lock_timeout": round((slowed.delay_s + PATIENCE_S) * 1000),
            "deadlock_timeout": DEADLOCK_MS,
            "idle_in_transaction_session_timeout": round((slowed.delay_s + SPARE_S) * 1000),
        }
        holders = [await sql.connect(slowed.admin, name, **limits) for _ in range(2)]
        turnstile = Turnstile(slowed, name, holders, await sql.connect(slowed.admin, name, **lease))
        self._turnstiles[mark] = turnstile
        try:
            await asyncio.wait_for(turnstile.closed.wait(), FIRST_S)
        except TimeoutError as error:
            raise NotPossible(f"no lock was granted on {', '.join(slowed.names)} within {FIRST_S:g} s") from error

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        slowed, witness = msgspec.convert(target, Slowed), self._witnesses[mark]
        async with sql.session(slowed.admin, sql.name_of(mark)) as new:
            found = {}
            for who, connection in (("established", witness), ("new", new)):
                median = statistics.median([await _took(connection, slowed.names[0]) for _ in range(TRIES)])
                if median < slowed.delay_s * LEAST:
                    raise NotProven(
                        f"half of the statements of a session ({who}) took less than {median * 1000:.0f} ms"
                    )
                found[f"{who}_ms"] = round(median * 1000)
        return {"tables": len(slowed.names), **found}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        turnstile, witness = self._turnstiles.pop(mark, None), self._witnesses.pop(mark, None)
        over = turnstile is not None and await turnstile.end()
        if witness is not None:
            await sql.close(witness)
        done_by = await super().undo(context, mark, target)
        return on_database.BY_SERVER if over else done_by


async def _took(connection: "sql.Connection", name: str) -> float:
    await asyncio.sleep(APART_S)
    began = time.monotonic()
    await sql.rows(connection, f"select from {name} limit 0")
    return time.monotonic() - began


FAULT = SlowStatements()
