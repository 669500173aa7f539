"""What the load knows of the platform: the recorder's reports, followed in the growing history.

The load reads no rows of its own, so that there is one observer and one truth.
"""

import asyncio
import pathlib
import time
from collections.abc import Callable

from chaosreprise.errors import RunBroken
from chaosreprise.history import Effect, Report, Tail

POLL_S = 0.01


class Model:
    """State and owner of our sessions by name. `activity` grows with each effect and each report on a command or session."""

    def __init__(self, history: pathlib.Path) -> None:
        self._tail = Tail(history, "recorder")
        self.state: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.agents: dict[str, str] = {}
        self.activity = 0

    def update(self) -> None:
        for event in self._tail.new():
            if isinstance(event, Report):
                self._learn(event)
            elif isinstance(event, Effect):
                self.activity += 1

    def _learn(self, report: Report) -> None:
        if report.about == "agent":
            self.agents[report.id] = report.state
            return
        self.activity += 1
        if report.about == "session":
            self.state[report.id] = report.state
            if report.owner:
                self.owner[report.id] = report.owner

    async def until(self, what: str, holds: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `holds()`; RunBroken with `what` when it did not within the time."""
        end = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > end:
                raise RunBroken(f"{what}: not within {timeout_s:g} s")
            await asyncio.sleep(POLL_S)
            self.update()
