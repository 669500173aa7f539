"""What faults by SQL share: the platform's PostgreSQL as its administrator sees it, and when it is whole again.

A fault that sessions of ours hold dies with whoever holds them, and meets its lease in the server itself, by the server's
own limits for sessions that do nothing. Whole means: the server lets sessions in, and none bears the mark of the fault.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import BadInput, NotAllowed, NotPossible, Unreachable
from chaosreprise.faults import local, sql
from chaosreprise.faults.base import Arguments, Context, Target
from chaosreprise.platform.file import load
from chaosreprise.platform.values import Secret
from chaosreprise.settings import convert
from chaosreprise.stack.client import StackEnded

GROUP = "database"
NEEDS = "an administrator's connection string for the platform's PostgreSQL (components.database.admin)"
SPARE_S = 1.0  # the server ends a session so much later than the lease: whoever is alive undoes first
BY_SERVER = "database"
IDLE_SINCE = 140000  # the first version that ends sessions which do nothing outside of a transaction


class Store(msgspec.Struct, kw_only=True):
    """The database that was planned for. `cluster` is its system identifier: another one at its address is left alone."""

    admin: Secret
    cluster: int
    version: int

    def lease(self, lease_end: int) -> dict[str, int]:
        """The server's own limits for a session of ours: it ends one that says nothing any more when the lease is over."""
        left_ms = max(1000, (lease_end - boottime() + int(SPARE_S * SECOND)) // 1_000_000)
        limits = {"idle_in_transaction_session_timeout": left_ms}
        return limits | ({"idle_session_timeout": left_ms} if self.version >= IDLE_SINCE else {})


class OnDatabase:
    """The base of faults by SQL. As it stands: what holds the fault are sessions, and undoing it is ending them."""

    groups: tuple[str, ...] = (GROUP,)
    needs = NEEDS
    way_back = "the sessions that hold it are ended"
    proof = ""
    momentary = False
    undo_s = local.BACK_S + 5
    arguments: type[Arguments] = Arguments

    def asks(self, group: str) -> tuple[str, ...]:  # noqa: ARG002 - the same for each
        return ("components.database.admin",)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        given = convert("fault", args, self.arguments)
        if on != GROUP:
            raise BadInput(f"{on!r}: a fault by SQL is made on {GROUP!r}")
        admin = load(context.platform_file).admin if context.platform_file else None
        if admin is None:
            raise NotPossible(
                "components.database.admin is not set: a fault by SQL needs an administrator's connection string there"
            )
        async with sql.session(admin, "reprise plan") as connection:
            version = connection.info.server_version
            store = Store(admin=admin, cluster=await _cluster(connection), version=version)
            more = await self.more(connection, given)
        return {**msgspec.to_builtins(store), **msgspec.to_builtins(given), **more}

    async def more(self, connection: "sql.Connection", given: Any) -> Target:  # noqa: ARG002 - for those who need it
        """What else belongs to the target; changes nothing. Raises NotPossible or NotAllowed."""
        return {}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        async with administrator(context, target) as connection:
            await sql.end_all(connection, sql.name_of(mark))
        return None

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        async with administrator(context, target) as connection:
            left = await sql.count(connection, sql.name_of(mark))
        if left:
            raise Unreachable(f"{left} sessions of fault {mark} are still on the platform's database")


@contextlib.asynccontextmanager
async def administrator(context: Context, target: Target) -> AsyncIterator["sql.Connection"]:
    """A session on the database that was planned for, once it lets one in. Raises StackEnded when that is not there any more."""
    store = msgspec.convert({name: target[name] for name in Store.__struct_fields__}, Store)
    async with local.keeper_if_any(context) as connected:
        connection = await local.patiently(connected, sql.connect, store.admin, "reprise undo")
    async with sql.closing(connection):
        if await _cluster(connection) != store.cluster:
            raise StackEnded("another database answers where the platform's was: there is nothing left to mend")
        yield connection


async def _cluster(connection: "sql.Connection") -> int:
    [[found]] = await sql.rows(connection, "select system_identifier from pg_control_system()")
    return int(found)


async def table(connection: "sql.Connection", given: str) -> str:
    """A table as the server writes it. Raises NotPossible, or NotAllowed for what is not the platform's."""
    query = """
        select c.oid::regclass::text, n.nspname, has_table_privilege(c.oid, 'update, delete, truncate')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = to_regclass(%s) and c.relkind in ('r', 'p')"""
    found = await sql.rows(connection, query, given)
    if not found:
        raise NotPossible(f"table = {given!r}: the database of components.database.admin has no such table")
    [[name, schema, allowed]] = found
    if schema in ("pg_catalog", "information_schema", "pg_toast"):
        raise NotAllowed(f"table = {given!r}: this is the database's own: name one of the platform's")
    if not allowed:
        raise NotPossible(f"table = {given!r}: the role of components.database.admin may not lock it")
    return str(name)


async def check_superuser(connection: "sql.Connection") -> None:
    [[user, superuser]] = await sql.rows(
        connection, "select rolname, rolsuper from pg_roles where rolname = current_user"
    )
    if not superuser:
        raise NotPossible(f"the role {user!r} of components.database.admin is no superuser: this fault takes one")
