"""How an agent acts on slots, so that a command that comes again acts once. A seam for planted defects.

A slot's `note` is the number of the last command that was applied to it. A command whose number is not above it has been
applied already, by this agent or its former life, and only its end is reported. What is applied writes its number in the
same step, by compare-and-set on the generation: of two lives of an agent that act at once, one finds the other's note.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol

from chaosreprise.errors import RepriseError
from chaosreprise.lab.interpreter import InterpreterLost, ping
from chaosreprise.stack.client import Conflict
from chaosreprise.stack.protocol import Slot

ASK_AGAIN_S = 0.05
TRIES = 1200  # a minute of this agent's own time, whatever the clock says: frozen agents are not out of patience
PING_LIMIT_S = 5.0
SPEC = ("user", "template", "memory", "cpu", "maxSessionDuration", "idleTimeout", "tags", "persistentHome")
STATES = {"up": "running", "down": "hibernated", "gone": "terminated"}


class CommandFailed(RepriseError):
    """The command can't be done; its message goes into the command's row."""


class Slots(Protocol):
    """The part of the keeper that an agent uses."""

    def get(self, slot: str) -> Awaitable[Slot | None]: ...
    def make(self, slot: str, gen: int, note: Any = None, spec: Any = None) -> Awaitable[Slot]: ...
    def up(self, slot: str, gen: int, note: Any = None) -> Awaitable[Slot]: ...
    def down(self, slot: str, gen: int, note: Any = None) -> Awaitable[Slot]: ...
    def gone(self, slot: str, gen: int, note: Any = None) -> Awaitable[Slot]: ...


class Order(NamedTuple):
    """A command as an agent understands it."""

    session: str
    action: str
    seq: int
    payload: dict[str, Any]


class Done(NamedTuple):
    """The state to report, and where the session's interpreter listens."""

    state: str
    pod: dict[str, Any]


class Hands:
    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    async def do(self, order: Order) -> Done:
        """Apply a command, once whatever happens, and wait until its session answers if it should. Raises RepriseError."""
        slot = await self._slots.get(order.session)
        while not self.applied(slot, order):
            try:
                slot = await self._apply(slot, order)
                break
            except Conflict as conflict:
                slot = conflict.slot
        if slot is None or slot.state != "up":
            return Done(STATES[slot.state if slot else "gone"], {})
        return Done("running", await self._answering(order.session))

    def applied(self, slot: Slot | None, order: Order) -> bool:
        """Whether this command, or a later one, is in the slot already."""
        return slot is not None and slot.note >= order.seq

    async def _apply(self, slot: Slot | None, order: Order) -> Slot | None:
        absent = slot is None or slot.state == "gone"
        gen = slot.gen if slot is not None else 0
        match order.action:
            case "start_session":
                spec = {"session": order.session} | {name: order.payload[name] for name in SPEC}
                return await self._slots.make(order.session, gen, order.seq, spec)
            case "wake_session" if absent:
                raise CommandFailed(f"session {order.session} has no slot to wake")
            case "wake_session":
                return await self._slots.up(order.session, gen, order.seq)
            case "hibernate_session" | "stop_session" if absent:
                return slot  # what is not there needs no ending
            case "hibernate_session":
                return await self._slots.down(order.session, gen, order.seq)
            case "stop_session":
                return await self._slots.gone(order.session, gen, order.seq)
        raise CommandFailed(f"no such action: {order.action}")

    async def _answering(self, session: str) -> dict[str, Any]:
        """Where the newest interpreter of a slot listens, once it answers. One that crashes is looked up again."""
        for _ in range(TRIES):
            slot = await self._slots.get(session)
            if slot is None or slot.state != "up":
                return {}
            for process in slot.processes[-1:]:
                with contextlib.suppress(InterpreterLost):
                    said = await ping(process.port, slot.token, PING_LIMIT_S)
                    return _pod(slot, process.port, said.life)
            await asyncio.sleep(ASK_AGAIN_S)
        raise CommandFailed(f"session {session} did not answer {TRIES} times")


def _pod(slot: Slot, port: int, life: str) -> dict[str, Any]:
    return {"podName": f"{slot.slot}-{slot.gen}", "podIP": "127.0.0.1", "port": port, "token": slot.token, "life": life}
