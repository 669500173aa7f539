"""A client's connection and the one that was made for it, and how both end.

A socket that has sent its last byte is passed on as that: the other side can still answer. What a toxic ends, ends whole.
"""

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial

from chaosreprise.links import addresses
from chaosreprise.links.flow import Flow
from chaosreprise.links.loop import OUT, Loop
from chaosreprise.links.sink import End
from chaosreprise.links.stage import END, REFUSED, RESET, Toxic
from chaosreprise.links.talk import Talk, Teller

KEEPALIVE_S = 15  # of Go's sockets, and so of the real server's
WITH_A_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER


class Connection:
    def __init__(
        self,
        number: int,
        client: socket.socket,
        upstream: socket.socket,
        loop: Loop,
        gone: Callable[["Connection"], None],
    ) -> None:
        near, far = End(client, loop), End(upstream, loop)
        self.number, self.since = number, time.monotonic_ns()
        self.talk: Talk | None = None
        self._ends = near, far
        self._loop, self._gone = loop, gone
        self._resets = False
        self._closed = False
        self.upstream: Flow = Flow(near, far, loop, lambda how: self._over(self.upstream, how))
        self.downstream: Flow = Flow(far, near, loop, lambda how: self._over(self.downstream, how))
        near.handle(self.upstream.readable, self.downstream.pump)
        far.handle(self.downstream.readable, self.upstream.pump)

    def begin(self, toxics: list[Toxic]) -> None:
        toxics = [toxic for toxic in toxics if toxic.is_on(self.client)]
        if any(toxic.attributes.resets for toxic in toxics):
            self._reset_at_the_end()
        self.upstream.begin(toxic for toxic in toxics if toxic.is_upstream)
        self.downstream.begin(toxic for toxic in toxics if not toxic.is_upstream)

    @property
    def client(self) -> str:
        with contextlib.suppress(OSError):
            return addresses.join(*self._ends[0].sock.getpeername()[:2])
        return ""

    def listen(self, teller: Teller) -> None:
        """Only before `begin`: later nobody knows where a message begins."""
        talk = Talk(self.number, self.client, self.since, teller, lambda: self._loop.soon(self.do_not_listen))
        self.talk = talk
        self.upstream.listen(talk, talk.upstream)
        self.downstream.listen(talk, talk.downstream)

    def do_not_listen(self) -> None:
        for flow in () if self._closed else (self.upstream, self.downstream):
            if flow.side:
                flow.listen(self.talk, None)
                flow.pump()

    def flow(self, toxic: Toxic) -> Flow:
        return self.upstream if toxic.is_upstream else self.downstream

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.upstream.close()
        self.downstream.close()
        for end in self._ends:
            end.close()
        self._gone(self)

    def _over(self, flow: Flow, how: str) -> None:
        if how == RESET:
            self._reset_at_the_end()
        if how == END and not self._resets and not (self.upstream.is_over and self.downstream.is_over):
            with contextlib.suppress(OSError):
                flow.sink.end.sock.shutdown(socket.SHUT_WR)
                return
        other = self.downstream if flow is self.upstream else self.upstream
        if how == REFUSED and not other.is_over:
            return  # what that still holds was sent before, and goes on: it ends by itself
        self.close()

    def _reset_at_the_end(self) -> None:
        self._resets = True
        for end in self._ends:
            end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, WITH_A_RESET)


class Dial:
    """Connects to `upstream`, one address after the other; `done` gets the socket, or None when none answered."""

    def __init__(self, upstream: str, loop: Loop, done: Callable[["Dial", socket.socket | None], None]) -> None:
        self._loop, self._done = loop, done
        self._socket: socket.socket | None = None
        self._places: list[addresses.Found] = []
        self._closed = False
        try:
            self._go(addresses.find(upstream, numeric_only=True))
        except addresses.AddressError:  # a name: its resolver may be slow, or part of what is broken
            threading.Thread(target=self._look_up, args=(upstream,), daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _look_up(self, upstream: str) -> None:
        places: list[addresses.Found] = []
        with contextlib.suppress(addresses.AddressError):
            places = addresses.find(upstream)
        self._loop.post(partial(self._go, places))

    def _go(self, places: list[addresses.Found]) -> None:
        if not self._closed:
            self._places = places
            self._loop.post(self._next)

    def _next(self) -> None:
        while self._places and not self._closed:
            if self._try(*self._places.pop(0)):
                return
        if not self._closed:
            self._done(self, None)

    def _try(self, family: socket.AddressFamily, place: tuple[str, int]) -> bool:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # no descriptor left
            return False
        if sock.connect_ex(place) not in {0, errno.EINPROGRESS}:
            sock.close()
            return False
        self._socket = sock
        self._loop.handle(sock.fileno(), self._answered)
        self._loop.want(sock.fileno(), 0, OUT)
        return True

    def _answered(self, _events: int) -> None:
        connected = self._socket
        if connected is None or connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop()
            self._next()
            return
        self._loop.want(connected.fileno(), OUT, 0)
        self._socket = None
        self._done(self, connected)

    def _drop(self) -> None:
        if self._socket:
            self._loop.bury(self._socket, OUT)
            self._socket = None


def prepare(sock: socket.socket) -> None:
    """As Go sets up each of its connections; one that is broken already says so when it is read."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
