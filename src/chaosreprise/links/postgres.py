"""PostgreSQL's protocol, version 3: what the client asks and what the server answers. `transactions` knows what it means."""

import struct

from chaosreprise.links.reading import LIMIT, Attention, Blind, Side
from chaosreprise.links.transactions import Conversation
from chaosreprise.links.units import Frame

ASKED = frozenset(b"QPBDECSHFXpdcf")
ANSWERED = frozenset(b"RKSZTDCIENnts123AGHWVdcv")
LENGTH = struct.Struct(">I")
HEAD = 5
MOST_NAMES = (
    1000  # of statements and portals of one connection; of a client that keeps more, the oldest texts are forgotten
)
TEXT_KEPT = 4096  # bytes of a statement that may be run by its name later


class Frontend:
    """What the client asks."""

    def __init__(self, side: Side, attention: Attention, conversation: Conversation) -> None:
        self._side, self._attention, self._conversation = side, attention, conversation
        self._prepared: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}
        self._readers = {"Q": self._query, "P": self._parse, "B": self._bind, "E": self._execute}

    def step(self, data: bytes, at: int) -> int:
        side = self._side
        total = _length(side, data, at, ASKED)
        if not total:
            return 0
        kind = chr(data[at])
        if reader := self._readers.get(kind):
            taken = min(total, LIMIT)
            if len(data) - at < taken:
                return side.wants(taken)
            side.left = total - taken
            side.frame = reader(data[at + HEAD : at + taken])
            if side.frame:
                side.frame.whole = taken == total
            return taken
        if kind == "S":
            side.frame = self._ask("sync", "S", None)
        elif kind == "F":
            self._conversation.ask(None, "Q", None)
        elif kind in "cf":
            self._conversation.ends_copy()
        side.left = total - HEAD
        return HEAD

    def _query(self, body: bytes) -> Frame | None:
        return self._ask("query", "Q", body.partition(b"\0")[0])

    def _parse(self, body: bytes) -> Frame | None:
        name, _, rest = body.partition(b"\0")
        text = rest.partition(b"\0")[0]
        _keep(self._prepared, name, text[:TEXT_KEPT])
        return Frame("parse", _text(text), name=_text(name)) if self._attention.is_keen else None

    def _bind(self, body: bytes) -> None:
        portal, _, rest = body.partition(b"\0")
        _keep(self._portals, portal, rest.partition(b"\0")[0])

    def _execute(self, body: bytes) -> Frame | None:
        statement = self._portals.get(body.partition(b"\0")[0])
        return self._ask("execute", "E", None if statement is None else self._prepared.get(statement))

    def _ask(self, what: str, kind: str, statement: bytes | None) -> Frame | None:
        frame, text = None, None
        if self._attention.is_keen:
            text = None if statement is None else _text(statement)
            frame = Frame(what, text)
        self._conversation.ask(frame, kind, text)
        if frame and kind == "S":
            frame.complete = frame.commits  # else there is nothing to tell of it
        return frame


class Backend:
    """What the server answers."""

    def __init__(self, side: Side, conversation: Conversation) -> None:
        self._side, self._conversation = side, conversation

    def step(self, data: bytes, at: int) -> int:
        side = self._side
        total = _length(side, data, at, ANSWERED)
        if not total:
            return 0
        kind = chr(data[at])
        if kind not in "CZEsIGW":
            side.left = total - HEAD
            return HEAD
        taken = min(total, LIMIT)
        if len(data) - at < taken:
            return side.wants(taken)
        side.left = total - taken
        side.frame = self._frame(kind, data[at + HEAD : at + taken])
        return taken

    def _frame(self, kind: str, body: bytes) -> Frame | None:
        conversation = self._conversation
        if kind == "C":
            tag = _text(body.partition(b"\0")[0])
            frame = Frame("complete", conversation.answered(), tag=tag)
            conversation.complete(frame, tag)
            return frame
        if kind == "Z":
            frame = Frame("ready", status=_text(body[:1]))
            conversation.ready(frame, _text(body[:1]))
            return frame
        if kind == "E":
            conversation.fail()
            said = {part[:1]: _text(part[1:]) for part in body.split(b"\0")}
            return Frame("error", said.get(b"M", ""), code=said.get(b"C", ""))
        if kind in "GW":
            conversation.starts_copy()
        else:
            conversation.answered()  # an empty query, or a portal that has more rows
        return None


def _keep(names: dict[bytes, bytes], name: bytes, what: bytes) -> None:
    names.pop(name, None)
    names[name] = what
    if len(names) > MOST_NAMES:
        del names[next(iter(names))]


def _length(side: Side, data: bytes, at: int, kinds: frozenset[int]) -> int:
    """Of the message that begins here, with its head; 0 when that is not there yet. Raises Blind."""
    if len(data) - at < HEAD:
        return side.wants(HEAD)
    length: int = LENGTH.unpack_from(data, at + 1)[0]
    if data[at] not in kinds or length < 4:
        raise Blind(f"no message of PostgreSQL begins with {data[at : at + HEAD]!r}")
    return length + 1


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
