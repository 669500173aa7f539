"""The control plane's rows, in SQLite or PostgreSQL. SQLite waits for no lock unless DATABASE_URL says so, and a refused row raises."""

import asyncio
import re
import sqlite3

import psycopg

TABLES = (
    "create table if not exists sessions (id text primary key, status text, runtime_id text)",
    "create table if not exists session_steps (id text primary key, session_id text, command text, status text)",
    "create table if not exists jobs (id text primary key, status text)",
)
SESSION = "insert into sessions (id, status, runtime_id) values ({}, {}, {})"
STEP = "insert into session_steps (id, session_id, command, status) values ({}, {}, {}, {})"
Unavailable = (sqlite3.Error, psycopg.Error, OSError)


class Sqlite:
    """One connection, relative to the working directory."""

    def __init__(self, url: str) -> None:
        waits = re.search(r"busy_timeout\((\d+)\)", url)
        self._waits = int(waits[1]) if waits else 0
        self._file = sqlite3.connect(
            re.sub(r"&?_pragma=[^&]*", "", url), uri=True, timeout=self._waits / 1000, check_same_thread=False
        )
        for table in TABLES:
            self._file.execute(table)
        self._file.commit()
        self._turn = asyncio.Lock()

    async def write(self, statement: str, *values: str) -> None:
        """Insert one row, alone in its transaction."""
        async with self._turn:
            await asyncio.to_thread(self._write, statement.format(*"?" * len(values)), values)

    def _write(self, statement: str, values: tuple[str, ...]) -> None:
        try:
            with self._file:
                self._file.execute(statement, values)
        except sqlite3.Error:
            self._file.rollback()
            raise


class Postgres:
    """A connection a row, as a pool that trusts none of its connections; the tables are somebody else's work."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def write(self, statement: str, *values: str) -> None:
        """Insert one row, alone in its transaction."""
        async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=5) as connection:
            await connection.execute(statement.format(*["%s"] * len(values)), values)
