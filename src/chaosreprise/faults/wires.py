"""What passes a link, seen from outside: the bytes that come in at its proxy and those that go out again, by the kernel's counters.

A proxy has two sockets a connection, so each byte is counted twice: a fault bites when the two counts part. A link is told from
another by where its proxy listens. Where others of the same process lead to the same place, their sockets are looked at as well, to
tell by what has passed which of those to there are theirs.
"""

import asyncio
import contextlib
import os
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from chaosreprise.errors import NotPossible
from chaosreprise.faults import counters
from chaosreprise.faults.counters import Address, Socket
from chaosreprise.procs import LISTEN, connections

LOOK_EVERY_S = 0.002
UPSTREAM, DOWNSTREAM = "upstream", "downstream"
STREAMS = (UPSTREAM, DOWNSTREAM)
RECEIVED, SENT = 1, 2  # fields of Change
STILL_S, SETTLE_S = 0.02, 0.2
PAIR_S = 0.1
PAIR_SOME_S = 2.0  # without them the fault can't be made, and a busy machine moves their bytes in one look with others'
Key = tuple[Address, Address, int]
Keys = frozenset[Key]
Pair = tuple[Keys, Keys]
"""The sockets to the client and those to where the proxy leads: of one connection, or of several that can't be told apart."""


class Wire(msgspec.Struct, kw_only=True, frozen=True):
    """Where a proxy listens, where it leads, and whose process it is (0: nobody's that we may look at). `beside`: where others of
    that process listen that lead to the same place.
    """

    listen: Address
    upstream: Address
    pid: int = 0
    beside: list[Address] = []


class Change(NamedTuple):
    """What a socket had received and sent in all its life, as it was first seen at a look."""

    look: int
    received: int
    sent: int


