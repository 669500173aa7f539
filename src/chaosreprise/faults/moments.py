"""Moments: a fault that is armed may wait until commands are under way, so that it strikes while they are in flight.

They are seen in the growing history, where the load writes each command before its first byte leaves. A moment that does
not come within 30 s is said, and the fault is not made.
"""

import asyncio
import collections
import pathlib
import time

from chaosreprise.errors import NotProven
from chaosreprise.history import Submit, Tail

LOOK_EVERY_S = 0.001
PATIENCE_S = 30.0


class Sent:
    """Until at least `need` commands of each kind were sent since this was made."""

    def __init__(self, history: pathlib.Path, need: dict[str, int]) -> None:
        self._need = need
        self._tail = Tail(history, "load")
        if need:
            collections.deque(self._tail.new(), maxlen=0)

    async def come(self) -> None:
        """Raises NotProven when it does not come in time."""
        sent: collections.Counter[str] = collections.Counter()
        deadline = time.monotonic() + PATIENCE_S
        while missing := [kind for kind, n in self._need.items() if sent[kind] < n]:
            if time.monotonic() > deadline:
                kind = missing[0]
                raise NotProven(
                    f"its moment did not come: {sent[kind]} of {self._need[kind]} {kind} commands were sent"
                )
            await asyncio.sleep(LOOK_EVERY_S)
            sent.update(event.op for event in self._tail.new() if isinstance(event, Submit))
