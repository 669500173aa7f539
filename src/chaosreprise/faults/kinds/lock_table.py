"""Lock a table of the database, as a migration does: whoever touches it waits, for as long as the platform lets it.

The lock is ACCESS EXCLUSIVE, or EXCLUSIVE where `readers` may go on (false). Until it is granted, whoever comes later waits
behind it: so it is given up when it is not granted in time, and who held the table is said. Whoever reads that table
for the platform file's evidence waits as well.
"""

import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import base, on_database, sql
from chaosreprise.faults.base import Context, Target

GRANTED_S = 2.0
WAITED_S = 0.05
MODES = {
    True: ("access exclusive", "select from {} limit 0"),
    False: ("exclusive", "select from {} limit 0 for update"),
}


class Arguments(base.Arguments, frozen=True):
    table: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=200,
            title="the table",
            description="the name of a table, with its schema if need be",
        ),
    ]
    readers: Annotated[
        bool, msgspec.Meta(title="whether those wait as well who only read", description="true or false")
    ] = True


class Locked(on_database.Store, kw_only=True):
    """`name` is the table as the server writes it."""

    table: str
    readers: bool
    name: str


class Held:
    """What holds a lock, and one who wants to read or write the table, and was there before it."""

    def __init__(self, holder: "sql.Connection", witness: "sql.Connection") -> None:
        self.holder, self.witness = holder, witness

    async def lost(self, name: str) -> bool:
        """Whether the server has ended one of them already."""
        return await sql.count(self.witness, name) < 2

    async def close(self) -> None:
        await sql.close(self.witness)
        await sql.close(self.holder)


class LockTable(on_database.OnDatabase):
    arguments = Arguments
    way_back = "the session that holds the lock is ended"
    proof = f"a session that was there before and a new one wait for the table for {WAITED_S:g} s each"

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    async def more(self, connection: "sql.Connection", given: Arguments) -> Target:
        return {"name": await on_database.table(connection, given.table)}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        locked = msgspec.convert(target, Locked)
        limits = locked.lease(lease_end)
        name = sql.name_of(mark)
        holder = await sql.connect(locked.admin, name, lock_timeout=int(GRANTED_S * 1000), **limits)
        witness = await _witness(locked, name, limits)
        self._held[mark] = Held(holder, witness)
        await sql.rows(holder, "begin")
        statement = f"lock table {locked.name} in {MODES[locked.readers][0]} mode"
        if refused := await sql.refused(holder, statement):
            raise NotPossible(
                f"{locked.table}: no lock was granted within {GRANTED_S:g} s ({refused}): {await _holders(witness, locked)}"
            )

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        locked = msgspec.convert(target, Locked)
        new = await _witness(locked, sql.name_of(mark), {})
        waited = {}
        try:
            for who, connection in (("established", self._held[mark].witness), ("new", new)):
                began = time.monotonic()
                refused = await sql.refused(connection, MODES[locked.readers][1].format(locked.name))
                if refused != sql.LOCK_NOT_AVAILABLE:
                    raise NotProven(f"{locked.table}: a session ({who}) got through to it ({refused or 'no error'})")
                waited[f"{who}_waited_ms"] = round((time.monotonic() - began) * 1000)
        finally:
            await sql.close(new)
        return {"table": locked.name, "mode": MODES[locked.readers][0]} | waited

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        held = self._held.pop(mark, None)
        lost = held is not None and await held.lost(sql.name_of(mark))
        if held is not None:
            await held.close()
        done_by = await super().undo(context, mark, target)
        return on_database.BY_SERVER if lost else done_by


async def _witness(locked: Locked, name: str, limits: dict[str, int]) -> "sql.Connection":
    return await sql.connect(locked.admin, name, lock_timeout=int(WAITED_S * 1000), **limits)


async def _holders(connection: "sql.Connection", locked: Locked) -> str:
    """Who holds the table, for people."""
    query = """
        select distinct a.pid, a.usename, a.application_name, a.state from pg_locks l join pg_stat_activity a using (pid)
        where l.granted and l.relation = %s::regclass and a.pid <> pg_backend_pid()"""
    found = await sql.rows(connection, query, locked.name)
    return "; ".join(f"pid {pid} of {user} ({name or 'no name'}, {state}) holds it" for pid, user, name, state in found)


FAULT = LockTable()