class Meter:
    """Looks at the sockets of a link's wires, again and again. `looks` are the times of all looks, `mark` is the number of one."""

    def __init__(self, wires: Sequence[Wire], known: Iterable[Pair] = (), *, only: bool = False) -> None:
        """`known`: what another meter has found out about which sockets belong together; `only`: these are all that counts."""
        self._listens = {wire.listen for wire in wires}
        self._beside = {listen for wire in wires for listen in wire.beside} - self._listens
        self._theirs: set[Key] = set()
        self._owners = {wire.upstream: wire.pid for wire in wires}
        self._owned: set[int] = set()
        self._others: set[int] = set()
        self._changes: dict[Key, list[Change]] = {}
        self._open: set[Key] = set()
        self.pairs: list[Pair] = list(known)
        self._paired: set[Key] = {key for pair in self.pairs for keys in pair for key in keys}
        self._only = frozenset(self._paired) if only else None
        self.looks: list[tuple[int, int]] = []
        self.mark = 0
        self.look()
        self._first = frozenset(self._open)

    @property
    def at_first(self) -> set[Key]:
        """The sockets of this link that were there at first, as far as is known by now."""
        return {key for key in self._first if self._is_ours(key)}

    @property
    def clients(self) -> list[Address]:
        """Who is connected now."""
        return sorted(key[1] for key in self._open if self.is_near(key))

    def look(self) -> None:
        lo = time.monotonic_ns()
        mine = {(one.local, one.remote, one.inode): one for one in counters.established() if self._is_mine(one)}
        found = {key: one for key, one in mine.items() if self._only is None or key in self._only}
        number, self._open = len(self.looks), set(found)
        self.looks.append((lo, time.monotonic_ns()))
        for key, one in found.items():
            seen = self._changes.setdefault(key, [])
            if not seen or seen[-1][1:] != (one.received, one.sent):
                seen.append(Change(number, one.received, one.sent))
        self._pair()

    async def pair(self, count: int = 0) -> None:
        """Look for a moment at which the sockets of each connection are seen to belong together; for longer until `count` can
        be told from all others.
        """
        began = time.monotonic()
        while (lacks := len(self.busiest(count)) < min(count, len(self.clients))) or any(
            map(self.is_near, self._open - self._paired)
        ):
            if time.monotonic() - began > (PAIR_SOME_S if lacks else PAIR_S):
                return
            await self.until_next()

    def busiest(self, count: int) -> list[Pair]:
        """The connections by which most has passed, of those that can be told from all others."""
        lone = [pair for pair in self.pairs if all(len(keys) == 1 for keys in pair)]
        last = len(self.looks) - 1
        return sorted(lone, key=lambda pair: -sum(self.passed(pair[0], what, last) for what in (RECEIVED, SENT)))[
            :count
        ]

    async def settle(self) -> None:
        """Put the mark where nothing goes out any more that was under way, or to the end of our patience with that."""
        until, still = time.monotonic() + SETTLE_S, 0.0
        while time.monotonic() < until and still < STILL_S:
            await self.until_next()
            last = len(self.looks) - 1
            still = (
                0.0
                if any(map(self.went(stream, last - 1).get, self._open) for stream in STREAMS)
                else still + LOOK_EVERY_S
            )
        self.mark = len(self.looks) - 1

    async def until_next(self) -> None:
        await asyncio.sleep(LOOK_EVERY_S)
        self.look()

    def came(self, stream: str, since: int) -> dict[Key, int]:
        """The bytes that came in by each socket since a look, of those by which any did."""
        return self._grown(stream, RECEIVED, since)

    def went(self, stream: str, since: int) -> dict[Key, int]:
        return self._grown(stream, SENT, since)

    def is_near(self, key: Key) -> bool:
        """Whether it is a socket to a client of this link."""
        return key[0] in self._listens

    def _enters(self, key: Key) -> bool:
        """Whether it is a socket to a client of this link or of another one."""
        return self.is_near(key) or key[0] in self._beside

    def _is_ours(self, key: Key) -> bool:
        """Whether it is this link's, or may be."""
        if self.is_near(key) or not self._beside:
            return True
        if key in self._theirs or key[0] in self._beside:
            return False
        lone = (one for one in self._changes if self.is_near(one) and one not in self._paired)
        return key in self._paired or any(self._may_lead(one, key) for one in lone)

    def _may_lead(self, near: Key, far: Key) -> bool:
        """Whether these may be one connection: a proxy connects when it is connected to, and sends no more than it has received."""
        came, went = self._changes[near], self._changes[far]
        if went[0].look < came[0].look - 1:
            return False
        return came[-1].received >= went[-1].sent and went[-1].received >= came[-1].sent

    def is_open(self, key: Key) -> bool:
        return key in self._open

    def passed(self, keys: Keys, what: int, look: int) -> int:
        """What these sockets had received, or sent, in all their lives by then."""
        return sum(self._at(key, look)[what] for key in keys)

    def when(self, keys: Keys, what: int, at_least: int) -> int | None:
        """The number of the first look at which these sockets had passed so much."""
        moments = sorted({one.look for key in keys for one in self._changes.get(key, ())})
        return next((look for look in moments if self.passed(keys, what, look) >= at_least), None)

    def ways(self, stream: str) -> list[tuple[Keys, Keys]]:
        """Where bytes come in and where the same ones go out: for each connection, or several that can't be told apart."""
        return [(near, far) if stream == UPSTREAM else (far, near) for near, far in self.pairs]

    def _at(self, key: Key, look: int) -> Change:
        """Nothing has passed before it was there."""
        before = [one for one in self._changes.get(key, ()) if one.look <= look]
        return before[-1] if before else Change(look, 0, 0)

    def _pair(self) -> None:
        """Sockets of one connection have passed the same when nothing is under way: that tells which belong together."""
        for nears, fars in [*self._alike(self._open - self._paired), self._newborn()]:
            if nears and len(nears) == len(fars) and not (nears | fars) & self._paired:
                self._belong(nears, fars)
                self._paired |= nears | fars
        for pair in [pair for pair in self.pairs if len(pair[0]) > 1]:
            self._part(pair)

    def _part(self, pair: Pair) -> None:
        """Those that had passed the same by chance can be told apart later, when nothing is under way on any of them."""
        keys = pair[0] | pair[1]
        found = self._alike(keys) if keys <= self._open else []
        if len(found) > 1 and all(len(nears) == len(fars) for nears, fars in found):
            self.pairs.remove(pair)
            for nears, fars in found:
                self._belong(nears, fars)

    def _belong(self, nears: set[Key], fars: set[Key]) -> None:
        if any(map(self.is_near, nears)):
            self.pairs.append((frozenset(nears), frozenset(fars)))
        else:
            self._theirs |= nears | fars

    def _alike(self, keys: Iterable[Key]) -> list[tuple[set[Key], set[Key]]]:
        """The sockets to clients and the others, by what they have passed; those left out that have passed nothing."""
        found: dict[tuple[int, int], tuple[set[Key], set[Key]]] = {}
        for key in keys:
            last, near = self._changes[key][-1], self._enters(key)
            passed = (last.received, last.sent) if near else (last.sent, last.received)
            if any(passed):
                found.setdefault(passed, (set(), set()))[not near].add(key)
        return list(found.values())

    def _newborn(self) -> tuple[set[Key], set[Key]]:
        """A proxy connects as soon as it is connected to: one of each, alone in their time, belong together."""
        since = max(1, len(self.looks) - 2)
        born = {key for key in self._open if self._changes[key][0].look >= since}
        nears = {key for key in born if self._enters(key)}
        return (nears, born - nears) if len(nears) == 1 else (set(), set())

    def _grown(self, stream: str, what: int, since: int) -> dict[Key, int]:
        """What enters by the socket of a client goes upstream, and leaves by the other one."""
        found = {}
        for key, changes in self._changes.items():
            enters_here = self.is_near(key) == (stream == UPSTREAM)
            count = changes[-1][what] - self._at(key, since)[what] if enters_here == (what == RECEIVED) else 0
            if count and self._is_ours(key):
                found[key] = count
        return found

    def _is_mine(self, one: Socket) -> bool:
        if one.local in self._listens or one.local in self._beside:
            return one.inode != 0
        return one.remote in self._owners and self._is_owned(one.inode, self._owners[one.remote])

    def _is_owned(self, inode: int, pid: int) -> bool:
        """Others may be connected to the same place without the proxy."""
        if not pid:
            return True
        if inode not in self._owned and inode not in self._others:
            self._owned |= sockets_of(pid)
            if inode not in self._owned:
                self._others.add(inode)
        return inode in self._owned


def wire(listen: str, upstream: str, beside: Iterable[str] = ()) -> Wire:
    """The wire of a proxy on this machine, from its addresses as its server shows them. Raises NotPossible."""
    near = address(listen)
    return Wire(listen=near, upstream=address(upstream), pid=_listener(near), beside=[*map(address, beside)])


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    with contextlib.suppress(ValueError):
        return ("127.0.0.1" if host == "localhost" else host), int(port)
    raise NotPossible(f"{text!r} is no address with a port: what passes there can't be counted")


def readable(place: Address) -> str:
    return f"{place[0]}:{place[1]}"


def sockets_of(pid: int) -> set[int]:
    """The inodes of the sockets that a process holds."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(entry)
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def _listener(near: Address) -> int:
    """Whose process listens there; 0 where that can't be seen. Raises NotPossible when nobody does on this machine."""
    port = f":{near[1]:04X}"
    inodes = {one.inode for one in connections() if one.state == LISTEN and one.local.endswith(port)}
    if not inodes:
        raise NotPossible(
            f"nobody listens at {readable(near)} on this machine: what passes a proxy can be counted only where it runs"
        )
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & sockets_of(int(entry.name)):
            return int(entry.name)
    return 0
