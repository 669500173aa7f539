"""One direction of one connection: from one socket, through the toxics of the moment, to the other.

Without toxics a read goes straight to a write: a little through a buffer, a stream through a pipe without copying. What the
receiver does not take waits in the sink, and nothing more is read until it is gone. So a toxic that is added on an
established connection has nothing to take over: earlier bytes are in the sink before it, later ones still in the socket.

Where somebody reads along (`side`), bytes are looked at once they have gone on, and what belongs to a large message or body
may still go through a pipe. Toxics that act on messages stand before all others, since behind those nothing is one any more.
"""

import time
from collections.abc import Callable, Iterable

from chaosreprise.links.loop import Loop
from chaosreprise.links.pipes import SIZE, Spares
from chaosreprise.links.reading import Side
from chaosreprise.links.sink import End, Sink
from chaosreprise.links.stage import CUT, END, REFUSED, Stage, Toxic
from chaosreprise.links.talk import Talk
from chaosreprise.links.units import Chunk

CHUNK = 32 * 1024  # bytes a toxic gets at most, as in the real server
LITTLE = 16 * 1024  # bytes; a read that brings as many is the sign of a stream worth a pipe


class Flow:
    """`over` is told once how the direction ended: END behind its last byte, CUT, or REFUSED: nobody takes its bytes any more."""

    scratch = memoryview(bytearray(CHUNK))
    spares = Spares()

    def __init__(self, source: End, target: End, loop: Loop, over: Callable[[str], None]) -> None:
        self.source, self.sink = source, Sink(target, self.spares)
        self.talk: Talk | None = None
        self.side: Side | None = None
        self.stages: list[Stage] = []
        self.received = 0
        self.is_over = False
        self._loop, self._over = loop, over
        self._read_all = False
        self._is_stream = False

    def begin(self, toxics: Iterable[Toxic]) -> None:
        for toxic in toxics:
            self._insert(self._place(toxic), toxic)
        self.settle()

    def listen(self, talk: Talk | None, side: Side | None) -> None:
        """From now on; with None not any more, and what waited for the rest of its message goes on."""
        if self.side and not side:
            self._release(self.side)
        self.talk, self.side = talk, side

    def readable(self) -> None:
        try:
            if self.stages:
                self._read_chunk()
            elif self._is_stream and (self.side is None or self.side.left >= LITTLE):
                self._move_stream()
            else:
                self._move_little()
        except BlockingIOError:
            return
        except OSError:  # the source was reset; what is under way still goes on, as in the real server
            self._source_ended(CUT)

    def pump(self) -> None:
        """Let everything move that can."""
        moved = True
        while moved and not self.is_over:
            moved = blocked = False
            for stage in self.stages:
                moved |= stage.advance()
                blocked |= stage.is_blocked
            try:
                moved |= self.sink.flush()
            except OSError:
                self._end(REFUSED)
            moved &= blocked
        self.settle()

    def settle(self) -> None:
        """Watch what has to happen next; the end comes behind the last byte."""
        if self.is_over:
            return
        idle = self.sink.is_empty()
        room = self.stages[0].room() if self.stages else idle
        self.source.reads(room and not self._read_all)
        self.sink.end.writes(not idle)
        if idle and self.sink.ended:
            self._end(self.sink.ended)

    def add(self, toxic: Toxic) -> None:
        at = self._place(toxic)
        before = self.stages[at - 1] if at else None
        if before.interrupt() if before else not self._read_all:
            self._insert(at, toxic)
            if before:
                before.start()
        self.pump()

    def update(self, toxic: Toxic) -> None:
        stage = self._stage_of(toxic)
        if stage and stage.interrupt():
            stage.start()
        self.pump()

    def remove(self, toxic: Toxic) -> None:
        stage = self._stage_of(toxic)
        if stage and stage.interrupt():
            if toxic.attributes.cuts_when_removed:
                stage.close(CUT)
            else:
                self._take_out(stage)
        if self.side and not self._on_messages:
            self._release(self.side)
        self.pump()

    def close(self) -> None:
        self.is_over = True
        for stage in self.stages:
            stage.closed = True
        self.sink.close()

    def _stage_of(self, toxic: Toxic) -> Stage | None:
        return next((stage for stage in self.stages if stage.toxic is toxic), None)

    @property
    def _on_messages(self) -> int:
        """How many of the stages, the first ones, act on messages."""
        return sum(stage.toxic.attributes.on_messages for stage in self.stages)

    def _place(self, toxic: Toxic) -> int:
        return self._on_messages if toxic.attributes.on_messages else len(self.stages)

    def _insert(self, at: int, toxic: Toxic) -> None:
        before = self.stages[at - 1] if at else None
        is_between = before.state.is_between if before else self.side is not None and self.side.is_between
        after = self.stages[at] if at < len(self.stages) else self.sink
        stage = Stage(toxic, after, self._loop, self.pump, self.talk, is_between)
        if before:
            before.next = stage
        self.stages.insert(at, stage)
        stage.start()

    def _release(self, side: Side) -> None:
        for chunk in side.release(time.monotonic_ns()):
            (self.stages[0] if self.stages else self.sink).push(chunk)

    def _take_out(self, stage: Stage) -> None:
        """What waits before the stage goes on untouched, the one before it starts anew."""
        at = self.stages.index(stage)
        before = self.stages[at - 1] if at else None
        goes_on = before is not None and before.interrupt()
        for chunk in stage.inbox:
            stage.next.push(chunk)
        stage.next.ended = stage.ended
        del self.stages[at]
        if before:
            before.next = stage.next
            if goes_on:
                before.start()

    def _read_chunk(self) -> None:
        count = self.source.recv_into(self.scratch)
        if not count:
            self._source_ended(END)
            return
        self.received += count
        data, stamp = bytes(self.scratch[:count]), time.monotonic_ns()
        if self.side and self.stages[0].toxic.attributes.on_messages:
            for chunk in self.side.cut(data, stamp):
                self.stages[0].push(chunk)
        else:
            self.stages[0].push(Chunk(data, stamp))
            if self.side:
                self.side.saw(data, stamp)
        self.pump()

    def _move_little(self) -> None:
        count = self.source.recv_into(self.scratch, LITTLE)
        if not count:
            self._source_ended(END)
            return
        self.received += count
        self._is_stream = count == LITTLE
        stamp = time.monotonic_ns() if self.side else 0
        try:
            taken = self.sink.end.send(self.scratch[:count])
        except BlockingIOError:
            taken = 0
        except OSError:
            self._end(REFUSED)
            return
        self.sink.sent += taken
        if taken < count:
            self.sink.push(Chunk(bytes(self.scratch[taken:count]), 0))
            self.settle()
        if self.side:
            self.side.saw(bytes(self.scratch[:count]), stamp)

    def _move_stream(self) -> None:
        try:
            pipe = self.spares.take()
        except OSError:  # no descriptor left
            self._move_little()
            return
        try:
            count = pipe.fill(self.source.fd, min(self.side.left, SIZE) if self.side else SIZE)
        except OSError:
            self._is_stream = False
            self.spares.give(pipe)
            raise
        self.received += count
        self._is_stream = count >= LITTLE
        if self.side:
            self.side.skipped(count)
        self.sink.pipe = pipe
        try:
            self.sink.flush()
        except OSError:
            self._end(REFUSED)
            return
        if not count:
            self._source_ended(END)
        elif self.sink.pipe:
            self.settle()

    def _source_ended(self, how: str) -> None:
        self._read_all = True
        if self.side:
            self._release(self.side)
        (self.stages[0] if self.stages else self.sink).ended = how
        self.pump()

    def _end(self, how: str) -> None:
        self.is_over = True
        if how == REFUSED:
            self.source.reads(False)
            self.sink.end.writes(False)
        self._over(how)
