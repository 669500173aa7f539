"""How an agent acts on slots, so that a command that comes again acts once. A seam for planted defects.

A slot's `note` is the number of the last command that was applied to it. A command whose number is not above it has been
applied already, by this agent or its former life, and only its end is reported. What is applied writes its number in the
same step, by compare-and-set on the generation: of two lives of an agent that act at once, one finds the other's note.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol

from chaosreprise.errors import RepriseError
from chaosreprise.lab import quota
from chaosreprise.lab.interpreter import InterpreterLost, ping
from chaosreprise.lab.log import LabLog
from chaosreprise.stack.client import Conflict
from chaosreprise.stack.protocol import Process, Slot

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
    def make(
        self, slot: str, gen: int, note: Any = None, spec: Any = None, limits: dict[str, int] | None = None
    ) -> Awaitable[Slot]: ...
    def up(self, slot: str, gen: int, note: Any = None, anew: bool = False) -> Awaitable[Slot]: ...
    def down(self, slot: str, gen: int, note: Any = None) -> Awaitable[Slot]: ...
    def gone(self, slot: str, gen: int, note: Any = None) -> Awaitable[Slot]: ...


class LoggedSlots:
    """The keeper, with each change written into the lab's own log: when it was asked for, and when it was surely made.

    That is no ledger, and no check reads it. A log that can't be written stops nobody.
    """

    def __init__(self, slots: Slots, log: LabLog, agent: str) -> None:
        self._slots, self._log, self._agent = slots, log, agent

    async def get(self, slot: str) -> Slot | None:
        return await self._slots.get(slot)

    async def make(
        self, slot: str, gen: int, note: Any = None, spec: Any = None, limits: dict[str, int] | None = None
    ) -> Slot:
        return await self._logged("make", slot, self._slots.make(slot, gen, note, spec, limits))

    async def up(self, slot: str, gen: int, note: Any = None, anew: bool = False) -> Slot:
        return await self._logged("up", slot, self._slots.up(slot, gen, note, anew))

    async def down(self, slot: str, gen: int, note: Any = None) -> Slot:
        return await self._logged("down", slot, self._slots.down(slot, gen, note))

    async def gone(self, slot: str, gen: int, note: Any = None) -> Slot:
        return await self._logged("gone", slot, self._slots.gone(slot, gen, note))

    async def _logged(self, do: str, slot: str, change: Awaitable[Slot]) -> Slot:
        asked = time.monotonic_ns()
        made = await change
        with contextlib.suppress(OSError):
            self._log.write("slot-changed", agent=self._agent, slot=slot, do=do, asked=asked)
        return made


class Order(NamedTuple):
    """A command as an agent understands it."""

    session: str
    action: str
    seq: int
    payload: dict[str, Any]


def order_of(action: str, payload: dict[str, Any]) -> Order:
    """Raises CommandFailed for a command that names no session of this agent, or has nothing to make one of."""
    if "seq" not in payload:
        raise CommandFailed(f"{payload.get('sessionId') or 'no session'}: this agent has no such session")
    if action == "start_session" and not (payload["templateManifest"].get("spec") or {}).get("baseImage"):
        raise CommandFailed(f"template {payload['template']} has no spec.baseImage")
    return Order(payload["sessionId"], action, payload["seq"], payload)


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

    def keeps_home(self, slot: Slot) -> bool:
        """Whether a wake finds the files that were there before the hibernation."""
        return bool(slot.spec["persistentHome"])

    def limits(self, order: Order) -> dict[str, int]:
        """How much a session that is started may take: bytes of memory, and thousandths of a processor."""
        asked = quota.size(order.payload["cpu"], order.payload["memory"])
        return {"memory": int(asked.memory), "cpu": int(asked.millicpu)}

    async def _apply(self, slot: Slot | None, order: Order) -> Slot | None:
        absent = slot is None or slot.state == "gone"
        gen = slot.gen if slot is not None else 0
        match order.action:
            case "start_session":
                spec = {"session": order.session} | {name: order.payload[name] for name in SPEC}
                return await self._slots.make(order.session, gen, order.seq, spec, self.limits(order))
            case "wake_session" if absent:
                raise CommandFailed(f"session {order.session} has no slot to wake")
            case "wake_session":
                assert slot is not None
                return await self._slots.up(order.session, gen, order.seq, anew=not self.keeps_home(slot))
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
                    said = await ping(process.host, process.port, slot.token, PING_LIMIT_S)
                    return _pod(slot, process, said.life)
            await asyncio.sleep(ASK_AGAIN_S)
        raise CommandFailed(f"session {session} did not answer {TRIES} times")


def _pod(slot: Slot, process: Process, life: str) -> dict[str, Any]:
    where = {"podName": f"{slot.slot}-{slot.gen}", "podIP": process.host, "port": process.port}
    return where | {"token": slot.token, "life": life}
