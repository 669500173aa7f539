"""Objects of one kind, listed and watched: each change once, in its order, between which two moments it happened.

A look is a list, which is always the newest state. It says that the server is there, that the watch has told everything that
is in it, and by its resourceVersion, that what is newer happened after the look began. A watch that ends is taken up where it
ended, and nothing is lost. What can't be taken up (410 Gone) is listed anew: a gap, as is a server that is away and a watch
that lags behind. What a new list shows as different, has happened at some moment of the gap.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from chaosreprise.clock import Clock
from chaosreprise.errors import NotAllowed, RepriseError, Unreachable
from chaosreprise.history import Timed
from chaosreprise.kubernetes.api import Api, Expired
from chaosreprise.kubernetes.where import Where
from chaosreprise.observe import Emit, sample

BEHIND_S = 5.0
AGAIN_S = 0.05
LOOKS_KEPT = 1000  # a watch is never so many looks behind
Object = dict[str, Any]


class Change(NamedTuple):
    """What an object was (None: it was not there) and is now; of one that is `gone`, what it was at last."""

    lo: int
    hi: int
    before: Object | None
    now: Object
    gone: bool


class ObjectSource:
    """A source of evidence. `told`: the events that a change stands for."""

    def __init__(
        self, name: str, hz: float, where: Where, path: str, selector: str, told: Callable[[Change], Iterable[Timed]]
    ) -> None:
        self.name = name
        self._hz, self._where, self._path, self._told = hz, where, path, told
        self._selected = {"labelSelector": selector}
        self._api: Api | None = None
        self._watch: asyncio.Task[None] | None = None
        self._known: dict[str, Object] = {}
        self._gone: set[str] = set()
        self._news = asyncio.Event()
        self._revision = 0  # up to which everything was told
        self._looks: deque[tuple[int, int]] = deque(maxlen=LOOKS_KEPT)  # resourceVersion, when the look began
        self._since: int | None = None  # when the last look began that found everything told

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            del since, last
            await self._look(clock, emit)

        try:
            await sample(self.name, self._hz, clock, emit, stop, look)
        finally:
            await self._end_watch()
            if self._api is not None:
                await self._api.close()

    async def _look(self, clock: Clock, emit: Emit) -> None:
        if self._api is None:
            self._api = await Api.to(self._where)
        began = clock.now()
        listed = await self._api.get(self._path, **self._selected)
        revision = int(listed["metadata"]["resourceVersion"])
        objects = {one["metadata"]["uid"]: one for one in listed["items"]}
        if self._watch is not None and (self._watch.done() or revision < self._looks[-1][0]):
            why = "the cluster's store went back" if not self._watch.done() else str(self._watch.exception())
            await self._end_watch()
            raise Unreachable(f"the watch was lost, what is there is listed anew: {why}")
        if self._watch is None:
            self._adopt(objects, clock.now(), emit)
            self._looks.clear()
            self._looks.append((revision, began))
            self._begin_watch(self._api, revision, clock, emit)
        else:
            self._looks.append((revision, began))
            await self._until_told(objects, revision, clock, emit)
        self._since = began

    def _begin_watch(self, api: Api, revision: int, clock: Clock, emit: Emit) -> None:
        self._revision = revision
        self._watch = asyncio.create_task(self._follow(api, clock, emit))

    async def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._watch
            self._watch = None

    def _adopt(self, objects: dict[str, Object], now: int, emit: Emit) -> None:
        """What is there. Of the first list nobody knows since when."""
        if self._since is not None:
            for uid, before in self._known.items():
                if uid not in objects:
                    self._tell(Change(self._since, now, before, before, gone=True), emit)
            for uid, one in objects.items():
                self._tell(Change(self._since, now, self._known.get(uid), one, gone=False), emit)
        self._known, self._gone = objects, set()

    async def _follow(self, api: Api, clock: Clock, emit: Emit) -> None:
        """Until what comes next is not to be had any more."""
        while True:
            try:
                async for event in api.watch(self._path, **self._selected, resourceVersion=str(self._revision)):
                    self._take(event["type"], event["object"], clock.now(), emit)
            except (Expired, NotAllowed):
                raise
            except RepriseError:
                pass  # a look says whether the server is there
            await asyncio.sleep(AGAIN_S)

    def _take(self, kind: str, one: Object, now: int, emit: Emit) -> None:
        revision = int(one["metadata"]["resourceVersion"])
        if kind != "BOOKMARK":
            uid, gone = one["metadata"]["uid"], kind == "DELETED"
            lo = next((began for known, began in reversed(self._looks) if known < revision), self._looks[0][1])
            self._tell(Change(lo, now, self._known.get(uid), one, gone), emit)
            self._known[uid] = one
            if gone:
                del self._known[uid]
                self._gone.add(uid)
        self._revision = revision
        self._news.set()

    async def _until_told(self, objects: dict[str, Object], revision: int, clock: Clock, emit: Emit) -> None:
        """The watch has told everything that a list shows. One that does not is taken up anew where it ended."""
        assert self._api is not None
        assert self._watch is not None
        try:
            async with asyncio.timeout(BEHIND_S):
                while self._is_behind(objects, revision):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            if not self._watch.done():
                await self._end_watch()
                self._begin_watch(self._api, self._revision, clock, emit)
            raise Unreachable(f"the watch is more than {BEHIND_S:g} s behind what is there") from error

    def _is_behind(self, objects: dict[str, Object], revision: int) -> bool:
        untold = (uid for uid in objects if uid not in self._gone and uid not in self._known)
        older = (uid for uid, one in objects.items() if uid in self._known and _of(self._known[uid]) < _of(one))
        still = (uid for uid, one in self._known.items() if uid not in objects and _of(one) <= revision)
        return any(True for found in (untold, older, still) for _ in found)

    def _tell(self, change: Change, emit: Emit) -> None:
        for event in self._told(change):
            emit(event)


def _of(one: Object) -> int:
    return int(one["metadata"]["resourceVersion"])
