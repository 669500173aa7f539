"""An agent: one command at a time, in order, each applied once whatever comes twice; it keeps nothing of its own."""

import asyncio
import contextlib
import random

from chaosreprise.simulation.control import ControlPlane
from chaosreprise.simulation.link import Link, Said
from chaosreprise.simulation.rows import CommandRow
from chaosreprise.simulation.scenario import BACKOFF_S, NOTICED_S
from chaosreprise.simulation.slots import Conflict, Slot, Slots

FIRST_BACKOFF_S = 0.02
STATES = {"up": "running", "down": "hibernated", "gone": "terminated"}
ACTING_S = {"start": 0.010, "wake": 0.008, "hibernate": 0.006, "stop": 0.006}
ANSWERING_S = 0.015
OUTLIVES_S = 0.3
Asked = tuple[Slot, int, CommandRow]


class Agent:
    """`alive`: there is a process; `gate` is shut while it is frozen."""

    def __init__(self, name: str, control: ControlPlane, slots: Slots, drawn: random.Random) -> None:
        self.name = name
        self._control, self._slots, self._random = control, slots, drawn
        self._gate = asyncio.Event()
        self._gate.set()
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._asking: Asked | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def kill(self) -> None:
        """Its process ends; the control plane sees that a moment later, or misses it only after a while.

        What it was just asking for may still be done, after its death.
        """
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._gate.set()
        if (link := self._link) is not None:
            self._link = None
            link.cut()
            noticed = NOTICED_S if self._control.scenario.silent else self._random.uniform(0.0005, 0.01)
            asyncio.get_running_loop().call_later(noticed, self._control.lost, link)
        if self._asking is not None and self._random.random() < 0.5:
            asyncio.get_running_loop().call_later(self._random.uniform(0.0, OUTLIVES_S), self._posthumous, self._asking)
            self._asking = None

    def _posthumous(self, asked: Asked) -> None:
        with contextlib.suppress(Conflict):
            self.apply(*asked)

    def freeze(self) -> None:
        """It stands still; its connection stays until the control plane misses it."""
        self._gate.clear()
        if (link := self._link) is not None:
            asyncio.get_running_loop().call_later(NOTICED_S, self._missed, link)

    def _missed(self, link: Link) -> None:
        if not self._gate.is_set():
            self._control.lost(link)

    def thaw(self) -> None:
        self._gate.set()

    def drop_link(self) -> None:
        """Its connection breaks by itself."""
        if self._link is not None:
            self._control.lost(self._link)

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF_S
        await self._rest(self._random.uniform(0.0, 0.01))
        while True:
            self._link = self._control.accept(self.name)
            if self._link is not None:
                backoff = FIRST_BACKOFF_S
                await self._serve(self._link)
            await self._rest(backoff)
            backoff = min(2 * backoff, BACKOFF_S)

    async def _serve(self, link: Link) -> None:
        while (command := await link.receive()) is not None:
            await self._gate.wait()
            await self.handle(link, command)

    async def handle(self, link: Link, command: CommandRow) -> None:
        """One command, from its acknowledgement to its end."""
        link.say(Said("ack", command.id))
        state = await self.do(command)
        if state is None:
            link.say(Said("failed", command.id, f"session {command.session} has no slot to wake"))
            return
        link.say(Said("status", command.id, state))
        link.say(Said("complete", command.id))

    async def do(self, command: CommandRow) -> str | None:
        """Apply it, unless that has been done; the state that its session is in then, None when it can't be done."""
        slot = self._slots.get(command.session)
        while not self.applied(slot, command):
            gen = slot.gen
            self._asking = (slot, gen, command)
            await self._rest(self.acting(command))
            self._asking = None
            if slot.state == "gone" and command.op == "wake" and not self.revives:
                return None
            try:
                self.apply(slot, gen, command)
                break
            except Conflict:
                continue
        if slot.state == "up":
            await self._rest(ANSWERING_S * self._random.uniform(0.5, 1.5))
        return STATES[slot.state]

    revives = False  # a careless one wakes what is gone

    def acting(self, command: CommandRow) -> float:
        return ACTING_S[command.op] * self._random.uniform(0.5, 1.5)

    def applied(self, slot: Slot, command: CommandRow) -> bool:
        """Whether this command, or a later one, is in the slot already."""
        return slot.note >= command.seq

    def apply(self, slot: Slot, gen: int, command: CommandRow) -> None:
        note = max(slot.note, command.seq)
        match command.op:
            case "start":
                self._slots.make(slot.name, gen, note, command.key)
            case "wake":
                self._slots.up(slot.name, gen, note)
            case "hibernate" if slot.state != "gone":
                self._slots.down(slot.name, gen, note)
            case "stop" if slot.state != "gone":
                self._slots.gone(slot.name, gen, note)

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._control.scenario.slow)
        await self._gate.wait()
