"""Whether a moment has come, decided from events alone: fed with a growing history, asked after each look. Pure.

Only what happened since it was begun (the fault is armed) counts; a state that holds then, of an agent or of the run, does
at once. What is learned before that is whose sessions are whose, and which commands are under way.
"""

from collections.abc import Collection
from typing import Protocol

from chaosreprise.history.events import AnyEvent, Phase, Report
from chaosreprise.moments.commands import NEVER, Came, Commands, Count, agents_of
from chaosreprise.moments.grammar import Moment


class Watch(Protocol):
    def feed(self, event: AnyEvent) -> None: ...

    def begin(self, since: int) -> None:
        """From this moment on (CLOCK_MONOTONIC, ns) things count."""
        ...

    def came(self) -> Came | None: ...

    def missing(self) -> str:
        """What has happened of it, for whoever asks why it did not come."""
        ...


def watch(at: Moment, victims: Collection[str]) -> Watch:
    """`victims`: the components that the fault is on."""
    if at.phase is not None:
        return _InPhase(at.phase)
    if at.agent is not None:
        return _AgentShown(at.agent, None if at.whose == "any" else agents_of(victims))
    return Commands([Count(event, until) for event, until in at.events()], victims)


class _InPhase:
    def __init__(self, name: str) -> None:
        self._name, self._since = name, NEVER
        self._began: int | None = None
        self._now = ""

    def begin(self, since: int) -> None:
        self._since = since

    def feed(self, event: AnyEvent) -> None:
        if isinstance(event, Phase):
            self._now = event.name if event.edge == "begin" else ""
            self._began = event.hi if self._now == self._name else None

    def came(self) -> Came | None:
        return None if self._began is None else Came(max(self._began, self._since), [])

    def missing(self) -> str:
        return f"the run is in the phase {self._now!r}" if self._now else "the run is in no phase"


class _AgentShown:
    def __init__(self, state: str, agents: Collection[str] | None) -> None:
        self._state, self._agents, self._since = state, agents, NEVER
        self._shown: dict[str, tuple[str, int]] = {}

    def begin(self, since: int) -> None:
        self._since = since

    def feed(self, event: AnyEvent) -> None:
        if isinstance(event, Report) and event.about == "agent" and (self._agents is None or event.id in self._agents):
            self._shown[event.id] = event.state, event.hi

    def came(self) -> Came | None:
        found = [hi for state, hi in self._shown.values() if state == self._state]
        return Came(max(min(found), self._since), []) if found else None

    def missing(self) -> str:
        told = ", ".join(f"{agent} is shown {state}" for agent, (state, _) in sorted(self._shown.items()))
        return told or "no agent is shown at all"
