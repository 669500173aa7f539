"""What a toxic is to one direction of one connection: a generator that takes chunks, sleeps and puts chunks.

A toxic's `pipe` reads like its model in Toxiproxy; this module runs it: `Take`, `Sleep` and `Put` are what it can ask
for. A change of the chain interrupts a stage, which raises `Interrupted` where it waits; it may put what it holds, and ends.
A stage that returns has closed its output: with END it passes on how its input ended, with CUT it closes the connection.
"""

import collections
import dataclasses
import random
import time
from collections.abc import Callable, Generator
from typing import Final, NamedTuple, Protocol

from chaosreprise.links.loop import Loop
from chaosreprise.links.talk import Talk
from chaosreprise.links.units import Chunk, Frame

END: Final = "end"  # the source has sent its last byte
CUT: Final = "cut"  # the connection is to be closed behind the bytes already under way
RESET: Final = "reset"  # likewise, with a reset of both ends
REFUSED: Final = "refused"  # the receiver takes nothing any more; the other direction may still have something to say


class Interrupted(Exception):
    """The chain of toxics changes."""


class Take(NamedTuple):
    """The next chunk; None when the input has ended; LATE when nothing came within this time."""

    within_ns: int | None = None


class Sleep(NamedTuple):
    ns: int
    firm: bool = False  # not to be interrupted


class Put(NamedTuple):
    chunk: Chunk


LATE: Final = Chunk(b"", 0)
TAKE: Final = Take()
FOR_EVER: Final = 2**62
Behaviour = Generator[Take | Sleep | Put, Chunk | None, str]


class Tally:
    """Of a toxic that acts on messages, over all connections: how many it was meant for, and how many it has hit."""

    def __init__(self) -> None:
        self.seen = self.bitten = 0


class State:
    """What a stage keeps of its connection while its toxic is changed, and what it may know of it."""

    def __init__(self, toxic: "Toxic", talk: Talk | None, is_between: bool) -> None:
        self.transmitted = 0
        self.talk = talk
        self.is_between = is_between  # what it has passed on ends with a message
        self._toxic = toxic

    @property
    def is_upstream(self) -> bool:
        return self._toxic.is_upstream

    @property
    def is_websocket(self) -> bool:
        return self.talk is not None and self.talk.protocol == "websocket" and self.talk.blind is None

    @property
    def tally(self) -> Tally:
        return self._toxic.tally

    def bite(self, did: str, frame: Frame | None = None) -> None:
        self.tally.bitten += 1
        if self.talk:
            self.talk.bitten(self._toxic.name, did, self.is_upstream, frame)


class Attributes(Protocol):
    """A toxic's settings and behaviour; toxics.py has them all."""

    @property
    def buffer(self) -> int: ...
    @property
    def cuts_when_removed(self) -> bool: ...
    @property
    def resets(self) -> bool: ...
    @property
    def on_messages(self) -> bool: ...
    def pipe(self, state: State) -> Behaviour: ...


@dataclasses.dataclass(eq=False)
class Toxic:
    attributes: Attributes
    name: str
    type: str
    stream: str
    toxicity: float
    tally: Tally = dataclasses.field(default_factory=Tally)
    clients: tuple[str, ...] = ()  # of the connections that it is on; empty: of all, also those made later

    def is_on(self, client: str) -> bool:
        return not self.clients or client in self.clients

    @property
    def is_upstream(self) -> bool:
        return self.stream.lower() == "upstream"


class Next(Protocol):
    """Where a stage puts its chunks: the next stage, or the socket."""

    ended: str | None

    def room(self) -> bool: ...
    def push(self, chunk: Chunk) -> None: ...


def _pass_on(_state: State) -> Behaviour:
    """What a toxic is to a connection that its toxicity has spared."""
    while chunk := (yield TAKE):
        yield Put(chunk)
    return END


class Stage:
    def __init__(
        self, toxic: Toxic, after: Next, loop: Loop, pump: Callable[[], None], talk: Talk | None, is_between: bool
    ) -> None:
        self.toxic = toxic
        self.next = after
        self.inbox: collections.deque[Chunk] = collections.deque()
        self.ended: str | None = None
        self.closed = False
        self._loop, self._pump = loop, pump
        self.state = State(toxic, talk, is_between)
        self._request: Take | Sleep | Put = TAKE
        self._deadline: int | None = None
        self._armed: int | None = None

    def start(self) -> None:
        """Toxicity is drawn at each start, as the real server does: at the connection's, and when this link of the chain changes."""
        hit = random.random() < self.toxic.toxicity
        self._generator = (self.toxic.attributes.pipe if hit else _pass_on)(self.state)
        self._resume(None)

    def room(self) -> bool:
        return len(self.inbox) <= self.toxic.attributes.buffer

    def push(self, chunk: Chunk) -> None:
        self.inbox.append(chunk)

    @property
    def is_blocked(self) -> bool:
        """It holds a chunk that there was no room for."""
        return not self.closed and isinstance(self._request, Put)

    def advance(self) -> bool:
        """Go on as far as it goes; whether anything moved."""
        moved = False
        while not self.closed and self._step():
            moved = True
        return moved

    def interrupt(self) -> bool:
        """Stop where it waits, after putting what it holds; False when it is closed, or about to close by itself."""
        if self.closed or (isinstance(self._request, Sleep) and self._request.firm):
            return False
        self._flush()
        try:
            while not self.closed:
                self._request = self._generator.throw(Interrupted())
                self._flush()
        except Interrupted:
            return True
        except StopIteration as stop:
            self.close(stop.value)
        return False

    def close(self, how: str) -> None:
        self.closed = True
        self.next.ended = (self.ended or CUT) if how == END else how

    def _flush(self) -> None:
        """What it holds goes on whether there is room or not: a change of the chain waits for nobody and drops nothing."""
        while not self.closed and isinstance(self._request, Put):
            self._put(self._request.chunk)

    def _put(self, chunk: Chunk) -> None:
        if chunk.data:
            self.next.push(chunk)
            self.state.is_between = chunk.ends
        self._resume(None)

    def _step(self) -> bool:
        request = self._request
        if type(request) is Put:
            if not self.next.room():
                return False
            self._put(request.chunk)
        elif type(request) is Take and self.inbox:
            self._resume(self.inbox.popleft())
        elif type(request) is Take and self.ended:
            self._resume(None)
        elif self._deadline is not None and time.monotonic_ns() >= self._deadline:
            self._resume(LATE)
        else:
            return False
        return True

    def _resume(self, value: Chunk | None) -> None:
        try:
            request = self._request = self._generator.send(value)
        except StopIteration as stop:
            self.close(stop.value)
            return
        self._deadline = None
        if isinstance(request, Sleep):
            self._wait(request.ns)
        elif request is not TAKE and isinstance(request, Take) and request.within_ns is not None:
            self._wait(request.within_ns)

    def _wait(self, ns: int) -> None:
        """One timer is armed at most, unless a shorter wait comes: a busy `timeout` would fill the heap with dead ones."""
        self._deadline = time.monotonic_ns() + ns
        if 0 < ns < FOR_EVER and (self._armed is None or self._deadline < self._armed):
            self._arm(self._deadline)

    def _arm(self, when: int) -> None:
        self._armed = when
        self._loop.at(when, lambda: self._fired(when))

    def _fired(self, when: int) -> None:
        if when != self._armed or self.closed:
            return
        self._armed = None
        if self._deadline is not None and self._deadline > time.monotonic_ns():
            self._arm(self._deadline)
        else:
            self._pump()
