"""The history as columns: one list a field of the commands, effects and reports indexed by what they are asked for.

Built once for all checks. Nothing is decided here; what does not fit together is named in `problems`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chaosreprise.history.events import (
    Answer,
    Coverage,
    Effect,
    Fault,
    Mark,
    Observe,
    Op,
    Outcome,
    Phase,
    Place,
    Report,
    Resource,
    Sign,
    Stream,
    Submit,
    Timed,
)

PENDING = "pending"  # accepted, and waits for its agent
SENT = "sent"  # given to its agent
FINISHED = "completed"
FAILED = "failed"


@dataclass(slots=True)
class Commands:
    """One row an attempt, in the order of submission. An attempt without an answer is `info`."""

    cmd: list[str] = field(default_factory=list)
    op: list[Op] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    session: list[str | None] = field(default_factory=list)
    user: list[str | None] = field(default_factory=list)
    path: list[list[str]] = field(default_factory=list)
    asks: list[dict[Place, str]] = field(default_factory=list)
    persistent: list[bool] = field(default_factory=list)
    resources: list[dict[Resource, int]] = field(default_factory=list)
    lo: list[int] = field(default_factory=list)
    hi: list[int] = field(default_factory=list)
    outcome: list[Outcome] = field(default_factory=list)
    answer: list[Answer | None] = field(default_factory=list)
    number: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.cmd)

    def submit(self, event: Submit) -> None:
        if event.cmd in self.number:
            self.problems.append(f"{event.cmd} was submitted twice")
            return
        self.number[event.cmd] = len(self.cmd)
        self.cmd.append(event.cmd)
        self.op.append(event.op)
        self.key.append(event.key)
        self.session.append(event.session)
        self.user.append(event.user)
        self.path.append(event.path)
        self.asks.append(event.asks)
        self.persistent.append(event.persistent)
        self.resources.append(event.resources)
        self.lo.append(event.lo)
        self.hi.append(event.hi)
        self.outcome.append("info")
        self.answer.append(None)

    def answered(self, event: Answer) -> None:
        row = self.number.get(event.cmd)
        if row is None or self.answer[row] is not None:
            self.problems.append(f"{event.cmd} was answered {'twice' if row is not None else 'but never submitted'}")
            return
        self.answer[row] = event
        self.outcome[row] = event.outcome
        if self.session[row] is None:
            self.session[row] = event.session

    def accepted_at(self, row: int) -> int | None:
        """When its acceptance was surely known."""
        answer = self.answer[row]
        return answer.hi if answer is not None and answer.outcome == "ok" else None

    def platform_id(self, row: int) -> str | None:
        answer = self.answer[row]
        return answer.id if answer is not None else None

    def by_session(self) -> dict[tuple[str, str], list[int]]:
        """Rows by (session, kind), in the order of submission; without those whose session is not known."""
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row, (session, op) in enumerate(zip(self.session, self.op, strict=True)):
            if session is not None:
                groups[session, op].append(row)
        return groups


@dataclass(slots=True)
class Effects:
    """Effects by (ledger, key, mark), and by (ledger, session)."""

    keyed: dict[tuple[str, str, Mark], list[Effect]] = field(default_factory=lambda: defaultdict(list))
    sessions: dict[tuple[str, str], list[Effect]] = field(default_factory=lambda: defaultdict(list))
    count: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    objects: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, event: Effect) -> None:
        if event.key is not None:
            self.keyed[event.ledger, event.key, event.mark].append(event)
        self.sessions[event.ledger, event.session or event.object].append(event)
        self.count[event.ledger] += 1
        self.objects[event.ledger].add(event.object)


@dataclass(slots=True)
class Reports:
    """What the platform says, by its own ids, in the order of time."""

    commands: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    sessions: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    agents: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    frames: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    sources: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, event: Report) -> None:
        if event.about == "frame":  # which nobody says: it was seen
            self.frames[event.id].append(event)
            return
        about = {"command": self.commands, "session": self.sessions, "agent": self.agents}[event.about]
        about[event.id].append(event)
        self.sources.add(event.source)
        self.count += 1

    def owner_at(self, session: str, moment: int) -> str | None:
        """The agent that the session's row named at that moment, as far as it had been read."""
        named = [report for report in self.sessions.get(session, ()) if report.owner]
        before = [report for report in named if report.hi <= moment]
        return before[-1].owner if before else None

    def first_owner(self, session: str) -> str | None:
        """The agent that a start was given to: the first that the session's row named."""
        return next((report.owner for report in self.sessions.get(session, ()) if report.owner), None)

    def session_of_key(self) -> dict[str, str]:
        """Sessions by the key of the start that made them, where the row carries it."""
        found: dict[str, str] = {}
        for session, reports in self.sessions.items():
            key = reports[0].fields.get("key")
            if isinstance(key, str):
                found.setdefault(key, session)
        return found


@dataclass(slots=True)
class Table:
    """All events of a history, sorted by kind."""

    commands: Commands = field(default_factory=Commands)
    effects: Effects = field(default_factory=Effects)
    reports: Reports = field(default_factory=Reports)
    coverage: list[Coverage] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    observed: list[Observe] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)


def number(value: object) -> float | None:
    """A sampled value, if it is a number that can be reckoned with; true and false are 1 and 0."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    except OverflowError:
        return None


def build(events: Iterable[Timed]) -> Table:
    """Sort the events into columns. Answers come last, since a segment's clock may order them before their submit."""
    table = Table()
    answers: list[Answer] = []
    submits: list[Submit] = []
    sink: dict[type[Timed], Callable[[Any], None]] = {
        Submit: submits.append,
        Answer: answers.append,
        Effect: table.effects.add,
        Report: table.reports.add,
        Coverage: table.coverage.append,
        Fault: table.faults.append,
        Phase: table.phases.append,
        Observe: table.observed.append,
        Stream: table.streams.append,
        Sign: table.signs.append,
    }
    for event in events:
        sink[type(event)](event)
    for submit in sorted(submits, key=lambda event: event.lo):
        table.commands.submit(submit)
    for answer in answers:
        table.commands.answered(answer)
    return table
