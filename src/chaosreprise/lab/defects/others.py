"""Defects of a control plane that is not the only one: what it remembers of the others, for ever."""

from typing import TYPE_CHECKING, ClassVar

from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.others import Others

if TYPE_CHECKING:
    from chaosreprise.lab.store import Command


class RoutesForEver(Others):
    """Which agents another control plane has, kept in this process's memory: once learned, never learned anew."""

    elsewhere: ClassVar[set[str]] = set()

    async def told(self, agent: str) -> bool:
        if await super().told(agent):
            self.elsewhere.add(agent)
        return agent in self.elsewhere


class OthersDeliver(Delivery):
    """What waits for an agent of another control plane is left to that one, also when the agent has come over."""

    async def on_connect(self, agent: str) -> "list[Command]":
        return [] if agent in RoutesForEver.elsewhere else await super().on_connect(agent)

    async def afterwards(self, agent: str) -> "list[Command]":
        return [] if agent in RoutesForEver.elsewhere else await super().afterwards(agent)
