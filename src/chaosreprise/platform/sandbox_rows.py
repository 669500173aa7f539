"""What a sandbox says in its rows: sessions, and steps that it has accepted, as reports.

SQLite waits for no lock there, so a reader that takes one disturbs the writers: the file is read as if nobody wrote to it
(`immutable=1`), and again when that shows a page in the middle of a change. Beside a write-ahead log no reader disturbs anybody, and only
one that takes its turn sees what stands there alone. Of a step the row says no more than that it was
accepted, and it is written once the step ran.
"""

import asyncio
import pathlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from chaosreprise.errors import Unreachable
from chaosreprise.observe import ReportSource, Said, Source
from chaosreprise.platform.file import Evidence

if TYPE_CHECKING:
    import psycopg

STATEMENT_TIMEOUT_MS = 2000
AGAIN, AGAIN_S = 5, 0.02
SESSIONS = "select id, status from sessions"
STEPS = "select id, session_id, status from session_steps"
STATES = {"active": "running", "accepted": "completed"}
Rows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def source(name: str, evidence: Evidence, folder: pathlib.Path, agent: str) -> Source:
    read = _reader(evidence, folder)

    async def said() -> list[Said]:
        sessions, steps = await read()
        found = [Said("session", row, _state(status), agent) for row, status in sessions]
        found += [
            Said("command", row, _state(status), fields={"session": session, "action": "step"})
            for row, session, status in steps
        ]
        return found

    return ReportSource(name, evidence.hz, said)


def _state(status: str) -> str:
    return STATES.get(status, status)


def _reader(evidence: Evidence, folder: pathlib.Path) -> Callable[[], Awaitable[Rows]]:
    if evidence.kind == "sqlite":
        path = folder / (evidence.path or "")
        return lambda: asyncio.to_thread(_sqlite, path)
    assert evidence.dsn is not None
    return Sql(evidence.dsn.read(folder)).read


class Sql:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def read(self) -> Rows:
        """Raises Unreachable."""
        import psycopg  # noqa: PLC0415 - not for a database in a file

        try:
            if self._connection is None:
                options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on"
                self._connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=2, options=options
                )
            return (
                await (await self._connection.execute(SESSIONS)).fetchall(),
                await (await self._connection.execute(STEPS)).fetchall(),
            )
        except psycopg.Error as error:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise Unreachable(f"the platform's database can't be read: {said[0]}") from error


def _sqlite(path: pathlib.Path) -> Rows:
    """Raises Unreachable."""
    log = path.with_name(f"{path.name}-wal")
    for left in reversed(range(AGAIN)):
        try:
            how = "mode=ro" if log.exists() else "immutable=1"
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
            try:
                return connection.execute(SESSIONS).fetchall(), connection.execute(STEPS).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            if not left or "malformed" not in str(error):
                raise Unreachable(f"{path}: can't be read ({error})") from error
            time.sleep(AGAIN_S)
    raise AssertionError("not reached")
