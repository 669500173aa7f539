"""What a sandbox says in its rows: sessions, and steps that it has accepted, as reports.

SQLite waits for no lock there, so a reader that takes one disturbs the writers. A database with a write-ahead log has none for
readers (`mode=ro`). Any other file is read as if nobody wrote to it (`immutable=1`), and what was read counts only if nobody did: there
was no journal and no change from before to after. Else it is read again, and what stays so is a gap. Of a step the row says no more than
that it was accepted, and it is written once the step ran. Rows of others, who use the platform as well, are not reported: they say
nothing of a run, and would never let it settle.
"""

import asyncio
import contextlib
import pathlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chaosreprise.clock import Clock
from chaosreprise.errors import Unreachable
from chaosreprise.observe import Emit, ReportSource, Said, Source
from chaosreprise.platform.file import Evidence

if TYPE_CHECKING:
    import psycopg

STATEMENT_TIMEOUT_MS = 2000
AGAIN, AGAIN_S = 5, 0.02
HEAD, WAL = 100, 2  # bytes of a SQLite file's header; its version of one with a write-ahead log
JOURNAL = bytes.fromhex("d9d505f920a163d7")  # with which one begins that has something to take back
SESSIONS = "select id, status from sessions"
STEPS = "select id, session_id, status from session_steps"
STATES = {"active": "running", "accepted": "completed"}
Rows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


class Reader(Protocol):
    async def read(self) -> Rows:
        """Raises Unreachable."""
        ...

    async def close(self) -> None: ...


class RowSource(ReportSource):
    def __init__(self, name: str, hz: float, said: Callable[[], Awaitable[list[Said]]], reader: Reader) -> None:
        super().__init__(name, hz, said)
        self._reader = reader

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        try:
            await super().run(clock, emit, stop)
        finally:
            await self._reader.close()


def source(
    name: str, evidence: Evidence, folder: pathlib.Path, agent: str, ours: Callable[[], Collection[str] | None]
) -> Source:
    """`ours`: the sessions of the run; None: all that there are."""
    reader = _reader(evidence, folder)

    async def said() -> list[Said]:
        sessions, steps = await reader.read()
        own = ours()
        found = [Said("session", _text(row), _state(status), agent) for row, status in sessions]
        found += [
            Said("command", _text(row), _state(status), fields={"session": _text(session), "action": "step"})
            for row, session, status in steps
        ]
        return [said for said in found if own is None or said.fields.get("session", said.id) in own]

    return RowSource(name, evidence.hz, said, reader)


def _state(status: object) -> str:
    text = _text(status)
    return STATES.get(text, text)


def _text(value: object) -> str:
    """All columns are text, as a rule; whatever else one is compares as such."""
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _reader(evidence: Evidence, folder: pathlib.Path) -> Reader:
    if evidence.kind == "sqlite":
        return Sqlite(folder / (evidence.path or ""))
    assert evidence.dsn is not None
    return Sql(evidence.dsn.read(folder))


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
            await self.close()
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise Unreachable(f"the platform's database can't be read: {said[0]}") from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class Sqlite:
    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    async def read(self) -> Rows:
        return await asyncio.to_thread(_sqlite, self._path)

    async def close(self) -> None:
        """Each look has a connection of its own."""


class Opened(NamedTuple):
    """What the first page says of the file, and whether a journal shows that a change is under way, or was cut short."""

    format: bytes
    changes: bytes
    journal: bool

    @property
    def logged(self) -> bool:
        return WAL in self.format


def _sqlite(path: pathlib.Path) -> Rows:
    """Raises Unreachable, also for what a writer is changing now, or keeps others from reading."""
    why = ""
    for _ in range(AGAIN):
        try:
            opened = _opened(path)
            rows = _selected(path, "mode=ro" if opened.logged else "immutable=1")
            if opened.logged or (not opened.journal and _opened(path) == opened):
                return rows
            why = "a change is under way in it, or was never finished"
        except OSError as error:
            why = error.strerror or str(error)
        except sqlite3.Error as error:
            why = str(error)
        time.sleep(AGAIN_S)
    raise Unreachable(f"{path}: can't be read ({why})")


def _opened(path: pathlib.Path) -> Opened:
    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        with path.with_name(f"{path.name}-journal").open("rb") as file:
            journal = file.read(len(JOURNAL)) == JOURNAL
    except FileNotFoundError:
        journal = False
    return Opened(head[18:20], head[24:28], journal)


def _selected(path: pathlib.Path, how: str) -> Rows:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=0)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.execute("begin")
        return connection.execute(SESSIONS).fetchall(), connection.execute(STEPS).fetchall()
