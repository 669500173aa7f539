"""The commands of agents on their way: sent, acknowledged, completed or failed; and what agents report of sessions.

Everything may come late or twice. A final status is never overwritten, and a report counts only while its command is the
session's last one and the state fits: so a replayed wake does not revive what has been terminated since. A seam for
planted defects.
"""
# ruff: noqa: S608 - what is put together here are constants and names of this package, never input

from typing import Any, ClassVar

from chaosreprise.lab.database import Connection, Database, Row, one
from chaosreprise.lab.schema import OPEN
from chaosreprise.lab.store import COMMAND_COLUMNS, Command, now

FOLLOWS = {  # what an agent may report -> the states that it may follow
    "running": ["pending", "starting", "waking"],
    "hibernated": ["hibernating"],
    "terminated": ["terminating"],
}
_REPORT = """
update sessions s set state = %(state)s, pod_name = coalesce(%(pod)s, s.pod_name), url = %(url)s, last_activity = %(now)s,
  updated_at = %(now)s, terminated_at = case when %(state)s::varchar = 'terminated' then %(now)s else s.terminated_at end
from agent_commands c
where c.command_id = %(command)s and c.agent_id = %(agent)s and s.id = c.session_id
  and {counts}
returning s.id"""
_SENT = """
with holder as (select agent_id from agents where link = %(link)s), marked as (
  update agent_commands set status = 'sent', sent_at = %(now)s, updated_at = %(now)s
  where command_id = any(%(commands)s) and status = 'pending' and agent_id in (select agent_id from holder))
select 1 from holder"""
CURRENT = "(c.payload->>'seq')::integer = s.command_seq and s.state = any(%(follows)s)"


class Outbox:
    """`counts`: which reports count, in SQL."""

    counts: ClassVar[str] = CURRENT

    def __init__(self, database: Database) -> None:
        self.database = database

    async def unfinished(self, agent: str) -> list[Command]:
        """All that this agent has not finished, in the order of acceptance."""
        return await self._commands(OPEN, agent)

    async def pending(self, agent: str) -> list[Command]:
        return await self._commands("status = 'pending'", agent)

    async def finished(self, agent: str) -> list[Command]:
        return await self._commands("status = 'completed'", agent)

    async def sent(self, commands: list[Command], link: str) -> bool:
        """They are about to leave by this connection; those that had left before keep their time. False: they must not.

        One statement, and so one moment: whoever claims the agent later finds all that could be marked here, and hands it over
        anew. Marked by a connection that is none any more, a command would wait for the next one.
        """
        row = await self.database.one(
            _SENT, {"commands": [command.id for command in commands], "now": now(), "link": link}
        )
        return row is not None

    async def dismissed(self) -> None:
        """The control plane was asked to end. What is open stays so: whoever has its agents next hands it over anew."""

    async def acknowledged(self, agent: str, command: str) -> None:
        """The agent has it; a session that waits for its start is starting."""
        values = {"agent": agent, "command": command, "now": now()}

        async def work(connection: Connection) -> None:
            await connection.execute(
                "update agent_commands set status = 'ack', acknowledged_at = %(now)s, updated_at = %(now)s "
                "where command_id = %(command)s and agent_id = %(agent)s and status in ('pending', 'sent')",
                values,
            )
            await connection.execute(
                "update sessions s set state = 'starting', updated_at = %(now)s from agent_commands c "
                "where c.command_id = %(command)s and c.agent_id = %(agent)s and c.action = 'start_session' "
                "and s.id = c.session_id and s.agent_id = c.agent_id and s.state = 'pending'",
                values,
            )

        await self.database.run(work)

    async def reported(self, agent: str, command: str, state: str, pod: Row) -> None:
        """The state of a session after a command, and where its interpreter listens if it has one."""
        at = now()
        values: dict[str, Any] = {
            "agent": agent,
            "command": command,
            "state": state,
            "follows": FOLLOWS[state],
            "now": at,
            "ended": at if state == "terminated" else None,
            "pod": pod.get("podName"),
            "url": f"tcp://{pod['podIP']}:{pod['port']}" if "port" in pod else None,
        }

        async def work(connection: Connection) -> None:
            session = await one(connection, _REPORT.format(counts=self.counts), values)
            if session is None:
                return
            await connection.execute("delete from endpoints where session_id = %s", (session["id"],))
            if "port" in pod:
                endpoint = (session["id"], pod["podIP"], pod["port"], pod["token"], pod["life"])
                await connection.execute("insert into endpoints values (%s, %s, %s, %s, %s)", endpoint)

        await self.database.run(work)

    async def completed(self, agent: str, command: str) -> bool:
        """Whether this is what completed it."""
        changed = await self.database.do(
            "update agent_commands set status = 'completed', completed_at = %(now)s, updated_at = %(now)s "
            f"where command_id = %(command)s and agent_id = %(agent)s and {OPEN}",
            {"agent": agent, "command": command, "now": now()},
        )
        return changed > 0

    async def failed(self, agent: str, command: str, why: str) -> None:
        """It can't be done, and its session has failed with it unless that has gone on since."""
        values = {"agent": agent, "command": command, "why": why, "now": now()}

        async def work(connection: Connection) -> None:
            row = await one(
                connection,
                "update agent_commands set status = 'failed', error_message = %(why)s, updated_at = %(now)s "
                f"where command_id = %(command)s and agent_id = %(agent)s and {OPEN} returning session_id, payload",
                values,
            )
            if row is not None:
                await connection.execute(
                    "update sessions set state = 'failed', updated_at = %s where id = %s and command_seq = %s",
                    (values["now"], row["session_id"], row["payload"].get("seq")),
                )

        await self.database.run(work)

    async def _commands(self, condition: str, agent: str) -> list[Command]:
        query = f"select {COMMAND_COLUMNS} from agent_commands where agent_id = %s and {condition} order by position"
        return [Command(*row.values()) for row in await self.database.all(query, (agent,))]
