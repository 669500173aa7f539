"""A socket of a connection with what is watched of it, and what waits for its receiver."""

import collections
import socket
from collections.abc import Callable

from chaosreprise.links.loop import BROKEN, IN, OUT, Loop
from chaosreprise.links.pipes import Pipe, Spares
from chaosreprise.links.units import Chunk

WAITING = 2  # chunks that wait for the receiver before the toxics have to


class End:
    def __init__(self, sock: socket.socket, loop: Loop) -> None:
        self.sock, self.fd = sock, sock.fileno()
        self.recv_into, self.send = sock.recv_into, sock.send
        self._loop = loop
        self._watched = 0

    def handle(self, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        def event(events: int) -> None:
            if self._watched & OUT and events & (OUT | BROKEN):
                writable()
            if self._watched & IN and events & (IN | BROKEN):
                readable()

        self._loop.handle(self.fd, event)

    def reads(self, wanted: bool) -> None:
        if wanted != bool(self._watched & IN):
            self._want(self._watched ^ IN)

    def writes(self, wanted: bool) -> None:
        if wanted != bool(self._watched & OUT):
            self._want(self._watched ^ OUT)

    def close(self) -> None:
        watched, self._watched = self._watched, 0
        self._loop.bury(self.sock, watched)

    def _want(self, events: int) -> None:
        self._loop.want(self.fd, self._watched, events)
        self._watched = events


class Sink:
    """What is left in a pipe comes first, then chunks."""

    def __init__(self, end: End, spares: Spares) -> None:
        self.end = end
        self.ended: str | None = None
        self.pipe: Pipe | None = None
        self.sent = 0
        self._spares = spares
        self._chunks: collections.deque[memoryview] = collections.deque()

    def room(self) -> bool:
        return len(self._chunks) < WAITING

    def push(self, chunk: Chunk) -> None:
        self._chunks.append(memoryview(chunk.data))

    def is_empty(self) -> bool:
        return not self._chunks and self.pipe is None

    def flush(self) -> bool:
        """Give the receiver what it takes; whether it took anything. OSError when it is gone."""
        before, chunks = self.sent, self._chunks
        try:
            if self.pipe:
                self._empty(self.pipe)
            while chunks:
                taken = self.end.send(chunks[0])
                self.sent += taken
                if taken == len(chunks[0]):
                    chunks.popleft()
                else:
                    chunks[0] = chunks[0][taken:]
        except BlockingIOError:
            pass
        return self.sent != before

    def close(self) -> None:
        if self.pipe:
            self._spares.give(self.pipe)
            self.pipe = None
        self._chunks.clear()

    def _empty(self, pipe: Pipe) -> None:
        while pipe.held:
            self.sent += pipe.empty(self.end.fd)
        self._spares.give(pipe)
        self.pipe = None
