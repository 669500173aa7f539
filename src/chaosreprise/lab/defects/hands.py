"""Defects in how an agent acts: on everything that comes, on what it once knew, or later than it says."""

import asyncio
import contextlib
import pathlib
from typing import ClassVar

from chaosreprise.errors import RepriseError
from chaosreprise.lab.hands import PING_LIMIT_S, Done, Hands, Order, Slots
from chaosreprise.lab.interpreter import InterpreterLost, ping, run
from chaosreprise.procs import Incarnation
from chaosreprise.stack.protocol import Slot

MEMORY, NOTHING = "_reprise_memory", "None"  # what steps of ours leave in a session (`platform.steps`)
MIB = 1 << 20
PAUSE_S = 0.9  # below the time after which a lab counts as settled, so that a run waits for what is still to come


class CarelessHands(Hands):
    """Acts on each command that comes, whatever the slot's note says."""

    def applied(self, slot: Slot | None, order: Order) -> bool:
        del slot, order
        return False


class OwnNotes(Hands):
    """What was applied to a session is looked up once a connection, and then remembered. A wake makes what is not there."""

    def __init__(self, slots: Slots) -> None:
        super().__init__(slots)
        self._notes: dict[str, int] = {}

    def applied(self, slot: Slot | None, order: Order) -> bool:
        if self._notes.setdefault(order.session, slot.note if slot is not None else 0) >= order.seq:
            return True
        self._notes[order.session] = order.seq
        return False

    async def _apply(self, slot: Slot | None, order: Order) -> Slot | None:
        if order.action == "wake_session" and slot is not None and slot.state == "gone":
            return await self._slots.make(order.session, slot.gen, order.seq, slot.spec)
        return await super()._apply(slot, order)


class EndsByProcess(Hands):
    """A hibernation ends the process that the agent once started: if that has crashed, it is done, whatever runs instead."""

    known: ClassVar[dict[str, list[Incarnation]]] = {}

    async def do(self, order: Order) -> Done:
        if order.action == "hibernate_session" and await self._running(order.session) != self.known.get(order.session):
            return Done("hibernated", {})
        done = await super().do(order)
        self.known[order.session] = await self._running(order.session)
        return done

    async def _running(self, session: str) -> list[Incarnation]:
        slot = await self._slots.get(session)
        return [process.inc for process in slot.processes] if slot is not None else []


class HomeAnew(Hands):
    """A wake makes a new home, whether or not a persistent one was asked for."""

    def keeps_home(self, slot: Slot) -> bool:
        del slot
        return False


class HomeOfHoles(Hands):
    """A wake restores the files of a home at their size, and nothing of what stood in them."""

    async def _apply(self, slot: Slot | None, order: Order) -> Slot | None:
        if order.action == "wake_session" and slot is not None and slot.state == "down":
            _make_holes(pathlib.Path(slot.workspace))
        return await super()._apply(slot, order)


def _make_holes(home: pathlib.Path) -> None:
    for path in home.iterdir():
        with path.open("rb+") as file:
            file.write(bytes(path.stat().st_size))


class FirstCheckpoint(Hands):
    """What a session remembers is kept when it is hibernated for the first time, and each wake goes back to that."""

    kept: ClassVar[dict[str, str]] = {}

    async def do(self, order: Order) -> Done:
        if order.action == "hibernate_session" and order.session not in self.kept:
            self.kept[order.session] = await self._run(order.session, f"print(repr(globals().get({MEMORY!r})))")
        done = await super().do(order)
        if order.action == "wake_session" and (kept := self.kept.get(order.session, NOTHING)) != NOTHING:
            await self._run(order.session, f"{MEMORY} = {kept}")
        return done

    async def _run(self, session: str, code: str) -> str:
        if (slot := await self._slots.get(session)) is None:
            return NOTHING
        with contextlib.suppress(InterpreterLost):
            for process in slot.processes:
                said = await ping(process.host, process.port, slot.token, PING_LIMIT_S)
                said = await run(process.host, process.port, slot.token, said.life, "checkpoint", code, PING_LIMIT_S)
                return said.stdout.strip() or NOTHING
        return NOTHING


class NoLimits(Hands):
    """What a session may take is kept and shown, and not passed on to what runs it."""

    def limits(self, order: Order) -> dict[str, int]:
        del order
        return {}


class LimitsOfTheLast(Hands):
    """There is one place for what a session may take: the next one is made with what stands there, and then it is written."""

    last: ClassVar[dict[str, int]] = {}

    def limits(self, order: Order) -> dict[str, int]:
        own = super().limits(order)
        found = self.last or own
        type(self).last = own
        return found


class WholeMebibytes(Hands):
    """Memory is counted in whole MiB, and what is over is cut off."""

    def limits(self, order: Order) -> dict[str, int]:
        own = super().limits(order)
        return own | {"memory": own["memory"] // MIB * MIB}


class LaterStops(Hands):
    """A stop is reported as done when it has come; a collector ends one session after the other, with a pause after each."""

    def __init__(self, slots: Slots) -> None:
        super().__init__(slots)
        self._told: asyncio.Queue[Order] = asyncio.Queue()
        self._collector: asyncio.Task[None] | None = None

    async def do(self, order: Order) -> Done:
        if order.action != "stop_session":
            return await super().do(order)
        self._told.put_nowait(order)
        self._collector = self._collector or asyncio.create_task(self._collect())
        return Done("terminated", {})

    async def _collect(self) -> None:
        with contextlib.suppress(RepriseError):  # the connection is over, and what was told with it
            while True:
                order = await self._told.get()
                await super().do(order)
                await asyncio.sleep(PAUSE_S)
