"""The toxics of Toxiproxy 2.12, one class each: its attributes, and what it does with the chunks of one direction.

`NoOp` is the smallest and teaches the rest; the words of `pipe` are those of stage.py. Numbers that make the real server crash
(slices of no size, a rate below 0) are taken as harmless ones; docs/links.md lists what differs.
"""

import dataclasses
import random
import time
from collections.abc import Iterator
from typing import ClassVar

from chaosreprise.clock import MS
from chaosreprise.links.stage import (
    CUT,
    END,
    FOR_EVER,
    LATE,
    TAKE,
    Behaviour,
    Interrupted,
    Put,
    Sleep,
    State,
    Take,
)
from chaosreprise.links.units import Chunk

US = 1_000
TICK_MS = 100  # a slow `bandwidth` puts a piece ten times a second


@dataclasses.dataclass
class NoOp:
    """Passes everything on."""

    buffer: ClassVar[int] = 0  # chunks that may wait before it, beside the one it works on
    cuts_when_removed: ClassVar[bool] = False
    resets: ClassVar[bool] = False  # connections made while it is there end with a reset
    on_messages: ClassVar[bool] = (
        False  # it gets messages one by one, where they can be read; before all that get bytes
    )
    only: ClassVar[str] = ""  # the one direction in which it makes sense

    def wrong(self) -> str:
        """What is wrong with its attributes; none of Toxiproxy's refuses any."""
        return ""

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        while chunk := (yield TAKE):
            yield Put(chunk)
        return END


@dataclasses.dataclass
class Latency(NoOp):
    """Delays by `latency` +/- `jitter` milliseconds, counted from a chunk's arrival."""

    buffer: ClassVar[int] = 1024
    latency: int = 0
    jitter: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        while chunk := (yield TAKE):
            spread = random.randrange(-self.jitter, self.jitter) if self.jitter > 0 else 0
            wait = (self.latency + spread) * MS - (time.monotonic_ns() - chunk.stamp)
            try:
                yield Sleep(wait)
            except Interrupted:
                yield Put(chunk)
                raise
            chunk.stamp += wait
            yield Put(chunk)
        return END


@dataclasses.dataclass
class Bandwidth(NoOp):
    """Passes on at most `rate` KB a second; at 0 it freezes, and delivers what it holds when it is changed."""

    rate: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        owed = 0  # nanoseconds, carried on so that a late timer is made good
        while chunk := (yield TAKE):
            try:
                if self.rate <= 0:
                    yield Sleep(FOR_EVER)
                owed += len(chunk.data) * MS // self.rate
                while len(chunk.data) > self.rate * TICK_MS:
                    yield Sleep(TICK_MS * MS)
                    owed -= TICK_MS * MS
                    piece, chunk.data = chunk.data[: self.rate * TICK_MS], chunk.data[self.rate * TICK_MS :]
                    yield Put(Chunk(piece, chunk.stamp))
                began = time.monotonic_ns()
                yield Sleep(owed)
                owed -= time.monotonic_ns() - began
            except Interrupted:
                yield Put(chunk)
                raise
            yield Put(chunk)
        return END


@dataclasses.dataclass
class SlowClose(NoOp):
    """Passes everything on, and the end `delay` milliseconds late."""

    delay: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        while chunk := (yield TAKE):
            yield Put(chunk)
        yield Sleep(self.delay * MS)
        return END


@dataclasses.dataclass
class Timeout(NoOp):
    """Drops everything; closes the connection after `timeout` milliseconds without a byte, at 0 when it is removed."""

    cuts_when_removed: ClassVar[bool] = True
    timeout: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        take = Take(self.timeout * MS) if self.timeout > 0 else TAKE
        while chunk := (yield take):
            if chunk is LATE:
                return CUT
        return END


@dataclasses.dataclass
class ResetPeer(NoOp):
    """Closes the connection `timeout` milliseconds after the first bytes, and drops them."""

    resets: ClassVar[bool] = True
    timeout: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        yield TAKE
        yield Sleep(self.timeout * MS, firm=True)
        return CUT


@dataclasses.dataclass
class Slicer(NoOp):
    """Cuts chunks into slices of `average_size` +/- `size_variation` bytes, `delay` microseconds apart."""

    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    def pipe(self, state: State) -> Behaviour:  # noqa: ARG002
        while chunk := (yield TAKE):
            for start, end in self._slices(0, len(chunk.data)):
                yield Put(Chunk(chunk.data[start:end], chunk.stamp))
                try:
                    yield Sleep(self.delay * US)
                except Interrupted:
                    yield Put(Chunk(chunk.data[end:], chunk.stamp))
                    raise
        return END

    def _slices(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Halves, and halves of halves, until a slice is small enough: neither end gets larger ones than the other."""
        vary = max(self.size_variation, 0)
        if end - start - max(self.average_size, 1) <= vary:
            yield start, end
            return
        middle = start + (end - start) // 2 + (random.randrange(-vary, vary) if vary > 0 else 0)
        middle = min(max(middle, start + 1), end - 1)
        yield from self._slices(start, middle)
        yield from self._slices(middle, end)


@dataclasses.dataclass
class LimitData(NoOp):
    """Closes the connection after `bytes` bytes."""

    bytes: int = 0

    def pipe(self, state: State) -> Behaviour:
        while chunk := (yield TAKE):
            left = max(self.bytes - state.transmitted, 0)
            allowed = Chunk(chunk.data[:left], chunk.stamp)
            state.transmitted += len(allowed.data)
            yield Put(allowed)
            if state.transmitted >= self.bytes:
                return CUT
        return END


KINDS: dict[str, type[NoOp]] = {
    "noop": NoOp,
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slow_close": SlowClose,
    "timeout": Timeout,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "limit_data": LimitData,
}
