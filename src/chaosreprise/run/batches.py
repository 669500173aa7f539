"""Commands that are sent at a moment: this process waits for it, and records since when, whether it came, and how.

What is recorded is judged with the rest: a batch whose moment did not come, or was missed, makes the run unknown.
"""

import asyncio
import itertools
import pathlib
import time
from collections.abc import Callable

import msgspec

from chaosreprise.errors import RepriseError
from chaosreprise.history import Observe, Writer
from chaosreprise.history.events import MOMENT, Awaited
from chaosreprise.moments import At, Waiting
from chaosreprise.moments.waiting import Recorded


class Batches:
    def __init__(self, writer: Writer, history: pathlib.Path) -> None:
        self._writer, self._history = writer, history
        self._numbers = itertools.count(1)

    def wait(self, at: At, victims: list[str], armed: Callable[[], object]) -> None:
        """Until the moment has come; `armed` is called once it counts. Raises NotProven when it does not come."""
        asyncio.run(self._wait(at, victims, armed))

    async def _wait(self, at: At, victims: list[str], armed: Callable[[], object]) -> None:
        waiting = Waiting(at, victims, [Recorded(self._history)])
        batch: dict[str, object] = {"batch": f"b{next(self._numbers)}", "victims": victims}
        try:
            await waiting.open()
            since = self._tell(batch, waiting.stated)
            armed()
            self._tell(batch, await waiting.come(since))
        except RepriseError as error:
            self._tell(batch, msgspec.structs.replace(waiting.stated, why=str(error)))
            raise
        finally:
            waiting.close()

    def _tell(self, batch: dict[str, object], moment: Awaited) -> int:
        """When it was told."""
        now = time.monotonic_ns()
        value = batch | {"moment": msgspec.to_builtins(moment)}
        self._writer.write(Observe(lo=now, hi=now, source="owner", signal=MOMENT, value=value), at_once=True)
        return now
