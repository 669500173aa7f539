"""Let the database refuse every write with SQLSTATE 25006, as a standby does: default_transaction_read_only, for all sessions.

Set in the server's configuration (ALTER SYSTEM), so sessions that are open take it with their next statement outside of a
transaction; what is in a transaction may end it. Reads go on. A session that asks for read-write by itself, or whose role
or database has the setting, is not kept from writing: where one is known before, or is seen writing, this is refused.
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import heir, on_database, sql
from chaosreprise.faults.base import Context, Target

SETTING, MARK = "default_transaction_read_only", "reprise.read_only"
WRITE = "select from pg_class where false for update"  # refused where nothing may be written; else nothing is done
PROVE_S = 5.0
QUIET_S = 0.2
LOOK_EVERY_S = 0.002
BACK_S = 5.0
SOMEBODY = "somebody else"
IN_FILE = """
    select name, setting from pg_file_settings
    where name = any(%s) and sourcefile like '%%/postgresql.auto.conf' order by seqno"""
OWN = """
    select coalesce('role ' || rolname, 'the database ' || datname, 'all') from pg_db_role_setting s
    left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase,
    unnest(setconfig) setting
    where setting ~* '^default_transaction_read_only=(off|no|false|0)$'"""
CLIENT = "client backend"
WRITERS = """
    select backend_type, pid, usename, application_name, coalesce(host(client_addr) || ':' || client_port, 'a local socket')
    from pg_stat_activity where backend_xid is not null"""
ENDED = "select pg_snapshot_xmax(pg_current_snapshot())::text"


class Frozen(on_database.Store, kw_only=True):
    """`before` is what the server's own file had (ALTER SYSTEM), None: nothing."""

    before: str | None


class Made:
    """What the warden keeps of one: who undoes it if nobody else can, and a session that was there before."""

    def __init__(self, heir: "subprocess.Popen[bytes]", witness: "sql.Connection") -> None:
        self.heir, self.witness = heir, witness
        self.changed = False


