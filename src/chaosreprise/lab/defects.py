"""Planted defects, so that a verdict of `false` can be seen to be earned: each breaks one promise, behind one seam.

A defect replaces the control plane's Delivery or the agents' Hands, or both, when the process starts; correct code does
not know of it. $REPRISE_LAB_DEFECT names it, and `prepare` writes that into the components' environment.
"""

import difflib
import os
from typing import TYPE_CHECKING, NamedTuple

from chaosreprise.errors import BadInput
from chaosreprise.lab.delivery import Delivery
from chaosreprise.lab.hands import Hands, Order

if TYPE_CHECKING:
    from chaosreprise.lab.outbox import Outbox
    from chaosreprise.lab.store import Command
    from chaosreprise.stack.protocol import Slot

VARIABLE = "REPRISE_LAB_DEFECT"
REPLAYED_AGAIN = 20  # enough to be seen, and over before the bounds of the commands that wait behind them


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


class CarelessHands(Hands):
    """Acts on each command that comes, whatever the slot's note says."""

    def applied(self, slot: "Slot | None", order: Order) -> bool:
        del slot, order
        return False


class Defect(NamedTuple):
    """One defect: which check finds it, under which label, in which experiment."""

    name: str
    check: str
    label: str | None
    experiment: str
    why: str
    delivery: type[Delivery] = Delivery
    hands: type[Hands] = Hands


_FAILOVER = "agent-failover"
DEFECTS = {
    defect.name: defect
    for defect in (
        Defect(
            "drop-queue", "lost", "stuck", _FAILOVER,
            "commands accepted while an agent is away are forgotten when it comes back, and stay pending for ever",
            delivery=DropQueue,
        ),
        Defect(
            "fail-when-away", "lost", "reported", _FAILOVER,
            "a command accepted for an agent that is away is closed as failed instead of waiting",
            delivery=FailWhenAway,
        ),
        Defect(
            "replay-twice", "duplicate", None, _FAILOVER,
            "a wake that waited for its agent is delivered and acted on twice: a second interpreter starts",
            delivery=ReplayTwice, hands=CarelessHands,
        ),
        Defect(
            "replay-completed", "duplicate", None, _FAILOVER,
            "commands completed before are delivered and acted on again when the agent comes back",
            delivery=ReplayCompleted, hands=CarelessHands,
        ),
    )
}  # fmt: skip
NONE = Defect("none", "", None, "", "the lab as it should be")


def chosen() -> Defect:
    """What $REPRISE_LAB_DEFECT names, for the processes of a lab."""
    return named(os.environ.get(VARIABLE))


def named(name: str | None) -> Defect:
    """The defect of this name, none for no name; BadInput for one that is not known."""
    if not name:
        return NONE
    if name in DEFECTS:
        return DEFECTS[name]
    near = difflib.get_close_matches(name, DEFECTS, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadInput(f"{VARIABLE} = {name!r}: no such defect: {hint}known are {', '.join(DEFECTS)}")
