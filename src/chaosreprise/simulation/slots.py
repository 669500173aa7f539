"""The world that commands act on: slots with generations and processes, and the two ledgers in which that stands.

As dumb as a cluster: it does what it is told, by compare-and-set on the generation. What it says is exact; who reads it
when is the business of `sources`.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaosreprise.clock import Clock
from chaosreprise.history import Effect
from chaosreprise.history.events import Mark

BACK_S = 0.1  # after which a process that died is started again
Touched = Callable[[str, Effect], None]


class Conflict(Exception):
    """The slot is of another generation by now."""


@dataclass
class Slot:
    """A place with one session's processes. `note`: the number of the last command that was applied."""

    name: str
    gen: int = 0
    state: str = "gone"
    note: int = 0
    processes: list[list[Any]] = field(default_factory=list)


class Slots:
    def __init__(self, clock: Clock, write: Touched) -> None:
        self._clock, self._write = clock, write
        self._slots: dict[str, Slot] = {}
        self._pids = itertools.count(100)
        self.ended: Callable[[str], None] = lambda _: None  # who is told that a process has ended

    def get(self, name: str) -> Slot:
        return self._slots.setdefault(name, Slot(name))

    def process(self, name: str) -> list[Any] | None:
        """The newest process of a slot."""
        processes = self.get(name).processes
        return processes[-1] if processes else None

    def make(self, name: str, gen: int, note: int, key: str) -> None:
        slot = self._changed(name, gen, "up", note)
        self._mark(slot, "made", None, key)
        self.begin(slot)

    def up(self, name: str, gen: int, note: int) -> None:
        self.begin(self._changed(name, gen, "up", note))

    def down(self, name: str, gen: int, note: int) -> None:
        self._end(self._changed(name, gen, "down", note))

    def gone(self, name: str, gen: int, note: int) -> None:
        was = self.get(name).state
        slot = self._changed(name, gen, "gone", note)
        if was == "up":
            self._end(slot)
        self._mark(slot, "gone", None)

    def crash(self, name: str) -> list[Any] | None:
        """Its newest process dies by itself, and comes back unless the slot has changed by then."""
        slot = self.get(name)
        if not slot.processes:
            return None
        dead, gen = slot.processes.pop(), slot.gen
        self._mark(slot, "crash", dead)
        self.ended(name)
        asyncio.get_running_loop().call_later(BACK_S, self.begin_again, slot, gen)
        return dead

    def step(self, session: str, mark: Mark, key: str, process: list[Any]) -> None:
        now = self._clock.now()
        self._write(
            "workspaces",
            Effect(
                lo=now, hi=now, ledger="workspaces", object=session, session=session, mark=mark, key=key, inc=process
            ),
        )

    def begin(self, slot: Slot, mark: Mark = "up") -> None:
        """One more process."""
        slot.processes.append(["virtual", 1, next(self._pids), slot.gen])
        self._mark(slot, mark, slot.processes[-1])

    def begin_again(self, slot: Slot, gen: int) -> None:
        """One more process, unless the slot has changed since."""
        if slot.gen == gen:
            self.begin(slot, "back")

    def _end(self, slot: Slot) -> None:
        for process in slot.processes:
            self._mark(slot, "down", process)
        if not slot.processes:
            self._mark(slot, "down", None)
        slot.processes = []
        self.ended(slot.name)

    def _changed(self, name: str, gen: int, state: str, note: int) -> Slot:
        slot = self.get(name)
        if slot.gen != gen:
            raise Conflict(name)
        slot.gen, slot.state, slot.note = gen + 1, state, note
        return slot

    def _mark(self, slot: Slot, mark: Mark, process: list[Any] | None, key: str | None = None) -> None:
        now = self._clock.now()
        effect = Effect(
            lo=now,
            hi=now,
            ledger="slots",
            object=slot.name,
            session=slot.name,
            mark=mark,
            gen=slot.gen,
            inc=process,
            key=key,
        )
        self._write("slots", effect)
