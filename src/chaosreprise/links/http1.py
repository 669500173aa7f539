"""HTTP/1.1 framing (RFC 9112): requests one way, answers the other, until a connection becomes something else.

Nothing here is ever bitten by a toxic, so no byte waits for the rest of its head.
"""

import collections
import re
from collections.abc import Callable
from typing import NamedTuple

from chaosreprise.links.reading import TO_THE_END, Blind, Side
from chaosreprise.links.units import Frame

HEAD_LIMIT = 32 * 1024  # bytes
PATH_LIMIT = 1024  # characters of a path that are told
LONGEST_LINE = 1024  # bytes of a chunk's size with its extensions, or of a trailer
MOST_UNANSWERED = 1000
HEAD_END, LINE_END = b"\r\n\r\n", b"\r\n"
REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ \r\n]+) HTTP/1\.[01]\r\n")
ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
FIELD = re.compile(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?$")
WEBSOCKET = "websocket"


class Request(NamedTuple):
    method: str
    path: str
    upgrade: str


class Exchange:
    """What the two directions of a connection know together."""

    def __init__(self, upgraded: Callable[[bool], None]) -> None:
        self.unanswered: collections.deque[Request] = collections.deque()
        self.upgraded = upgraded
        self.is_asked_to_upgrade = False


class Half:
    """One direction: heads, and bodies that nobody looks at."""

    begins: re.Pattern[bytes]
    what: str

    def __init__(self, side: Side, exchange: Exchange, told: Callable[[Side, Frame], None]) -> None:
        self._side, self._exchange, self._told = side, exchange, told
        self._in_chunks = False
        self._in_trailers = False

    def step(self, data: bytes, at: int) -> int:
        if self._in_chunks:
            return self._step_chunk(data, at)
        if data.startswith(LINE_END, at):  # an empty line before a request is passed over
            return 2
        end = data.find(HEAD_END, at)
        if end < 0:
            if b"\n" in data[at : at + HEAD_LIMIT] and not self.begins.match(data, at):
                raise Blind(f"no HTTP/1.1 {self.what} begins with {data[at : at + 40]!r}")
            if len(data) - at > HEAD_LIMIT:
                raise Blind(f"an HTTP head of more than {HEAD_LIMIT} bytes")
            return self._side.wants(len(data) - at + 1)
        self._take_head(data[at : end + 2])
        return end + len(HEAD_END) - at

    def _take_head(self, head: bytes) -> None:
        raise NotImplementedError

    def _step_chunk(self, data: bytes, at: int) -> int:
        end = data.find(LINE_END, at, at + LONGEST_LINE)
        if end < 0:
            if len(data) - at > LONGEST_LINE:
                raise Blind(f"a line of more than {LONGEST_LINE} bytes between the chunks of an HTTP body")
            return self._side.wants(len(data) - at + 1)
        line = data[at:end]
        if self._in_trailers:
            self._in_chunks = self._in_trailers = bool(line)
        elif found := CHUNK.match(line):
            size = int(found[1], 16)
            self._in_trailers = size == 0
            self._side.left = size + len(LINE_END) if size else 0
        else:
            raise Blind(f"no chunk of an HTTP body begins with {line[:40]!r}")
        return end + len(LINE_END) - at

    def _expect_body(self, fields: dict[bytes, bytes], otherwise: int) -> None:
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self._in_chunks = True
            return
        said = fields.get(b"content-length", b"")
        if said and not (said.isdigit() and len(said) < 19):
            raise Blind(f"an HTTP body of {said[:40]!r} bytes")
        self._side.left = int(said) if said else otherwise


class Requests(Half):
    begins, what = REQUEST, "request"

    def step(self, data: bytes, at: int) -> int:
        if self._exchange.is_asked_to_upgrade and not self._in_chunks:
            raise Blind("bytes came before the answer to the request for another protocol")
        return super().step(data, at)

    def _take_head(self, head: bytes) -> None:
        line = REQUEST.match(head)
        if not line:
            raise Blind(f"no HTTP/1.1 request begins with {head[:40]!r}")
        fields = _fields(head, line.end())
        upgrade = fields.get(b"upgrade", b"").decode("latin-1").lower()
        request = Request(line[1].decode("latin-1"), line[2].decode("latin-1")[:PATH_LIMIT], upgrade)
        exchange = self._exchange
        if len(exchange.unanswered) >= MOST_UNANSWERED:
            raise Blind(f"more than {MOST_UNANSWERED} HTTP requests without an answer")
        exchange.unanswered.append(request)
        exchange.is_asked_to_upgrade = upgrade == WEBSOCKET
        self._expect_body(fields, 0)
        self._told(self._side, Frame("request", method=request.method, path=request.path))


class Answers(Half):
    begins, what = ANSWER, "answer"

    def _take_head(self, head: bytes) -> None:
        line = ANSWER.match(head)
        if not line:
            raise Blind(f"no HTTP/1.1 answer begins with {head[:40]!r}")
        status, fields = int(line[1]), _fields(head, line.end())
        unanswered, is_last = self._exchange.unanswered, status >= 200 or status == 101
        request = (unanswered.popleft() if is_last else unanswered[0]) if unanswered else Request("", "", "")
        self._told(self._side, Frame("response", method=request.method, path=request.path, status=status))
        if status == 101:
            self._change_protocol(fields)
        elif request.method == "CONNECT" and 200 <= status < 300:
            raise Blind("HTTP's CONNECT made it a tunnel")
        elif is_last:
            self._exchange.is_asked_to_upgrade = False
            no_body = request.method == "HEAD" or status in {204, 304}
            self._expect_body({} if no_body else fields, 0 if no_body else TO_THE_END)

    def _change_protocol(self, fields: dict[bytes, bytes]) -> None:
        to = fields.get(b"upgrade", b"").decode("latin-1").lower()
        if to != WEBSOCKET:
            raise Blind(f"HTTP made it {to[:40] or 'something else'}")
        self._exchange.upgraded(b"permessage-deflate" in fields.get(b"sec-websocket-extensions", b"").lower())


def _fields(head: bytes, at: int) -> dict[bytes, bytes]:
    """By name in small letters; of several with one name the last."""
    return {name.strip().lower(): value.strip() for name, value in FIELD.findall(head, at - 2)}
