"""Transactions on the lab's database that end within LIMIT_S, whatever the database does.

psycopg_pool is not used: while the database is away it makes each caller wait for its time-out, and then backs off for
as long as the outage lasted. Here a call fails as fast as the database does, and the first one after it works again.
A frozen server is the hard case: an abandoned transaction is left to end in the background, and is not waited for. A seam
for planted defects.
"""

import asyncio
import contextlib
import copy
import select
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from chaosreprise.lab.refusals import bad_request

CONNECTIONS = 10
LIMIT_S = 3.0
CONNECT_TIMEOUT_S = 2
LET_GO = f"-c idle_in_transaction_session_timeout={int(LIMIT_S * 1000)}"  # who is frozen in one keeps its rows from the others
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)

T = TypeVar("T")
Row = dict[str, Any]
Connection = psycopg.AsyncConnection[DictRow]


class StoreAway(Exception):
    """The database did not do it, or nobody knows whether it did."""


class Database:
    """A handful of connections, made when they are needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[Connection] = []
        self._rooms = [asyncio.Semaphore(CONNECTIONS)]
        self._abandoned: set[asyncio.Task[Any]] = set()

    def within(self, connections: int) -> Self:
        """The same connections, of which only so many are in use at once by who goes through this."""
        some = copy.copy(self)
        some._rooms = [asyncio.Semaphore(connections), *self._rooms]
        return some

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in one transaction. Raises StoreAway; anything else that it raises rolls back."""
        task = asyncio.ensure_future(self._transaction(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=LIMIT_S)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise StoreAway(f"the database did not answer within {LIMIT_S:g} s")
        try:
            return task.result()
        except AWAY as error:
            raise StoreAway(f"the database is away: {str(error).strip() or type(error).__name__}") from error
        except psycopg.DataError as error:  # such as a text with a NUL
            raise bad_request(str(error)) from error

    async def one(self, query: str, values: Any) -> Row | None:
        """The first row of one statement."""
        return await self.run(lambda connection: one(connection, query, values))

    async def all(self, query: str, values: Any) -> list[Row]:
        async def work(connection: Connection) -> list[Row]:
            return await (await connection.execute(query, values)).fetchall()

        return await self.run(work)

    async def do(self, query: str, values: Any) -> int:
        """How many rows one statement changed."""

        async def work(connection: Connection) -> int:
            return (await connection.execute(query, values)).rowcount

        return await self.run(work)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def _abandon(self, task: "asyncio.Task[Any]") -> None:
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain: its caller has its answer already

    async def _transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with contextlib.AsyncExitStack() as entered:
            for room in self._rooms:
                await entered.enter_async_context(room)
            connection = await self._connection()
            try:
                async with connection.transaction():
                    return await work(connection)
            finally:
                if (
                    connection.broken
                    or connection.closed
                    or connection.info.transaction_status is not TransactionStatus.IDLE
                ):
                    await connection.close()
                else:
                    self._idle.append(connection)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not _has_news(connection):
                return connection
            with contextlib.suppress(psycopg.Error):
                await connection.close()
        return await psycopg.AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=LET_GO,
        )


async def one(connection: Connection, query: str, values: Any) -> Row | None:
    """The first row of one statement, within a transaction."""
    return await (await connection.execute(query, values)).fetchone()


def _has_news(connection: Connection) -> bool:
    """Whether an idle connection is readable: a server that ends says so or closes it, and never speaks otherwise."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
