"""The life of each fault as the warden recorded it, and what in it makes a run unknown.

A fault counts for exposure only while it is proven: from `proven` (its end, taken wide) to `undoing` (its beginning). Of one
that had ended by itself before, since whoever should have undone it stood still or was dead, nobody knows how long it lasted. A
run is unknown when a fault was injected but not proven, is not undone, was undone by anybody but the run, or leaked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chaosreprise.history.events import AWAY, Fault, State
from chaosreprise.moments.commands import agent_of

ASKED = ("restart", "evict", "kill_container", "rollout_restart")
"""To end, which may do so nicely."""
MOMENTARY = ("crash", "cut_registry", *ASKED)
ACTED: tuple[State, ...] = ("injected", "proven", "undoing", "undone", "leaked")
ENDS: tuple[State, ...] = ("leaked", "clean", "moot")
AGENTS, LINKS, SESSIONS = "agents/", "links/", "sessions/"
ONLINE = "online"
CUT_OFF = ("freeze", "blackhole", "refuse", "hang")
"""The same of faults on a link, where they hit both directions of all its connections."""
AGAIN = "run the experiment again"
BY_ITSELF = ("lease", "keeper", "server", "database", "somebody else")
"""Who may have ended a fault long before that was noticed."""
UNDONE_BY = {
    "lease": (
        "it was undone by its lease: the run was hung",
        "find out what the run waited for, or give the fault a longer planned time",
    ),
    "guard": ("it was undone by the guard before its time", "see whether the platform is well before the next run"),
    "server": (
        "it ended before its time: the proxy's server had lost it, as one does that restarts",
        f"see why that server restarted, then {AGAIN}",
    ),
    "database": (
        "it ended before its time: the database had ended a session that held it",
        f"see in the database's log why, then {AGAIN}",
    ),
    "somebody else": (
        "it ended before its time: somebody else had changed what it had changed",
        f"find out who changes the platform's settings, then {AGAIN}",
    ),
    "rollback": (
        "it did not come to its end: no new pod became ready, and the Deployment was rolled back to its former template",
        "see what its new pods wait for (`kubectl describe pod`), then " + AGAIN,
    ),
    "stop": ("it was undone by `chaos reprise stop` before its time", AGAIN),
}


@dataclass(slots=True)
class Life:
    """One fault; each state by its first event."""

    fault: str
    kind: str
    component: str
    states: dict[State, Fault]

    @property
    def momentary(self) -> bool:
        """A crash or a restart is over at once: it is met by what was in flight. Anything else is held."""
        return self.kind.rpartition(".")[2] in MOMENTARY

    @property
    def struck(self) -> int | None:
        """When it surely had struck. Who is asked to end works on until it has: that belongs to the restart."""
        event = self.states.get("injected") if self.kind.rpartition(".")[2] in ASKED else None
        event = event or self.proven
        return None if event is None else event.hi

    @property
    def agent(self) -> str | None:
        """Whose sessions are concerned: those of an agent that is broken itself, or whose link to the control plane is."""
        return agent_of(self.component)

    @property
    def away(self) -> bool:
        """Whether it leaves its component, or the agent behind its link, out of the world while it is on."""
        group, _, verb = self.kind.rpartition(".")
        if f"{group}/" != LINKS:
            return verb in AWAY
        return verb in CUT_OFF and self.seen("direction", "both") == "both" and not self.partial

    @property
    def partial(self) -> bool:
        """Whether it hits some connections of a link and not others: which commands crossed those, nobody knows."""
        return bool(self.seen("spared", 0))

    def seen(self, what: str, otherwise: Any) -> Any:
        """What its proof says."""
        return ((self.proven.proof if self.proven else None) or {}).get(what, otherwise)

    @property
    def proven(self) -> Fault | None:
        return self.states.get("proven")

    @property
    def healing(self) -> Fault | None:
        """The start of its undo."""
        return self.states.get("undoing") or self.states.get("undone")

    @property
    def lasted_until(self) -> int | None:
        """Up to when it surely was there; None: not known, and perhaps for no moment after its proof."""
        if self.healing is None or self.undone is None or self.undone.by in BY_ITSELF:
            return None
        return self.healing.lo

    @property
    def undone(self) -> Fault | None:
        return self.states.get("undone")

    @property
    def began(self) -> int | None:
        """The first moment at which it may have done something; None for one that was only planned.

        One that waited for its moment did nothing before it came.
        """
        idle: tuple[State, ...] = ("planned",)
        if (injected := self.states.get("injected")) is not None and injected.moment is not None:
            idle = ("planned", "armed")
        return min((event.lo for state, event in self.states.items() if state not in idle), default=None)

    @property
    def over(self) -> bool:
        return any(state in self.states for state in ENDS)

    @property
    def end(self) -> str:
        """The last state that it reached, in words."""
        found = next((state for state in ENDS if state in self.states), None)
        return found or (next(reversed(self.states)) if self.states else "planned")

    def trouble(self) -> tuple[str, str] | None:
        """Why this fault makes the run unknown, and what to do; None when all is well with it."""
        undone = self.undone
        if "leaked" in self.states:
            return "it leaked: it could not be undone", "run `chaos reprise heal`, then the experiment again"
        if self.began is None or (self.over and not any(state in self.states for state in ACTED)):
            return None
        if self.proven is None and "injected" not in self.states:
            return self._never_made()
        if self.proven is None:
            return (
                "it was injected but not proven: the fault did not bite",
                "see the journal for the step of the method that failed",
            )
        if undone is None:
            return "nothing says that it was undone", "run `chaos reprise heal`, then the experiment again"
        if undone.by not in (None, "run"):
            died = f"it was undone by the {undone.by}, not by the run: a part of the run had died"
            return UNDONE_BY.get(undone.by, (died, f"see logs/ for what ended, then {AGAIN}"))
        if not self.over:
            return "nobody saw its target whole again", "run `chaos reprise heal`, then the experiment again"
        return None

    def _never_made(self) -> tuple[str, str]:
        """Its moment is named where it waited for one."""
        told = [event.moment for event in self.states.values() if event.moment is not None]
        if not told:
            return "it was armed and never made: its moment did not come, or its injection failed", (
                "see logs/warden.log for why; keep more sessions in reserve if too few commands were in flight"
            )
        why = told[-1].why or f"nothing says that its moment came ({told[-1].say})"
        return f"it was armed and never made: {why}", "wait longer (`within_s`), or for something that happens"


def lives(events: Iterable[Fault]) -> list[Life]:
    """All faults, in the order in which they appear."""
    found: dict[str, Life] = {}
    for event in events:
        life = found.setdefault(event.fault, Life(event.fault, event.kind, event.component, {}))
        life.states.setdefault(event.state, event)
    return list(found.values())
