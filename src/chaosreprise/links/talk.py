"""What is said on one connection: which protocol it is, and both directions read together. It changes nothing.

The client's first bytes tell: a TLS ClientHello, PostgreSQL's startup, a method of HTTP. A connection that can't be read, or
not any more, is said to be so once, with the reason, and not looked at again.
"""

import re
import struct
from collections.abc import Callable
from typing import Any, Protocol

from chaosreprise.links import http1, postgres, websocket
from chaosreprise.links.reading import Attention, Blind, Encrypted, Side
from chaosreprise.links.transactions import Conversation
from chaosreprise.links.units import Frame

HANDSHAKE, TLS = 0x16, 3  # a TLS record's type, and its major version
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102  # in the place of PostgreSQL's version
VERSION_3 = 3
STARTUP = struct.Struct(">II")
LONGEST_STARTUP = 10_000  # bytes, as the server has it
METHOD = re.compile(rb"[A-Z][A-Z-]{0,19}( |\Z)")


class Teller(Protocol):
    """Where a talk says what it sees."""

    attention: Attention

    def tell(self, connection: int, about: dict[str, Any], text: str | None = None, stamp: int = 0) -> None: ...


class Talk:
    def __init__(self, number: int, client: str, since: int, teller: Teller, blinded: Callable[[], None]) -> None:
        self.number, self.client, self.since = number, client, since
        self.protocol: str | None = None
        self.blind: str | None = None
        self.upstream = Side(self._recognise, self._told, self._failed)
        self.downstream = Side(self._answer_unasked, self._told, self._failed)
        self._teller, self._blinded = teller, blinded
        self._attention = teller.attention

    def bitten(self, toxic: str, did: str, is_upstream: bool, frame: Frame | None = None) -> None:
        """A toxic did this to a message, or to the connection."""
        about = {"what": "toxic", "toxic": toxic, "did": did} | ({"frame": frame.about} if frame else {})
        self._tell(self.upstream if is_upstream else self.downstream, about, frame.text if frame else None, 0)

    def _told(self, side: Side, frame: Frame) -> None:
        if not self._attention.watched:
            return
        about = frame.about
        if frame.commits:
            about = about | {"commits": True, "wrote": frame.wrote, "statements": frame.statements}
        self._tell(side, about, frame.text, side.stamp)

    def _tell(self, side: Side | None, about: dict[str, Any], text: str | None, stamp: int) -> None:
        where = {"direction": "upstream" if side is self.upstream else "downstream"} if side else {}
        self._teller.tell(self.number, {"protocol": self.protocol, **where, **about}, text, stamp)

    def _failed(self, reason: Blind) -> None:
        if self.blind is None:
            self.blind = str(reason)
            stamp = max(self.upstream.stamp, self.downstream.stamp)
            self._tell(None, {"what": reason.what, "why": self.blind}, None, stamp)
            self._blinded()
        self.upstream.give_up()
        self.downstream.give_up()

    def _recognise(self, data: bytes, at: int) -> int:
        """The client's first bytes."""
        begin = data[at : at + 24]
        if begin[0] == HANDSHAKE:
            return self._recognise_tls(begin)
        if begin[0] == 0:
            return self._start_postgres(data, at)
        method = METHOD.match(begin)
        if not method:
            raise Blind(f"neither HTTP/1.1 nor PostgreSQL begins with {begin!r}")
        if not method[1]:
            return self.upstream.wants(len(begin) + 1)
        self.protocol = "http"
        exchange = http1.Exchange(self._upgraded)
        self.downstream.become(http1.Answers(self.downstream, exchange, self._told).step, holds=False)
        self.upstream.become(http1.Requests(self.upstream, exchange, self._told).step, holds=False)
        return self.upstream.step(data, at)

    def _recognise_tls(self, begin: bytes) -> int:
        if len(begin) > 1 and begin[1] != TLS:
            raise Blind(f"neither HTTP/1.1 nor PostgreSQL begins with {begin!r}")
        if len(begin) < 6:
            return self.upstream.wants(6)
        raise Encrypted("TLS: the client began with a ClientHello")

    def _answer_unasked(self, data: bytes, at: int) -> int:
        raise Blind(f"the server spoke first ({data[at : at + 24]!r}): neither HTTP/1.1 nor PostgreSQL does that")

    def _upgraded(self, compresses: bool) -> None:
        if not self.upstream.is_empty:
            raise Blind("bytes came before the answer to the request for a WebSocket")
        self.protocol = "websocket"
        for side in (self.upstream, self.downstream):
            side.become(websocket.Messages(side, self._attention, compresses).step, holds=True)

    def _start_postgres(self, data: bytes, at: int) -> int:
        if len(data) - at < STARTUP.size:
            return self.upstream.wants(STARTUP.size)
        size, code = STARTUP.unpack_from(data, at)
        if not STARTUP.size <= size <= LONGEST_STARTUP:
            raise Blind(f"neither HTTP/1.1 nor PostgreSQL begins with {data[at : at + 24]!r}")
        if len(data) - at < size:
            return self.upstream.wants(size)
        self._take_startup(code, data[at + STARTUP.size : at + size])
        return int(size)

    def _take_startup(self, code: int, body: bytes) -> None:
        if code in {SSL_REQUEST, GSS_REQUEST}:
            self.downstream.step = self._answer_encryption
            self.upstream.step = self._wait_for_encryption
        elif code == CANCEL_REQUEST:
            self.protocol = "postgres"
            self._told(self.upstream, Frame("cancel"))
            raise Blind("PostgreSQL's request to cancel a statement is all that this connection is for")
        elif code >> 16 == VERSION_3:
            self._begin_postgres(body)
        else:
            raise Blind(f"PostgreSQL's protocol {code >> 16}.{code & 0xFFFF} is none that is read: only version 3 is")

    def _begin_postgres(self, body: bytes) -> None:
        self.protocol = "postgres"
        words = body.decode(errors="replace").split("\0")
        said = dict(zip(words[::2], words[1::2], strict=False))
        conversation = Conversation()
        frontend = postgres.Frontend(self.upstream, self._attention, conversation)
        self.upstream.become(frontend.step, holds=True)
        self.downstream.become(postgres.Backend(self.downstream, conversation).step, holds=True)
        self._told(self.upstream, Frame("startup", user=said.get("user", ""), database=said.get("database", "")))

    def _wait_for_encryption(self, _data: bytes, _at: int) -> int:
        raise Blind("bytes came before the answer to PostgreSQL's request for encryption")

    def _answer_encryption(self, data: bytes, at: int) -> int:
        if data[at : at + 1] in {b"S", b"G"}:
            raise Encrypted("PostgreSQL accepted the client's request for encryption")
        if data[at : at + 1] != b"N":
            raise Blind(f"PostgreSQL answered a request for encryption with {data[at : at + 24]!r}")
        self.upstream.step, self.downstream.step = self._recognise, self._answer_unasked
        return 1
