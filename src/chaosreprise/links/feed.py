"""`GET /reprise/frames`: what the taps see, as JSON lines, to whoever subscribes. All of it runs in the loop.

Nobody is waited for: a subscriber that does not read in time is told later how many lines it has lost, and one that is gone
is forgotten.
"""

import itertools
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from chaosreprise.links.loop import BROKEN, IN, OUT, Loop
from chaosreprise.links.reading import Attention

ROOM = 1 << 20  # bytes that wait for a subscriber
KERNEL_ROOM = 1 << 18  # and so many more in the kernel
TEXT = 2000  # characters that are told of a text
MOST_STATEMENTS = 20  # that are told of a transaction

_encoder = msgspec.json.Encoder()


class Subscriber:
    """`proxies`: their names; none means all."""

    def __init__(
        self, sock: socket.socket, proxies: frozenset[str], loop: Loop, gone: Callable[["Subscriber"], None]
    ) -> None:
        self._socket, self._proxies, self._loop, self._gone = sock, proxies, loop, gone
        self._waiting = bytearray()
        self._lost = 0
        self._watched = IN
        self._is_due = False
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_ROOM)
        loop.handle(sock.fileno(), self._event)
        loop.want(sock.fileno(), 0, IN)

    def wants(self, proxy: str) -> bool:
        return not self._proxies or proxy in self._proxies

    def put(self, line: bytes) -> None:
        if self._lost or len(self._waiting) > ROOM:
            self._lost += 1
            return
        self._waiting += line
        if not self._is_due and not self._watched & OUT:
            self._is_due = True
            self._loop.soon(self._flush)

    def close(self) -> None:
        if self._watched >= 0:
            watched, self._watched = self._watched, -1
            self._loop.bury(self._socket, watched)
            self._gone(self)

    def _event(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if events & (IN | BROKEN) and self._watched >= 0 and self._has_ended():
            self.close()

    def _flush(self) -> None:
        self._is_due = False
        if self._watched < 0:
            return
        try:
            sent = self._socket.send(self._waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._waiting[:sent]
        if self._lost and len(self._waiting) < ROOM // 2:
            self._waiting += _line({"t": time.monotonic_ns(), "what": "gap", "lost": self._lost})
            self._lost = 0
        self._want(IN | OUT if self._waiting else IN)

    def _want(self, events: int) -> None:
        self._loop.want(self._socket.fileno(), self._watched, events)
        self._watched = events

    def _has_ended(self) -> bool:
        try:
            return not self._socket.recv(4096)  # it has nothing to say
        except BlockingIOError:
            return False
        except OSError:
            return True


class Feed:
    """`changed` is called when what is watched may have changed."""

    def __init__(self, loop: Loop) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.numbers = itertools.count(1)  # of connections
        self._loop = loop
        self._subscribers: set[Subscriber] = set()

    def wants(self, proxy: str) -> bool:
        return any(one.wants(proxy) for one in self._subscribers)

    def subscribe(
        self, sock: socket.socket, proxies: frozenset[str], first: Callable[[], list[dict[str, Any]]]
    ) -> None:
        """`first` is told before anything else, and to this subscriber alone."""
        subscriber = Subscriber(sock, proxies, self._loop, self._leave)
        self._subscribers.add(subscriber)
        self.changed()
        for about in first():
            if about.get("proxy") is None or subscriber.wants(about["proxy"]):
                subscriber.put(_line(about))

    def tell(self, proxy: str, about: dict[str, Any]) -> None:
        line = b""
        for subscriber in tuple(self._subscribers):
            if subscriber.wants(proxy):
                line = line or _line(about)
                subscriber.put(line)

    def _leave(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        self.changed()


class Desk:
    """Where the connections of one proxy tell what they see."""

    def __init__(self, proxy: str, feed: Feed) -> None:
        self.attention = Attention()
        self._proxy, self._feed = proxy, feed

    def tell(self, connection: int, about: dict[str, Any], text: str | None = None, stamp: int = 0) -> None:
        if not self.attention.watched:
            return
        line = {"t": stamp or time.monotonic_ns(), "proxy": self._proxy, "connection": connection, **about}
        if statements := about.get("statements"):
            line["statements"] = [one[:TEXT] for one in statements[:MOST_STATEMENTS]]
        if text is not None:
            line["text"] = text[:TEXT]
            if len(text) > TEXT:
                line["text_cut"] = True
        self._feed.tell(self._proxy, line)


def _line(about: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(about) + b"\n"
    except (UnicodeEncodeError, OverflowError, ValueError):  # what came from outside may hold half a surrogate pair
        return json.dumps(about).encode() + b"\n"
