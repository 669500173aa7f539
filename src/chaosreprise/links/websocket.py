"""WebSocket framing (RFC 6455): what passes in one direction, and the frames that a fault makes itself."""

import os
import struct
from typing import Any

import msgspec

from chaosreprise.links.reading import LIMIT, Attention, Blind, Side
from chaosreprise.links.units import Frame

OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
CONTINUATION, TEXT, CLOSE = 0, 1, 8
CONTROL = 8  # opcodes from here on are of the protocol itself: short, and never in fragments
FIN, COMPRESSED, OPCODE = 0x80, 0x40, 0x0F
FIRST = frozenset({*(FIN | opcode for opcode in OPCODES), 0, 1, 2})  # bytes that a frame may begin with
FIRST_COMPRESSED = FIRST | {FIN | COMPRESSED | 1, FIN | COMPRESSED | 2, COMPRESSED | 1, COMPRESSED | 2}
MASKED, SIZE = 0x80, 0x7F
LONGEST_CONTROL = 125
LONGER = {126: 2, 127: 8}  # bytes of the size, when it does not fit
JSON_LIMIT = 16 * 1024


class Messages:
    """`compresses`: permessage-deflate was agreed on, so that a message may be unreadable."""

    def __init__(self, side: Side, attention: Attention, compresses: bool) -> None:
        self._side, self._attention = side, attention
        self._first = FIRST_COMPRESSED if compresses else FIRST
        self._message: Frame | None = None  # of which fragments are still to come
        self._payload = bytearray()  # of its fragments
        self._in_fragments = False

    def step(self, data: bytes, at: int) -> int:
        have = len(data) - at
        if have < 2:
            return self._side.wants(2)
        first, second = data[at], data[at + 1]
        size, head = second & SIZE, 6 if second & MASKED else 2
        if size > LONGEST_CONTROL:
            longer = LONGER[size]
            head += longer
            if have < head:
                return self._side.wants(head)
            size = int.from_bytes(data[at + 2 : at + 2 + longer], "big")
        if first not in self._first or (first & CONTROL and size > LONGEST_CONTROL):
            raise Blind(f"no WebSocket frame begins with {data[at : at + head]!r}")
        if not first & CONTROL and (first & OPCODE == CONTINUATION) is not self._in_fragments:
            raise Blind(f"a WebSocket's {OPCODES[first & OPCODE]} where {self._due} was due")
        taken = min(head + size, LIMIT) if self._attention.is_keen else head
        if have < taken:
            return self._side.wants(taken)
        if not first & CONTROL:
            self._in_fragments = not first & FIN
        self._side.left = head + size - taken
        self._take(first, second, size, data[at + head : at + taken], data[at + head - 4 : at + head])
        return taken

    @property
    def _due(self) -> str:
        return "the rest of a message" if self._in_fragments else "a message"

    def _take(self, first: int, second: int, size: int, payload: bytes, mask: bytes) -> None:
        if self._attention.is_keen:
            self._side.frame = self._frame(first, size, _plain(mask, payload) if second & MASKED else payload)
        else:
            self._message = None

    def _frame(self, first: int, size: int, payload: bytes) -> Frame | None:
        opcode, ends = first & OPCODE, bool(first & FIN)
        if opcode == CONTINUATION:
            return self._go_on(size, payload, ends)
        frame = Frame("message", whole=ends and len(payload) == size, opcode=OPCODES[opcode], size=size)
        if first & COMPRESSED:
            frame.about["compressed"] = True
        elif not ends:
            self._payload = bytearray(payload)
        else:
            _read(frame, payload)
        if not ends:
            frame.complete, self._message = False, frame
        return frame

    def _go_on(self, size: int, payload: bytes, ends: bool) -> Frame | None:
        """One fragment more; None of a message whose beginning was not looked at."""
        message = self._message
        if message is None:
            return None
        message.about["size"] += size
        if len(self._payload) < LIMIT:
            self._payload += payload
        if ends:
            message.complete, self._message = True, None
            if "compressed" not in message.about:
                _read(message, bytes(self._payload))
            self._payload.clear()
        return message


def _read(frame: Frame, payload: bytes) -> None:
    """What a message says, if that is text."""
    opcode = frame.about["opcode"]
    if opcode == "text":
        frame.text = payload.decode(errors="replace")
        if fields := _fields(frame.text):
            frame.about["fields"] = fields
    elif opcode == "close" and len(payload) >= 2:
        frame.about["code"] = int.from_bytes(payload[:2], "big")
        frame.text = payload[2:].decode(errors="replace")


def close_frame(code: int, reason: str, masked: bool) -> bytes:
    payload = struct.pack(">H", code) + reason.encode()
    mask = os.urandom(4) if masked else b""
    return (
        bytes([FIN | CLOSE, (MASKED if masked else 0) | len(payload)])
        + mask
        + (_plain(mask, payload) if masked else payload)
    )


def _plain(mask: bytes, payload: bytes) -> bytes:
    """Masked or unmasked: it is the same."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def _fields(text: str) -> dict[str, Any]:
    """The plain values of a small JSON object, and of its `payload`, where messages of agents have theirs."""
    if not text.startswith("{") or len(text) > JSON_LIMIT:
        return {}
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    payload = found.get("payload")
    inner = payload if isinstance(payload, dict) else {}
    return {name: value for name, value in {**inner, **found}.items() if isinstance(value, str | int | float | bool)}
