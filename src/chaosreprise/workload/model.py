"""What the load knows of the platform: the recorder's reports, followed in the growing history.

The load reads no rows of its own, so that there is one observer and one truth.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol, get_args

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import RunBroken
from chaosreprise.history import Effect, Report
from chaosreprise.history.events import Place

POLL_S = 0.01
BEGUN = ("up", "back")


class Following(Protocol):
    """A growing history."""

    def new(self) -> Iterable[Any]:
        """What was added since the last call."""
        ...


class Model:
    """State and owner of our sessions by name; of each agent, where that is said, the control plane that has it.

    `lives`: what runs of each session, where processes have a ledger of their own (`pods`).
    `places`: what a start may ask for, by what agents have. `activity` grows with each effect and each report on a command or session.
    """

    def __init__(self, recorded: Following, clock: Clock) -> None:
        self._recorded, self._clock = recorded, clock
        self.state: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.agents: dict[str, str] = {}
        self.control_plane: dict[str, str] = {}
        self.places: dict[Place, set[str]] = {name: set() for name in get_args(Place)}
        self.lives: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self.activity = 0

    def update(self) -> None:
        for event in self._recorded.new():
            if isinstance(event, Report):
                self._learn(event)
            elif isinstance(event, Effect):
                self.activity += 1
                if event.session and event.inc:
                    (self.lives[event.session].add if event.mark in BEGUN else self.lives[event.session].discard)(
                        tuple(event.inc)
                    )

    def _learn(self, report: Report) -> None:
        if report.about == "agent":
            self.agents[report.id] = report.state
            if has_it := report.fields.get("control_plane"):
                self.control_plane[report.id] = str(has_it)
            for name in self.places:
                if value := report.fields.get(name):
                    self.places[name].add(str(value))
        if report.about in ("agent", "frame"):
            return
        self.activity += 1
        if report.about == "session":
            self.state[report.id] = report.state
            if report.owner:
                self.owner[report.id] = report.owner

    async def until(self, what: str, holds: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `holds()`; RunBroken with `what` when it did not within the time."""
        end = self._clock.now() + timeout_s * SECOND
        while not holds():
            if self._clock.now() > end:
                raise RunBroken(f"{what}: not within {timeout_s:g} s")
            await self._clock.sleep(POLL_S)
            self.update()
