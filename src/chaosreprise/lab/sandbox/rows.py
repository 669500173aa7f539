"""The control plane's tables, in SQLite or PostgreSQL. `Rows` is a seam for planted defects.

SQLite makes its tables at the start and waits for nobody's lock unless the URL says `_pragma=busy_timeout(5000)`. It works in
one thread, since it may wait. In PostgreSQL the tables must be there.
"""

import asyncio
import concurrent.futures
import re
import sqlite3
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from chaosreprise.errors import BadInput, shown

TABLES = {
    "sessions": "id text primary key, status text, runtime_id text",
    "session_steps": "id text primary key, session_id text, command text, status text",
    "jobs": "id text primary key, status text",
}
UNUSED = ("policies", "audit_events", "idempotency_keys")
PRAGMA = re.compile(r"(\w+)\((-?\w+)\)")


class StoreRefused(Exception):
    """The row is not there, or nobody knows whether it is."""


class Database(Protocol):
    async def insert(self, table: str, *values: str) -> None:
        """Add one row. Raises StoreRefused."""


class Rows:
    """What is written of sessions and steps; it returns once that is committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_session(self, session: str, runtime_id: str) -> None:
        await self._database.insert("sessions", session, "active", runtime_id)

    async def add_step(self, step: str, session: str, command: str) -> None:
        await self._database.insert("session_steps", step, session, command, "accepted")


class Sqlite:
    def __init__(self, url: str) -> None:
        self._worker = concurrent.futures.ThreadPoolExecutor(1)
        try:
            self._connection = sqlite3.connect(url, timeout=0, isolation_level=None, uri=True, check_same_thread=False)
            for pragma in _pragmas(url):
                self._connection.execute(pragma)
            for table, columns in (TABLES | dict.fromkeys(UNUSED, "id text primary key")).items():
                self._connection.execute(f"create table if not exists {table} ({columns})")
        except sqlite3.Error as error:
            raise BadInput(f"DATABASE_URL = {shown(url)}: {error}: name a file that SQLite may write") from error

    async def insert(self, table: str, *values: str) -> None:
        query = f"insert into {table} values ({', '.join('?' * len(values))})"  # noqa: S608 - a table of ours
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._connection.execute, query, values)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise StoreRefused(str(error)) from error


class Postgres:
    def __init__(self, url: str) -> None:
        from chaosreprise.lab import database  # noqa: PLC0415 - SQLite needs no psycopg

        self._database = database.Database(url)

    async def insert(self, table: str, *values: str) -> None:
        import psycopg  # noqa: PLC0415

        from chaosreprise.lab.database import StoreAway  # noqa: PLC0415
        from chaosreprise.lab.refusals import Refused  # noqa: PLC0415

        query = f"insert into {table} values ({', '.join(['%s'] * len(values))})"  # noqa: S608
        try:
            await self._database.do(query, values)
        except (StoreAway, Refused, psycopg.Error) as error:
            raise StoreRefused(str(error).partition("\n")[0]) from error


def opened(driver: str, url: str) -> Database:
    return Sqlite(url) if driver == "sqlite" else Postgres(url)


def _pragmas(url: str) -> list[str]:
    asked = [value for name, value in parse_qsl(urlsplit(url).query) if name == "_pragma"]
    found = [PRAGMA.fullmatch(pragma) for pragma in asked]
    for pragma, match in zip(asked, found, strict=True):
        if match is None:
            raise BadInput(f"DATABASE_URL: _pragma={shown(pragma)}: expected one like busy_timeout(5000)")
    return [f"pragma {match[1]} = {match[2]}" for match in found if match]
