"""Defects in how the control plane uses its database."""

from chaosreprise.lab.database import Connection, Database


class HurriedCommits(Database):
    """A commit is answered before it is on disk, so that answers are quick: PostgreSQL writes it within 0.2 to 0.6 s."""

    async def _connection(self) -> Connection:
        connection = await super()._connection()
        await connection.execute("set synchronous_commit = off")
        return connection


class DropsIndexes(Database):
    """What has no index of its own any more is found by reading all."""

    _dropped = False

    async def _connection(self) -> Connection:
        connection = await super()._connection()
        if not self._dropped:
            await connection.execute(
                "drop index if exists sessions_user_id_idx, sessions_agent_id_idx, agent_commands_agent_id_position_idx, "
                "agent_commands_session_id_idx"
            )
            self._dropped = True
        return connection
