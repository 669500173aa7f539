"""A proxy: where it listens, where it leads, its toxics and its connections.

Its methods are for the threads of the HTTP API, one at a time; what touches sockets runs in the loop.
"""

import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from chaosreprise.clock import MS
from chaosreprise.links import addresses
from chaosreprise.links.connection import Connection, Dial, prepare
from chaosreprise.links.feed import Desk, Feed
from chaosreprise.links.flow import Flow
from chaosreprise.links.gojson import shortest
from chaosreprise.links.loop import IN, Loop
from chaosreprise.links.stage import Tally, Toxic

AT_ONCE = 64  # connections taken in one round
BEGAN_UNREAD, READ_NO_MORE = "nobody read it when it began", "nobody read it for a while"
PAUSE_NS = 100 * MS  # before the next accept when this process has no descriptor left

T = TypeVar("T")


class Proxy:
    def __init__(
        self, loop: Loop, name: str, listen: str, upstream: str, feed: Feed | None = None, tap: bool = False
    ) -> None:
        self.name, self.listen, self.upstream = name, listen, upstream
        self.enabled = False
        self.tap = tap  # its connections are read from their beginning, also while nobody asks
        self.toxics: list[Toxic] = []
        self._loop, self._feed = loop, feed or Feed(loop)
        self._desk = Desk(name, self._feed)
        self._listener: socket.socket | None = None
        self._watched = 0
        self._connections: set[Connection] = set()
        self._dials: dict[Dial, socket.socket] = {}
        self._passed = {"upstream": [0, 0], "downstream": [0, 0]}  # received, sent, of connections that are gone

    def start(self) -> None:
        """AddressError when it can't listen; nothing when it does."""
        if self.enabled:
            return
        self._listener = addresses.listen(self.listen)
        self._listener.setblocking(False)
        self.listen = addresses.of(self._listener)
        self._in_loop(self._watch)
        self.enabled = True

    def stop(self) -> None:
        if self.enabled:
            self.enabled = False
            self._in_loop(self._close)

    def differs(self, listen: str, upstream: str) -> bool:
        return self.listen != addresses.canonical(listen) or self.upstream != upstream

    def update(self, listen: str, upstream: str, enabled: bool) -> None:
        if self.differs(listen, upstream):
            self.stop()
            self.listen, self.upstream = listen, upstream
        if enabled:
            self.start()
        else:
            self.stop()

    def add(self, toxic: Toxic) -> None:
        def act() -> None:
            self.toxics.append(toxic)
            self.look()
            self._change(toxic, Flow.add)

        self._in_loop(act)

    def change(self, toxic: Toxic, attributes: Any, toxicity: float) -> None:
        def act() -> None:
            toxic.attributes, toxic.toxicity, toxic.tally = attributes, toxicity, Tally()
            self._change(toxic, Flow.update)

        self._in_loop(act)

    def remove(self, toxic: Toxic) -> None:
        def act() -> None:
            self.toxics.remove(toxic)
            self._change(toxic, Flow.remove)
            self.look()

        self._in_loop(act)

    def passed(self, direction: str) -> tuple[int, int]:
        """Bytes received and sent by all its connections so far."""

        def count() -> tuple[int, int]:
            flows = [getattr(connection, direction) for connection in self._connections]
            received, sent = self._passed[direction]
            return received + sum(flow.received for flow in flows), sent + sum(flow.sink.sent for flow in flows)

        return self._in_loop(count)

    def shown(self) -> dict[str, Any]:
        ordered = sorted(self.toxics, key=lambda toxic: not toxic.is_upstream)
        tap = {"tap": True} if self.tap else {}  # which the real server does not know
        return tap | {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "Logger": {},  # the real server shows its own, which has nothing to show
            "toxics": [shown(toxic) for toxic in ordered],
        }

    def read_along(self, tap: bool) -> None:
        self.tap = tap
        self._in_loop(self.look)

    def look(self) -> None:
        """What is watched has changed. In the loop."""
        attention = self._desk.attention
        attention.set(self._feed.wants(self.name), any(toxic.attributes.on_messages for toxic in self.toxics))
        for connection in () if self._is_read else list(self._connections):
            if connection.talk and not connection.talk.blind:
                connection.talk.blind = READ_NO_MORE
            connection.do_not_listen()

    def read_so_far(self) -> dict[str, Any]:
        """Each connection, and how it is read; what each toxic on messages has done. In the loop."""
        tallies = {one.name: vars(one.tally) for one in self.toxics if one.attributes.on_messages}
        connections = [
            {
                "proxy": self.name,
                "connection": connection.number,
                "client": connection.client,
                "since": connection.since,
                "protocol": connection.talk.protocol if connection.talk else None,
                "blind": connection.talk.blind if connection.talk else BEGAN_UNREAD,
            }
            for connection in sorted(self._connections, key=lambda one: one.number)
        ]
        return {"connections": connections, "toxics": tallies}

    @property
    def _is_read(self) -> bool:
        return self.tap or self._desk.attention.is_keen

    def _in_loop(self, function: Callable[[], T]) -> T:
        return self._loop.call(function)

    def _change(self, toxic: Toxic, how: Callable[[Flow, Toxic], None]) -> None:
        for connection in list(self._connections):
            if toxic.is_on(connection.client):
                how(connection.flow(toxic), toxic)

    def _watch(self) -> None:
        self.look()
        if self._listener:
            self._loop.handle(self._listener.fileno(), self._accept)
            self._want(self._listener, IN)

    def _accept(self, _events: int) -> None:
        if not self._listener:
            return
        try:
            for _ in range(AT_ONCE):
                client, _address = self._listener.accept()
                prepare(client)
                self._taken(client)
        except BlockingIOError:
            return
        except OSError:  # no descriptor left, or a client that has gone again
            listener = self._listener
            self._want(listener, 0)
            self._loop.at(time.monotonic_ns() + PAUSE_NS, lambda: self._resume(listener))

    def _taken(self, client: socket.socket) -> None:
        self._dials[Dial(self.upstream, self._loop, self._dialled)] = client

    def _resume(self, listener: socket.socket) -> None:
        if listener is self._listener:
            self._want(listener, IN)

    def _want(self, listener: socket.socket, events: int) -> None:
        self._loop.want(listener.fileno(), self._watched, events)
        self._watched = events

    def _dialled(self, dial: Dial, upstream: socket.socket | None) -> None:
        client = self._dials.pop(dial)
        if not upstream:
            client.close()
            return
        prepare(upstream)
        connection = Connection(next(self._feed.numbers), client, upstream, self._loop, self._forget)
        self._connections.add(connection)
        if self._is_read:
            connection.listen(self._desk)
        self._desk.tell(connection.number, {"what": "open", "client": connection.client})
        connection.begin(self.toxics)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._desk.tell(connection.number, {"what": "close"})
        for direction, passed in self._passed.items():
            flow: Flow = getattr(connection, direction)
            passed[0] += flow.received
            passed[1] += flow.sink.sent

    def _close(self) -> None:
        if self._listener:
            self._loop.bury(self._listener, self._watched)
            self._listener, self._watched = None, 0
        for dial, client in self._dials.items():
            dial.close()
            client.close()
        self._dials.clear()
        for connection in list(self._connections):
            connection.close()


def shown(toxic: Toxic) -> dict[str, Any]:
    clients = {"clients": list(toxic.clients)} if toxic.clients else {}  # which the real server does not know
    return clients | {
        "attributes": dict(vars(toxic.attributes)),
        "name": toxic.name,
        "type": toxic.type,
        "stream": toxic.stream,
        "toxicity": shortest(toxic.toxicity),
    }
