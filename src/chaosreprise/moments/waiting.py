"""Waiting for a moment: sources of events are followed until a `watch` says that it has come.

A source says when there is news, and gives it when asked. The history is one: the load writes each command before its
first byte leaves and each answer when it was read, the recorder each look; inotify wakes whoever waits (inotify(7)), so
that waiting costs nothing where nothing happens. Where the kernel gives no more of those, it is looked at each millisecond.
"""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Protocol

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotProven
from chaosreprise.history import Tail
from chaosreprise.history.events import AnyEvent, Awaited
from chaosreprise.moments.commands import Came
from chaosreprise.moments.grammar import At, Moment, patience_s, plain, words
from chaosreprise.moments.watch import Watch, watch

WRITERS = ("owner", "load", "recorder")
AT_ONCE = 1 << 20  # bytes of a segment that are read before somebody else gets a turn
LOOK_EVERY_S = 0.001
SAFETY_S = 0.25  # between two looks without any news
IN_MODIFY, IN_CREATE = 0x2, 0x100
_libc = ctypes.CDLL(None, use_errno=True)


class Source(Protocol):
    """Where events come from while a moment is waited for. `looks_often`: it can't tell when there is news."""

    looks_often: bool

    def open(self, news: asyncio.Event) -> None:
        """From now on `news` is set when there is something new."""
        ...

    def new(self) -> Iterator[AnyEvent]:
        """Some of what came since the last call, in an order in which no effect stands before its cause; nothing: that is all."""
        ...

    def close(self) -> None: ...


class Recorded:
    """The history of a run, as it grows."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._tails = {writer: Tail(folder, writer, AT_ONCE) for writer in WRITERS}
        self._fd = -1
        self.looks_often = False

    def open(self, news: asyncio.Event) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(self._folder), IN_MODIFY | IN_CREATE) < 0:
            self.close()
            self.looks_often = True
            return
        asyncio.get_running_loop().add_reader(self._fd, self._woken, news)

    def new(self) -> Iterator[AnyEvent]:
        """What was recorded is read first and told last: the command behind it was written before."""
        found = {writer: list(self._tails[writer].new()) for writer in reversed(WRITERS)}
        for writer in WRITERS:
            yield from found[writer]

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(RuntimeError, ValueError):  # no loop any more, or never a reader
                asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _woken(self, news: asyncio.Event) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 1 << 16)
        news.set()


class Waiting:
    """One moment that is waited for. `unless` raises, after whatever time, when there is no more reason to wait."""

    def __init__(
        self,
        at: At,
        victims: Collection[str],
        sources: Sequence[Source],
        unless: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._at, self._sources, self._unless = at, sources, unless
        self._watch: Watch | None = watch(at, victims) if isinstance(at, Moment) else None
        self._news = asyncio.Event()
        self.stated = Awaited(at=plain(at), say=words(at))

    async def open(self) -> None:
        """Learn what was recorded so far."""
        if self._watch is None:
            return
        for source in self._sources:
            source.open(self._news)
            while self._look(self._watch, source):
                await asyncio.sleep(0)

    async def come(self, since: int) -> Awaited:
        """Wait, counting from `since` (CLOCK_MONOTONIC, ns). Raises NotProven when it does not come in time."""
        coming = asyncio.ensure_future(self._come(since))
        tasks = [coming] if self._unless is None else [coming, asyncio.ensure_future(self._unless())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in reversed(tasks):
                if task.done():
                    task.result()
            came = await coming
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Awaited(at=self.stated.at, say=self.stated.say, came=came.at, cmds=came.cmds)

    def close(self) -> None:
        for source in self._sources:
            source.close()

    async def _come(self, since: int) -> Came:
        until = since + int(patience_s(self._at) * SECOND)
        if self._watch is None:
            await asyncio.sleep(max(0.0, (until - time.monotonic_ns()) / SECOND))
            return Came(until, [])
        self._watch.begin(since)
        while (came := self._looked(self._watch)) is None:
            left = (until - time.monotonic_ns()) / SECOND
            if left <= 0:
                raise NotProven(
                    f"its moment did not come within {patience_s(self._at):g} s ({words(self._at)}): {self._watch.missing()}"
                )
            await self._until_news(min(left, SAFETY_S))
        return came

    def _looked(self, watching: Watch) -> Came | None:
        for source in self._sources:
            while self._look(watching, source):
                pass
        return watching.came()

    def _look(self, watching: Watch, source: Source) -> bool:
        found = False
        for event in source.new():
            watching.feed(event)
            found = True
        return found

    async def _until_news(self, seconds: float) -> None:
        if any(source.looks_often for source in self._sources):
            seconds = min(seconds, LOOK_EVERY_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
