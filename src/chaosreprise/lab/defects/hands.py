"""Defects in how an agent acts: on everything that comes, or later than it says."""

import asyncio
import contextlib

from chaosreprise.errors import RepriseError
from chaosreprise.lab.hands import Done, Hands, Order, Slots
from chaosreprise.stack.protocol import Slot

PAUSE_S = 0.8  # below the time after which a lab counts as settled, so that a run waits for what is still to come


class CarelessHands(Hands):
    """Acts on each command that comes, whatever the slot's note says."""

    def applied(self, slot: Slot | None, order: Order) -> bool:
        del slot, order
        return False


class CrashedIsHibernated(Hands):
    """A session without a process needs no hibernation, it is thought; but its supervisor is about to start it again."""

    async def do(self, order: Order) -> Done:
        slot = await self._slots.get(order.session)
        if order.action == "hibernate_session" and slot is not None and slot.state == "up" and not slot.processes:
            return Done("hibernated", {})
        return await super().do(order)


class LaterStops(Hands):
    """A stop is reported as done when it has come; a collector ends one session after the other, with a pause before each."""

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
                await asyncio.sleep(PAUSE_S)
                await super().do(order)
