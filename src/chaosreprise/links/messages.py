"""Toxics of our own on the messages of WebSockets, one class each. They bite whole messages, of at most 64 KiB and in one frame:
so taking one away never leaves half a message behind. What can't be read passes.

What a compressed message says is not known, and dropping or repeating one would spoil those after it: it is not bitten.
"""

import dataclasses
import time
from collections.abc import Generator
from typing import Any, ClassVar

from chaosreprise.clock import MS, SECOND
from chaosreprise.links import websocket
from chaosreprise.links.stage import CUT, END, LATE, RESET, TAKE, Behaviour, Interrupted, Put, Sleep, State, Take, Tally
from chaosreprise.links.toxics import NoOp
from chaosreprise.links.units import Chunk, Frame

FAREWELL_NS = SECOND  # how long a receiver may take to answer a Close before the connection is closed under it
SERVICE_RESTART = 1012
PINGS = ("ping", "pong")
LONGEST_REASON = 123  # bytes


def matches(frame: Frame, wanted: dict[str, Any]) -> bool:
    """Whether a message has all these values as the feed tells them; of `text` and of `statements` a part is enough."""
    return agrees(frame.about | {"text": frame.text, "statements": frame.statements}, wanted)


def agrees(about: Any, wanted: dict[str, Any]) -> bool:
    """The same of what the feed tells."""
    return isinstance(about, dict) and all(_is_so(name, about.get(name), value) for name, value in wanted.items())


def _is_so(name: str, found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return agrees(found, wanted)
    if name == "text":
        return isinstance(found, str) and str(wanted) in found
    if name == "statements":
        return any(str(wanted) in one for one in found or ())
    return bool(found == wanted)


@dataclasses.dataclass
class Counted(NoOp):
    """Of those that are meant, over all connections, `count` from the `nth` on; 0: all from there on."""

    on_messages: ClassVar[bool] = True
    nth: int = 1
    count: int = 1

    def wrong(self) -> str:
        if self.nth < 1:
            return f"nth is {self.nth}: it takes 1 or more"
        return f"count is {self.count}: it takes 1 or more, or 0 for all" if self.count < 0 else ""

    def counts(self, tally: Tally) -> bool:
        """One more that is meant."""
        tally.seen += 1
        return tally.seen >= self.nth and (self.count == 0 or tally.seen < self.nth + self.count)


@dataclasses.dataclass
class OnMessages(Counted):
    match: dict[str, Any] = dataclasses.field(default_factory=dict)

    def is_meant(self, state: State, chunk: Chunk) -> bool:
        frame = chunk.frame
        if frame is None or not frame.whole or frame.about["what"] != "message" or "compressed" in frame.about:
            return False
        return self.may_mean(frame) and self.counts(state.tally)

    def may_mean(self, frame: Frame) -> bool:
        return matches(frame, self.match)


@dataclasses.dataclass
class Drop(OnMessages):
    def pipe(self, state: State) -> Behaviour:
        while chunk := (yield TAKE):
            if self.is_meant(state, chunk):
                state.bite("dropped", chunk.frame)
            else:
                yield Put(chunk)
        return END


@dataclasses.dataclass
class DropPings(Drop):
    """Pings and pongs, and nothing else."""

    count: int = 0

    def may_mean(self, frame: Frame) -> bool:
        return frame.about["opcode"] in PINGS and super().may_mean(frame)


@dataclasses.dataclass
class Duplicate(OnMessages):
    def pipe(self, state: State) -> Behaviour:
        while chunk := (yield TAKE):
            yield Put(chunk)
            if self.is_meant(state, chunk):
                state.bite("sent twice", chunk.frame)
                yield Put(chunk)
        return END


@dataclasses.dataclass
class Delay(OnMessages):
    """By `delay` milliseconds, counted from its arrival. What comes behind it waits: a WebSocket keeps its order."""

    buffer: ClassVar[int] = 1024
    delay: int = 0

    def pipe(self, state: State) -> Behaviour:
        while chunk := (yield TAKE):
            if self.is_meant(state, chunk):
                state.bite("held up", chunk.frame)
                try:
                    yield Sleep(self.delay * MS - (time.monotonic_ns() - chunk.stamp))
                except Interrupted:
                    yield Put(chunk)
                    raise
            yield Put(chunk)
        return END


@dataclasses.dataclass
class Close(NoOp):
    """Closes each WebSocket that is there now, once: a Close with `code` to the receiver, and nothing behind it.

    With code 0 the connection is reset. Those that are made later live.
    """

    on_messages: ClassVar[bool] = True
    code: int = SERVICE_RESTART
    reason: str = ""

    def wrong(self) -> str:
        legal = {0, *range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
        if self.code not in legal:
            return f"code is {self.code}: it takes 0 for a reset, 1000 to 1003, 1007 to 1014 or 3000 to 4999"
        if len(self.reason.encode()) > LONGEST_REASON:
            return f"reason has {len(self.reason.encode())} bytes: it takes {LONGEST_REASON} at most"
        return ""

    def pipe(self, state: State) -> Behaviour:
        if state.is_websocket:
            state.tally.seen += 1
            return (yield from self._close(state, time.monotonic_ns()))
        while chunk := (yield TAKE):
            yield Put(chunk)
        return END

    def _close(self, state: State, due: int) -> Generator[Take | Sleep | Put, Chunk | None, str]:
        """At `due`, behind the last whole message."""
        while (left := due - time.monotonic_ns()) > 0 or not state.is_between:
            chunk = yield Take(left) if left > 0 else TAKE
            if chunk is None:
                return END
            if chunk is not LATE:
                yield Put(chunk)
        state.bite(f"closed with {self.code}" if self.code else "reset")
        if not self.code:
            return RESET
        yield Put(
            Chunk(websocket.close_frame(self.code, self.reason, state.is_upstream), time.monotonic_ns(), None, True)
        )
        yield from self._farewell()
        return CUT

    def _farewell(self) -> Generator[Take | Sleep | Put, Chunk | None, None]:
        """Behind a Close nothing may come."""
        end = time.monotonic_ns() + FAREWELL_NS
        try:
            while (left := end - time.monotonic_ns()) > 0:
                if (yield Take(left)) is None:
                    return
        except Interrupted:
            return


@dataclasses.dataclass
class ReconnectStorm(Close):
    """Closes each WebSocket `after` milliseconds after it was made, again and again, as long as it is there."""

    after: int = 100

    def wrong(self) -> str:
        return f"after is {self.after}: it takes 0 or more milliseconds" if self.after < 0 else super().wrong()

    def pipe(self, state: State) -> Behaviour:
        while not state.is_websocket:
            chunk = yield TAKE
            if chunk is None:
                return END
            yield Put(chunk)
        state.tally.seen += 1
        return (yield from self._close(state, time.monotonic_ns() + self.after * MS))


KINDS: dict[str, type[NoOp]] = {
    "ws_drop": Drop,
    "ws_drop_pings": DropPings,
    "ws_delay": Delay,
    "ws_duplicate": Duplicate,
    "ws_close": Close,
    "ws_reconnect_storm": ReconnectStorm,
}
