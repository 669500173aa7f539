"""One thread that moves all bytes: readiness of sockets, timers, and calls from the threads of the HTTP API.

One loop, not two blocking threads a connection: those hand the interpreter's lock to each other more than they work, and moved
a quarter of the round trips with 500 busy connections. It also makes each change of a chain of toxics atomic: no byte
moves meanwhile, so none is lost or overtakes another.
"""

import collections
import concurrent.futures
import contextlib
import heapq
import os
import select
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from chaosreprise.clock import SECOND

IN, OUT = select.EPOLLIN, select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP  # the kernel reports these whether asked or not
LONG, EARLY = 0.01, 0.998  # seconds; the kernel may be late by a thousandth of a wait, so a long one takes two
LONGEST_WAIT = 3600.0

T = TypeVar("T")
Handler = Callable[[int], None]


class Loop:
    def __init__(self) -> None:
        self._poller = select.epoll()  # made first, so that its number is one that select() takes
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._buried: list[socket.socket] = []
        self._ended = False
        self._poller.register(self._wake, IN)

    def run(self) -> None:
        """Until `end`. Errors of one connection are its own; what else is raised is a bug and ends the process."""
        while not self._ended:
            for fd, events in self._events():
                if handler := self._handlers.get(fd):
                    handler(events)
                elif fd == self._wake:
                    os.eventfd_read(self._wake)
            self._run_timers()
            while self._calls:
                self._calls.popleft()()
            self._close_buried()

    def end(self) -> None:
        """From a signal handler or another thread."""
        self._ended = True
        os.eventfd_write(self._wake, 1)

    def call(self, function: Callable[[], T]) -> T:
        """Run it between two events and return what it returns; for other threads than the loop's own."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001  the caller's thread raises it
                future.set_exception(error)
            else:
                self._close_buried()  # what the caller does next may need their ports
                future.set_result(result)

        self.post(run)
        return future.result()

    def post(self, function: Callable[[], None]) -> None:
        self._calls.append(function)
        os.eventfd_write(self._wake, 1)

    def soon(self, function: Callable[[], None]) -> None:
        """After the events and timers of this round; for the loop's own thread."""
        self._calls.append(function)

    def at(self, when_ns: int, function: Callable[[], None]) -> None:
        self._timer_number += 1
        heapq.heappush(self._timers, (when_ns, self._timer_number, function))

    def handle(self, fd: int, handler: Handler) -> None:
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Nobody handles it until somebody does again: what is watched of it is the caller's business."""
        self._handlers.pop(fd, None)

    def want(self, fd: int, before: int, after: int) -> None:
        """Change what is watched. Nothing wanted is not watched at all: a broken connection would be reported for ever."""
        if before and after:
            self._poller.modify(fd, after)
        elif after:
            self._poller.register(fd, after)
        elif before:
            self._poller.unregister(fd)

    def bury(self, sock: socket.socket, watched: int) -> None:
        """Forget a socket now and close it after this round, so that its number means nobody else within the round."""
        self.want(sock.fileno(), watched, 0)
        self._handlers.pop(sock.fileno(), None)
        self._buried.append(sock)

    def _close_buried(self) -> None:
        for sock in self._buried:
            with contextlib.suppress(OSError):
                sock.close()
        self._buried.clear()

    def _events(self) -> list[tuple[int, int]]:
        if self._calls:
            return self._poller.poll(0)
        if not self._timers:
            return self._poller.poll()
        wait = (self._timers[0][0] - time.monotonic_ns()) / SECOND
        if wait > 0:  # epoll counts in milliseconds, select() in microseconds
            select.select([self._poller], [], [], min(wait if wait < LONG else wait * EARLY, LONGEST_WAIT))
        return self._poller.poll(0)

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = time.monotonic_ns()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
