"""Defects in what agents are given, and when: queues that forget, repeat, reorder, dawdle, or answer for an absent agent."""

import asyncio
from typing import TYPE_CHECKING

from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.refusals import Refused, no_agents
from chaosreprise.lab.store import now

if TYPE_CHECKING:
    from chaosreprise.lab.outbox import Outbox
    from chaosreprise.lab.store import Command

REPLAYED_AGAIN = 20  # enough to be seen, and over before the bounds of the commands that wait behind them
PAUSE_S = 0.7  # below the time after which a lab counts as settled, so that a run waits for what is still to come
START, STOP = "start_session", "stop_session"


class DropQueue(Delivery):
    """What an agent has not finished when it connects is forgotten, now and later."""

    def __init__(self, outbox: "Outbox") -> None:
        super().__init__(outbox)
        self._dropped: dict[str, set[str]] = {}

    async def on_connect(self, agent: str) -> "list[Command]":
        self._dropped[agent] = {command.id for command in await self._outbox.unfinished(agent)}
        return []

    async def afterwards(self, agent: str) -> "list[Command]":
        pending = await self._outbox.pending(agent)
        return [command for command in pending if command.id not in self._dropped[agent]]


class MemoryQueue(Delivery):
    """What waits for an agent waits in this process's memory: after its restart nobody knows of it."""

    def __init__(self, outbox: "Outbox") -> None:
        super().__init__(outbox)
        self._waiting: set[str] = set()
        self._unknown: set[str] = set()

    async def while_away(self, command: "Command") -> None:
        self._waiting.add(command.id)

    async def on_connect(self, agent: str) -> "list[Command]":
        found = await self._outbox.unfinished(agent)
        self._unknown |= {one.id for one in found if one.status == "pending" and one.id not in self._waiting}
        return [command for command in found if command.id not in self._unknown]

    async def afterwards(self, agent: str) -> "list[Command]":
        return [command for command in await self._outbox.pending(agent) if command.id not in self._unknown]


class HandedOverOnce(Delivery):
    """What waited is handed over when the agent connects, and then it is the connection's: the next one gets what is new."""

    def __init__(self, outbox: "Outbox") -> None:
        super().__init__(outbox)
        self._handed: dict[str, set[str]] = {}

    async def on_connect(self, agent: str) -> "list[Command]":
        found, handed = await self._outbox.unfinished(agent), self._handed.get(agent, set())
        self._handed[agent] = {command.id for command in found}
        return [command for command in found if command.status != "sent" or command.id not in handed]


class FailWhenAway(Delivery):
    """A command for an agent that is not connected is closed as failed."""

    async def while_away(self, command: "Command") -> None:
        await self._outbox.failed(command.agent, command.id, f"agent {command.agent} is not connected")


class ReplayTwice(Delivery):
    """A wake that waited is delivered twice."""

    async def on_connect(self, agent: str) -> "list[Command]":
        found = []
        for command in await self._outbox.unfinished(agent):
            waited = command.status == "pending" and command.action == "wake_session"
            found += [command] * (2 if waited else 1)
        return found


class ReplayCompleted(Delivery):
    """What an agent completed last is delivered again when it connects."""

    async def on_connect(self, agent: str) -> "list[Command]":
        completed = await self._outbox.finished(agent)
        return completed[-REPLAYED_AGAIN:] + await self._outbox.unfinished(agent)


class Backlog(Delivery):
    """What had not been finished at the connection is delivered in parts; what is new waits behind it."""

    def __init__(self, outbox: "Outbox") -> None:
        super().__init__(outbox)
        self._left: dict[str, set[str]] = {}

    async def on_connect(self, agent: str) -> "list[Command]":
        self._left[agent] = {command.id for command in await self._outbox.unfinished(agent)}
        return await self.afterwards(agent)

    async def afterwards(self, agent: str) -> "list[Command]":
        left = self._left[agent]
        if not left:
            return await self._outbox.pending(agent)
        open_ones = await self._outbox.unfinished(agent)
        under_way = [command for command in open_ones if command.id not in left and command.status != "pending"]
        waiting = [command for command in open_ones if command.id in left]
        part = await self.next_part(waiting, under_way)
        left.intersection_update({command.id for command in waiting} - {command.id for command in part})
        return part

    async def next_part(self, waiting: "list[Command]", under_way: "list[Command]") -> "list[Command]":
        """Of what waits what is delivered now; `under_way` is what was delivered before."""
        raise NotImplementedError


class StopsFirst(Backlog):
    """Stops have priority: what waited before them is delivered once they are done."""

    async def next_part(self, waiting: "list[Command]", under_way: "list[Command]") -> "list[Command]":
        if under_way:
            return []
        return [command for command in waiting if command.action == STOP] or waiting


class NewestFirst(Backlog):
    """A stack instead of a queue: one command after the other, the newest first."""

    async def next_part(self, waiting: "list[Command]", under_way: "list[Command]") -> "list[Command]":
        return [] if under_way else waiting[-1:]


class Trickle(Backlog):
    """Redelivery is throttled: one command, a pause, the next one, however many there are."""

    async def next_part(self, waiting: "list[Command]", under_way: "list[Command]") -> "list[Command]":
        del under_way
        await asyncio.sleep(PAUSE_S)
        return waiting[:1]


class SentToNobody(Delivery):
    """A command is marked as sent when it is accepted, whether or not there is anybody to send it to."""

    async def while_away(self, command: "Command") -> None:
        await self._outbox.database.do(
            "update agent_commands set status = 'sent', sent_at = %(now)s, updated_at = %(now)s where command_id = %(id)s",
            {"now": now(), "id": command.id},
        )


class RefusedButQueued(Delivery):
    """That the agent is away is noticed after the command was stored: the caller is told no, and the command waits."""

    async def while_away(self, command: "Command") -> None:
        raise Refused(409, "Agent not connected", f"agent {command.agent} is not connected")


class RefusedStartsQueued(Delivery):
    """The same for starts only: the refusal of a platform without agents, after the start was stored."""

    async def while_away(self, command: "Command") -> None:
        if command.action == START:
            raise no_agents()
