"""Defects in what is written of commands and sessions: late writes that overwrite, reports that fit nowhere, early ends."""

import asyncio
from datetime import timedelta
from typing import ClassVar

from chaosreprise.lab.database import Database, StoreAway
from chaosreprise.lab.outbox import CURRENT, Outbox
from chaosreprise.lab.store import now

ACKS_EVERY_S = 0.2
WAIT_S = 3.0


class LateAcks(Outbox):
    """Acknowledgements are written once more a little later, whatever has become of the command since."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._writing: set[asyncio.Task[None]] = set()

    async def acknowledged(self, agent: str, command: str) -> None:
        await super().acknowledged(agent, command)
        task = asyncio.create_task(self._again(command))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _again(self, command: str) -> None:
        await asyncio.sleep(ACKS_EVERY_S)
        try:
            await self.database.do(
                "update agent_commands set status = 'ack', acknowledged_at = %(now)s, updated_at = %(now)s "
                "where command_id = %(command)s",
                {"command": command, "now": now()},
            )
        except StoreAway:
            return


class EveryReportCounts(Outbox):
    """What an agent reports is written down, also if the session has got another command since."""

    counts: ClassVar[str] = "true"


class EndsByAddress(Outbox):
    """The end of a session is written where its address stands, which a hibernated one has not: it stays terminating."""

    counts: ClassVar[str] = f"{CURRENT} and (%(state)s::varchar <> 'terminated' or s.url is not null)"


class WrittenOffAtTheEnd(Outbox):
    """What a control plane has sent and nobody has acknowledged is done when it is asked to end."""

    async def dismissed(self) -> None:
        await self.database.do(
            "update agent_commands set status = 'completed', completed_at = %(now)s, updated_at = %(now)s "
            "where status = 'sent'",
            {"now": now()},
        )


class TakenIsDone(Outbox):
    """A start that its agent has acknowledged is completed: the agent will say when the session runs."""

    async def acknowledged(self, agent: str, command: str) -> None:
        await super().acknowledged(agent, command)
        await self.database.do(
            "update agent_commands set status = 'completed', completed_at = %(now)s, updated_at = %(now)s "
            "where command_id = %(command)s and agent_id = %(agent)s and status = 'ack' and action = 'start_session'",
            {"agent": agent, "command": command, "now": now()},
        )


class WaitedTooLong(Outbox):
    """A command that its agent acknowledges so late has failed, as far as the control plane is concerned."""

    async def acknowledged(self, agent: str, command: str) -> None:
        await super().acknowledged(agent, command)
        await self.database.do(
            "update agent_commands set status = 'failed', error_message = 'timed out', updated_at = %(now)s "
            "where command_id = %(command)s and agent_id = %(agent)s and status = 'ack' and created_at < %(since)s",
            {"agent": agent, "command": command, "now": now(), "since": now() - timedelta(seconds=WAIT_S)},
        )
