"""Moments: a fault that is armed may wait until commands are under way, so that it strikes while they are in flight.

They are seen in the growing history, where the load writes each command before its first byte leaves, and each answer when it
is read. A moment that does not come within 30 s is said, and the fault is not made.
"""

import asyncio
import collections
import pathlib
import time
from collections.abc import Iterator

from chaosreprise.errors import NotProven
from chaosreprise.history import Answer, Submit, Tail

LOOK_EVERY_S = 0.001
PATIENCE_S = 30.0


class Accepted:
    """Until at least `need` commands of each kind were accepted that were sent since this was made.

    Accepted, not sent: what a broken platform never got to read could be neither lost nor done twice.
    """

    def __init__(self, history: pathlib.Path, need: dict[str, int]) -> None:
        self._need = need
        self._tail = Tail(history, "load")
        self._kinds: dict[str, str] = {}
        if need:
            collections.deque(self._tail.new(), maxlen=0)

    async def come(self) -> None:
        """Raises NotProven when it does not come in time."""
        accepted: collections.Counter[str] = collections.Counter()
        deadline = time.monotonic() + PATIENCE_S
        while missing := [kind for kind, n in self._need.items() if accepted[kind] < n]:
            if time.monotonic() > deadline:
                kind = missing[0]
                raise NotProven(
                    f"its moment did not come: {accepted[kind]} of {self._need[kind]} {kind} commands were accepted"
                )
            await asyncio.sleep(LOOK_EVERY_S)
            accepted.update(self._new())

    def _new(self) -> Iterator[str]:
        for event in self._tail.new():
            if isinstance(event, Submit):
                self._kinds[event.cmd] = event.op
            elif isinstance(event, Answer) and event.outcome == "ok" and event.cmd in self._kinds:
                yield self._kinds[event.cmd]
