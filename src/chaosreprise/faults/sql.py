"""Sessions of ours on the platform's PostgreSQL, by the administrator that the platform file names.

Each bears the mark of its fault as its application_name, so that anybody who finds the mark in the ledger can end it. None
waits longer than it was told to, whatever the server does. Names of tables go in as the server itself quotes them.
"""

import asyncio
import contextlib
import hashlib
import importlib
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from chaosreprise.errors import NotPossible, RepriseError, Unreachable
from chaosreprise.platform.values import Secret

if TYPE_CHECKING:  # imported when a fault asks for it: 0.15 s for every other one
    import psycopg
    from psycopg import AsyncConnection

    Connection = AsyncConnection[tuple[Any, ...]]

CONNECT_S = 2
ANSWER_S = 5.0
AGAIN_S = 0.02
ENDED_S = 5.0
LONGEST_NAME = 63  # NAMEDATALEN - 1
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE of PostgreSQL's appendix A, as those below
DEADLOCK = "40P01"
READ_ONLY = "25006"

T = TypeVar("T")
Row = tuple[Any, ...]


def name_of(mark: str) -> str:
    """The application_name of the sessions of a fault; of a mark that is too long for one, what tells it from others."""
    name = f"reprise {mark}"
    if len(name) <= LONGEST_NAME and name.isascii() and name.isprintable():
        return name
    return f"reprise {hashlib.sha256(mark.encode()).hexdigest()[:40]}"


async def connect(admin: Secret, name: str, **settings: str | int) -> "Connection":
    """A session, each of its statements a transaction of its own. `settings` are the server's. Raises Unreachable."""
    psycopg = await asyncio.to_thread(importlib.import_module, "psycopg")
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    opening = psycopg.AsyncConnection.connect(
        admin.read(pathlib.Path("/")),
        autocommit=True,
        application_name=name,
        connect_timeout=CONNECT_S,
        options=options,
    )
    try:
        connection: Connection = await within(CONNECT_S + 1, opening)
    except psycopg.OperationalError as error:
        raise Unreachable(f"the platform's database does not let its administrator in: {said(error)}") from error
    except psycopg.ProgrammingError as error:
        raise NotPossible("components.database.admin is no connection string of PostgreSQL") from error
    return connection


@contextlib.asynccontextmanager
async def session(admin: Secret, name: str) -> AsyncIterator["Connection"]:
    """A session that is closed at the end. Raises Unreachable."""
    async with closing(await connect(admin, name)) as connection:
        yield connection


@contextlib.asynccontextmanager
async def closing(connection: "Connection") -> AsyncIterator["Connection"]:
    try:
        yield connection
    finally:
        await close(connection)


async def rows(connection: "Connection", query: str, *values: Any) -> list[Row]:
    """What one statement gives. Raises Unreachable when it is not answered in time or the session is lost, else NotPossible."""
    psycopg = importlib.import_module("psycopg")
    try:
        return await _ask(connection, query, values)
    except psycopg.Error as error:
        raise NotPossible(f"the platform's database refuses that: {said(error)}") from error


async def refused(connection: "Connection", query: str) -> str | None:
    """The SQLSTATE with which a statement is refused, None if it is not. Raises Unreachable."""
    psycopg = importlib.import_module("psycopg")
    try:
        await _ask(connection, query, ())
    except psycopg.Error as error:
        return str(error.sqlstate)
    return None


async def _ask(connection: "Connection", query: str, values: tuple[Any, ...]) -> list[Row]:
    """Raises Unreachable, or what the server said (psycopg.Error)."""
    psycopg = importlib.import_module("psycopg")

    async def ask() -> list[Row]:
        cursor = await connection.execute(query, values or None)
        return await cursor.fetchall() if cursor.description else []

    try:
        return await within(ANSWER_S, ask())
    except psycopg.Error as error:
        if error.sqlstate is not None and not connection.closed:
            raise
        raise Unreachable(f"a session on the platform's database was lost: {said(error)}") from error


async def count(connection: "Connection", name: str) -> int:
    """How many sessions of this name there are; 0 when that can't be asked any more."""
    try:
        [[found]] = await rows(connection, "select count(*) from pg_stat_activity where application_name = %s", name)
    except RepriseError:
        return 0
    return int(found)


async def close(connection: "Connection") -> None:
    with contextlib.suppress(Exception):
        await connection.close()


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Its result. What takes longer is told to end and not waited for, since a server that is frozen ends nothing."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise Unreachable(f"the platform's database did not answer within {seconds:g} s")
    return task.result()


async def end_all(connection: "Connection", name: str) -> int:
    """End all other sessions of this name, and wait until they have; how many there were. Raises Unreachable."""
    deadline, before = time.monotonic() + ENDED_S, None
    query = (
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s and pid <> pg_backend_pid()"
    )
    while found := await rows(connection, query, name):
        before = len(found) if before is None else before
        if time.monotonic() > deadline:
            raise Unreachable(f"{len(found)} sessions named {name!r} on the platform's database do not end")
        await asyncio.sleep(AGAIN_S)
    return before or 0


def said(error: "psycopg.Error") -> str:
    """What it says, on one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _abandon(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)


def _forget(task: "asyncio.Future[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain: its caller has its answer already


_abandoned: set["asyncio.Future[Any]"] = set()
