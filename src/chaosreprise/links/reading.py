"""How one direction of a connection is cut into units (messages of whatever protocol) without ever holding up a byte for it.

A reader's `step` gets bytes that begin a unit and says how many of them it has read; what follows of the unit and interests nobody
it leaves to `left`. Bytes of a unit that is not there yet wait here, as a copy: the bytes themselves have gone on. Only under
a toxic that acts on messages (`cut`) do they wait for the rest of their message, since that may be the one that is meant.
"""

from collections.abc import Callable
from typing import NamedTuple

from chaosreprise.links.units import Chunk, Frame

LIMIT = 64 * 1024  # bytes of a message that are looked at; a longer one is told with its size, and no toxic bites it
TO_THE_END = 2**62  # of what has no boundary any more

Step = Callable[[bytes, int], int]


class Blind(Exception):
    """Why nothing more of a connection can be read; `what` is what the feed tells."""

    what = "blind"


class Encrypted(Blind):
    what = "encrypted"


class Attention:
    """Who looks at the connections of a proxy: `watched` is for the feed, `armed` for toxics that act on messages."""

    def __init__(self) -> None:
        self.watched = self.armed = False
        self.is_keen = False  # either: somebody wants to know what a message says, not only where it ends

    def set(self, watched: bool, armed: bool) -> None:
        self.watched, self.armed, self.is_keen = watched, armed, watched or armed


class Mark(NamedTuple):
    """Up to `at` the bytes belong to `frame`; None is what no toxic is interested in."""

    at: int
    frame: Frame | None
    ends: bool


class Side:
    """One direction. `told` gets each frame when its last byte has come, `failed` the reason when nothing can be read any more."""

    def __init__(self, step: Step, told: Callable[["Side", Frame], None], failed: Callable[[Blind], None]) -> None:
        self.step = step
        self.holds = False  # whether units of this protocol can be bitten, and so wait until they are whole
        self.left = 0
        self.frame: Frame | None = None
        self.stamp = 0
        self._told, self._failed = told, failed
        self._rest = bytearray()
        self._need = 1
        self._passed = 0  # how many bytes of `_rest` have gone on already

    def become(self, step: Step, holds: bool) -> None:
        """Another protocol from the next unit on."""
        self.step, self.holds = step, holds

    def wants(self, count: int) -> int:
        """What `step` returns while the unit is not there: it needs `count` bytes of it."""
        self._need = count
        return 0

    @property
    def is_between(self) -> bool:
        """Nothing has gone on of a unit that is not whole."""
        return not self.left and not self._passed

    @property
    def is_empty(self) -> bool:
        return not self._rest and not self.left

    def saw(self, data: bytes, stamp: int) -> None:
        """These bytes pass."""
        self._read(data, stamp, None)
        self._passed = len(self._rest)

    def skipped(self, count: int) -> None:
        """So many bytes passed of what is left of the unit."""
        self.left -= count
        if not self.left:
            self._unit_ends()

    def cut(self, data: bytes, stamp: int) -> list[Chunk]:
        """These bytes, and those that waited, as far as they may go on."""
        passed, marks = self._passed, list[Mark]()
        whole = self._read(data, stamp, marks)
        chunks, at = [], passed
        for mark in marks:
            begun = 0 < passed == at  # the beginning of this unit has gone on already
            chunks.append(Chunk(whole[at : mark.at], stamp, None if begun else mark.frame, mark.ends))
            at = mark.at
        self._passed = 0 if marks else passed
        return chunks if self.holds else chunks + self.release(stamp)

    def release(self, stamp: int = 0) -> list[Chunk]:
        """What waits for the rest of its unit."""
        waiting, self._passed = bytes(self._rest[self._passed :]), len(self._rest)
        return [Chunk(waiting, stamp, None, False)] if waiting else []

    def give_up(self) -> None:
        """What comes from now on is not looked at."""
        self.left, self.frame = TO_THE_END, None

    def _read(self, data: bytes, stamp: int, marks: list[Mark] | None) -> bytes:
        """All units that are there; `marks` gets where each ends in what is returned. One loop: it runs for every message."""
        self.stamp = stamp
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need and not self.left:
                return b""
            data, self._rest = bytes(self._rest), bytearray()
        at, end = 0, len(data)
        while at < end:
            if self.left:
                taken = min(self.left, end - at)
                self.left -= taken
            elif not (taken := self._step(data, at)):
                self._rest += data[at:]
                break
            at += taken
            if marks is not None:
                _mark(marks, at, self.frame, not self.left)
            if not self.left and self.frame:
                self._unit_ends()
        return data

    def _step(self, data: bytes, at: int) -> int:
        try:
            return self.step(data, at)
        except Blind as reason:
            self._failed(reason)
        except Exception as error:  # noqa: BLE001  a mistake of a reader must not end the links of all
            self._failed(Blind(f"reading it failed ({error!r}): this is a mistake of Reprise"))
        self.give_up()
        self.left -= len(data) - at
        return len(data) - at

    def _unit_ends(self) -> None:
        frame, self.frame = self.frame, None
        if frame and frame.complete:
            self._told(self, frame)


def _mark(marks: list[Mark], at: int, frame: Frame | None, ends: bool) -> None:
    """What interests nobody is kept together."""
    if marks and marks[-1].frame is None is frame:
        marks.pop()
    marks.append(Mark(at, frame, ends))
