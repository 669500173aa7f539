"""Dialogues as connections carry them, drawn by Hypothesis: who says which bytes, in turns. Some are none that anybody could read."""

import struct
from typing import NamedTuple

from hypothesis import strategies as st

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SSL_REQUEST = struct.pack(">II", 8, 80877103)
SIZES = st.sampled_from([0, 1, 125, 126, 127, 1_000, 65_535, 65_536, 70_000, 200_000])
STATEMENTS = st.sampled_from(
    ["select 1", "insert into t values (1)", "begin", "commit", "rollback", "", "update t set x = 1; commit"]
)


class Turn(NamedTuple):
    upstream: bool
    data: bytes

    def __repr__(self) -> str:
        return f"Turn({self.upstream}, {self.data[:80]!r}... {len(self.data)} bytes)"


def startup() -> bytes:
    body = b"user\0someone\0database\0some\0\0"
    return struct.pack(">II", len(body) + 8, 3 << 16) + body


def pg(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def frame(opcode: int, payload: bytes, masked: bool, ends: bool = True) -> bytes:
    size = len(payload)
    first = (0x80 if ends else 0) | opcode
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 1 << 16:
        head = bytes([first, mask | 126]) + struct.pack(">H", size)
    else:
        head = bytes([first, mask | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    key = b"\1\2\3\4"
    return head + key + bytes(byte ^ key[number % 4] for number, byte in enumerate(payload))


@st.composite
def http(draw) -> list[Turn]:
    turns = []
    for _ in range(draw(st.integers(1, 4))):
        body = b"b" * draw(SIZES)
        if draw(st.booleans()):
            request = b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            request = (
                b"POST /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunked(body) + b"0\r\nTrailer: x\r\n\r\n"
            )
        turns.append(Turn(True, request))
        answer = draw(
            st.sampled_from(
                [
                    b"HTTP/1.1 204 No Content\r\n\r\n",
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                ]
            )
        )
        turns.append(Turn(False, answer))
    return turns


@st.composite
def websocket(draw) -> list[Turn]:
    turns = [Turn(True, UPGRADE), Turn(False, SWITCHING)]
    for _ in range(draw(st.integers(1, 8))):
        upstream = draw(st.booleans())
        what = draw(st.sampled_from(["text", "fragments", "ping", "json", "close"]))
        payload = b"p" * draw(SIZES)
        if what == "fragments":
            data = frame(2, payload, upstream, False) + frame(9, b"in between", upstream) + frame(0, payload, upstream)
        else:
            opcode, payload = {
                "text": (1, payload),
                "json": (1, b'{"type":"command","payload":{"commandId":"c"}}'),
                "ping": (9, b"ping"),
                "close": (8, b"\x03\xe8bye"),
            }[what]
            data = frame(opcode, payload, upstream)
        turns.append(Turn(upstream, data))
    return turns


@st.composite
def postgres(draw) -> list[Turn]:
    turns = [Turn(True, SSL_REQUEST), Turn(False, b"N")] if draw(st.booleans()) else []
    turns += [Turn(True, startup()), Turn(False, pg("R", b"\0\0\0\0") + pg("Z", b"I"))]
    for _ in range(draw(st.integers(1, 6))):
        text = draw(STATEMENTS).encode() + b" " * draw(SIZES)
        rows = pg("T", b"\0\0") + pg("D", b"r" * draw(SIZES)) * draw(st.integers(0, 3))
        done = pg("C", draw(st.sampled_from([b"SELECT 1\0", b"INSERT 0 1\0", b"COMMIT\0", b"BEGIN\0"]))) + pg(
            "Z", draw(st.sampled_from([b"I", b"T"]))
        )
        if draw(st.booleans()):
            turns += [Turn(True, pg("Q", text + b"\0")), Turn(False, rows + done)]
        else:
            extended = (
                pg("P", b"\0" + text + b"\0\0\0") + pg("B", b"\0\0" + b"\0" * 6) + pg("E", b"\0\0\0\0\0") + pg("S")
            )
            turns += [Turn(True, extended), Turn(False, pg("1") + pg("2") + rows + done)]
    return turns


@st.composite
def nonsense(draw) -> list[Turn]:
    """What begins like something, and goes on as anything."""
    turns = draw(st.one_of(st.just([]), websocket(), postgres(), http()))
    cut = draw(st.integers(0, len(turns)))
    return turns[:cut] + draw(st.lists(st.builds(Turn, st.booleans(), st.binary(max_size=200)), max_size=4))


DIALOGUES = st.one_of(http(), websocket(), postgres(), nonsense())


def _chunked(body: bytes) -> bytes:
    return b"%x;ext=1\r\n%b\r\n" % (len(body), body) if body else b""