class ReadOnly(on_database.OnDatabase):
    needs = f"{on_database.NEEDS}, who must be a superuser"
    way_back = "the setting becomes what it was; if all of ours are dead, by a process that waits for that"
    proof = (
        "a session that was there before and a new one are refused a write, and nobody is seen to write for "
        f"{QUIET_S:g} s"
    )

    def __init__(self) -> None:
        self._made: dict[str, Made] = {}

    async def more(self, connection: "sql.Connection", given: Any) -> Target:
        await on_database.check_superuser(connection)
        [[value, source, standby]] = await sql.rows(
            connection, "select setting, source, pg_is_in_recovery() from pg_settings where name = %s", SETTING
        )
        if value == "on" or standby:
            raise NotPossible(f"the database is read-only already ({SETTING} = {value}, standby: {standby})")
        if source not in ("default", "configuration file"):
            raise NotPossible(f"{SETTING} is set by the {source}, which the server's own file does not overrule")
        if own := await sql.rows(connection, OWN):
            raise NotPossible(f"{own[0][0]} sets {SETTING} = off for itself, and would go on writing: take that back")
        file = await _in_file(connection)
        if MARK in file:
            raise NotPossible(f"{MARK} = {file[MARK]}: another fault is on the database: see `chaos reprise heal`")
        return {"before": file.get(SETTING)}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        frozen = msgspec.convert(target, Frozen)
        will = heir.Will("database.read_only", mark, target, context.keeper, context.owners, lease_end)
        witness = await sql.connect(frozen.admin, sql.name_of(mark), **frozen.lease(lease_end))
        made = self._made[mark] = Made(heir.start(will), witness)
        async with _alone(witness):
            await _set(witness, MARK, mark)
            made.changed = True
            await _set(witness, SETTING, "on")
        await sql.rows(witness, "select pg_reload_conf()")

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        frozen, witness = msgspec.convert(target, Frozen), self._made[mark].witness
        deadline = time.monotonic() + PROVE_S
        await _until_refused(witness, "a session that was there before", deadline)
        async with sql.session(frozen.admin, sql.name_of(mark)) as new:
            await _until_refused(new, "a new session", deadline)
        waited = await _until_quiet(witness, deadline)
        return {"established": sql.READ_ONLY, "new": sql.READ_ONLY, "writers_ended_after_ms": round(waited * 1000)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        frozen, made = msgspec.convert(target, Frozen), self._made.pop(mark, None)
        if made is not None:  # cut short while it waited to be alone it may be so by now, and nobody else would ever be
            await sql.close(made.witness)
        async with on_database.administrator(context, target) as connection:
            async with _alone(connection):
                file = await _in_file(connection)
                if file.get(MARK) == mark and file.get(SETTING) == "on":
                    await _set(connection, SETTING, frozen.before)
                if file.get(MARK) == mark:
                    await _set(connection, MARK, None)
                    await sql.rows(connection, "select pg_reload_conf()")
            if file.get(MARK) in (mark, None):
                await _until_writable(connection)
        heir.end(mark)
        if made is not None:
            made.heir.wait()
        await super().undo(context, mark, target)
        kept = file.get(MARK) == mark and file.get(SETTING) == "on"
        return SOMEBODY if made is not None and made.changed and not kept else None

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        async with on_database.administrator(context, target) as connection:
            if (await _in_file(connection)).get(MARK) == mark:
                raise Unreachable(f"the database still is read-only for fault {mark}")
        await super().verify(context, mark, target)


@contextlib.asynccontextmanager
async def _alone(connection: "sql.Connection") -> AsyncIterator[None]:
    """Nobody of ours changes the setting meanwhile: else a late undo could take back what a new fault has just set."""
    await sql.rows(connection, "select pg_advisory_lock(hashtext(%s))", MARK)
    try:
        yield
    finally:
        await sql.rows(connection, "select pg_advisory_unlock(hashtext(%s))", MARK)


async def _in_file(connection: "sql.Connection") -> dict[str, str]:
    return dict(await sql.rows(connection, IN_FILE, [SETTING, MARK]))


async def _set(connection: "sql.Connection", name: str, value: str | None) -> None:
    """In the server's own file; None: not at all."""
    from psycopg.sql import SQL, Literal  # noqa: PLC0415

    words = SQL("alter system set " + name + " = {}").format(Literal(value)) if value is not None else None
    await sql.rows(connection, words.as_string(connection) if words else f"alter system reset {name}")


async def _until_refused(connection: "sql.Connection", who: str, deadline: float) -> None:
    while (refused := await sql.refused(connection, WRITE)) != sql.READ_ONLY:
        if time.monotonic() > deadline:
            raise NotProven(f"{who} may still write after {PROVE_S:g} s ({refused or 'no error'})")
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_writable(connection: "sql.Connection") -> None:
    deadline = time.monotonic() + BACK_S
    while refused := await sql.refused(connection, WRITE):
        if time.monotonic() > deadline:
            raise Unreachable(f"the database still refuses to write after {BACK_S:g} s ({refused})")
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_quiet(connection: "sql.Connection", deadline: float) -> float:
    """No client has a transaction that writes, and no such transaction ends, for a while; after how many seconds that began."""
    began = since = time.monotonic()
    last, writer = "", "a session that was too quick to be seen"
    while time.monotonic() - since < QUIET_S:
        [[ended]] = await sql.rows(connection, ENDED)
        found = await sql.rows(connection, WRITERS)
        clients = [row for row in found if row[0] == CLIENT]
        if clients:
            writer = "pid {1} of {2} ({3}, from {4})".format(*clients[0])
        if clients or (ended != last and not found):  # the server's own work, as vacuuming, is none of a client
            since = time.monotonic()
        last = ended
        if time.monotonic() > deadline:
            raise NotProven(f"it leaks: {writer} writes although the database is read-only for {PROVE_S:g} s")
        await asyncio.sleep(LOOK_EVERY_S)
    return since - began


FAULT = ReadOnly()
