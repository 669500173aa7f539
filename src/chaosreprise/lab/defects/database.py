"""Defects in how the control plane uses its database."""

from chaosreprise.lab.database import Connection, Database


class HurriedCommits(Database):
    """A commit is answered before it is on disk, so that answers are quick: PostgreSQL writes it within 0.2 to 0.6 s."""

    async def _connection(self) -> Connection:
        connection = await super()._connection()
        await connection.execute("set synchronous_commit = off")
        return connection
