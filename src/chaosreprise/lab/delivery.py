"""What is delivered to an agent, and when. A seam for planted defects.

The rule: everything that an agent has not finished is delivered again, in order, each time it connects; afterwards what
is new; what is accepted while it is away waits. That an agent acts once on what comes twice is its own business (`hands`).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosreprise.lab.outbox import Outbox
    from chaosreprise.lab.store import Command


class Delivery:
    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox

    async def on_connect(self, agent: str) -> "list[Command]":
        return await self._outbox.unfinished(agent)

    async def afterwards(self, agent: str) -> "list[Command]":
        return await self._outbox.pending(agent)

    async def while_away(self, command: "Command") -> None:
        """A command was accepted and its agent is not connected: it waits as pending."""
