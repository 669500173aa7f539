"""The control plane's rows: PostgreSQL, a connection a call, so that none is trusted after an outage."""

import os
from typing import Any

import psycopg
from psycopg.rows import dict_row

Unavailable = (psycopg.Error, OSError)
Row = dict[str, Any]


async def rows(statement: str, *values: Any) -> list[Row]:
    """Run one statement in a transaction of its own: what it returns."""
    async with (
        await psycopg.AsyncConnection.connect(
            os.environ["DATABASE_URL"], connect_timeout=3, row_factory=dict_row
        ) as connection,
        connection.cursor() as cursor,
    ):
        await cursor.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def row(statement: str, *values: Any) -> Row | None:
    """The first row, or None."""
    found = await rows(statement, *values)
    return found[0] if found else None
