"""The stages of commands, as moments count them: from what the load and the recorder write, and from frames on links. Pure.

A command is known by its name in the history, its key and the platform's own id of it; a row or a frame that is seen before the
answer is matched by session and kind. One of which nothing more matters is forgotten, since a history may be long.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from chaosreprise.history.events import Answer, AnyEvent, Attribution, Contract, Effect, Report, Submit
from chaosreprise.moments.grammar import FRAMES, PAST, ROWS, Event, Stage

NEVER = 2**62
AGENTS, LINKS = "agents/", "links/"
SHOWN = 100  # commands of one moment that are put on record
ROWS_REACHED: dict[str, tuple[Stage, ...]] = {
    "pending": ("pending",),
    "completed": ("pending", "sent", "completed"),
    "failed": ("pending", "failed"),
}
OPEN: tuple[Stage, ...] = ("pending", "sent")  # what any other state of a row has reached
BEGUN = "b"


class Came(NamedTuple):
    """When the last thing that was missing had happened at the latest, and the commands that it is about."""

    at: int
    cmds: list[str]


def agent_of(component: str) -> str | None:
    """The agent that a component is, or is the link of."""
    whose = component.removeprefix(LINKS)
    return whose.removeprefix(AGENTS) if whose.startswith(AGENTS) else None


def agents_of(components: Iterable[str]) -> set[str]:
    return {agent for name in components if (agent := agent_of(name)) is not None}


def _shown(report: Report) -> tuple[Stage, ...]:
    """What a command has reached of which this is said, or seen."""
    if report.about == "frame":
        return (cast(Stage, report.state),) if report.state in FRAMES else ()
    return ROWS_REACHED.get(report.state, OPEN)


@dataclass(slots=True)
class Command:
    """One that may make the moment come. `on_victim` is not known of a start before a row names its agent."""

    cmd: str
    op: str
    key: str
    session: str | None
    on_victim: bool | None
    id: str | None = None
    reached: dict[Stage, int] = field(default_factory=dict)


class Count:
    """One event of a moment: how many commands have come that far, and which of them are no further than they should be."""

    def __init__(self, event: Event, until: Stage | None) -> None:
        self.op, self.stage, self.until, self._n, self.any = (
            event.op,
            event.stage,
            until,
            event.n,
            event.whose == "any",
        )
        self._seen = self._missed = 0
        self._there: dict[str, int] = {}

    def reach(self, command: Command, stage: Stage, hi: int, since: int) -> None:
        if command.op != self.op or not (self.any or command.on_victim):
            return
        if stage == self.until and self._there.pop(command.cmd, None) is not None:
            self._missed += 1
        if stage == self.stage and hi >= since:
            self._seen += 1
            late = self.until in command.reached
            self._missed += late
            if self._seen >= self._n and not late and (self.until is not None or not self._there):
                self._there[command.cmd] = hi

    def refused(self, command: Command) -> None:
        self._there.pop(command.cmd, None)

    def came(self) -> Came | None:
        return Came(min(self._there.values()), list(self._there)[:SHOWN]) if self._there else None

    def missing(self) -> str:
        of = f" of {self._n}" if self._seen < self._n else ""
        told = f"{self._seen}{of} {self.op} commands {PAST[self.stage].replace('was ', 'were ')}"
        return told + (f", {self._missed} of which {PAST[self.until]} too soon" if self.until and self._missed else "")


class Commands:
    """The stages of commands, from what the load and the recorder wrote."""

    def __init__(self, counts: list[Count], victims: Collection[str]) -> None:
        self._counts, self._since = counts, NEVER
        self._agents = agents_of(victims)
        self._victims = {*victims, *(f"agents/{agent}" for agent in self._agents)}  # a link concerns what it leads to
        self._ops = {count.op for count in counts}
        self._stages = {stage for count in counts for stage in (count.stage, count.until) if stage is not None}
        self._effects: list[Attribution] = []
        self._open: dict[str, Command] = {}
        self._by_key: dict[str, Command] = {}
        self._by_id: dict[str, Command | None] = {}  # None: of one that does not matter any more
        self._by_session: dict[tuple[str, str], list[Command]] = defaultdict(list)
        self._early: dict[str, list[Report]] = defaultdict(list)  # rows of starts whose answer was not read yet
        self._owner: dict[str, str] = {}

    def begin(self, since: int) -> None:
        self._since = since
        self._early.clear()

    def came(self) -> Came | None:
        found = [count.came() for count in self._counts]
        came = [one for one in found if one is not None]
        if len(came) < len(found):
            return None
        return Came(max(one.at for one in came), list(dict.fromkeys(cmd for one in came for cmd in one.cmds)))

    def missing(self) -> str:
        return ", ".join(count.missing() for count in self._counts if count.came() is None)

    def feed(self, event: AnyEvent) -> None:
        match event:
            case Contract():
                self._effects = [entry for entry in event.attribution if entry.op in self._ops]
            case Submit() if event.op in self._ops:
                self._submitted(event)
            case Answer() if event.cmd in self._open:
                self._answered(self._open[event.cmd], event)
            case Effect() if self._stages & {"b", "effect"}:
                self._acted(event)
            case Report(about="command") if self._stages & set(ROWS):
                self._row(event)
            case Report(about="frame") if self._stages & set(FRAMES):
                self._row(event)
            case Report(about="session") if event.owner:
                self._owned(event.id, event.owner, event.hi)

    def _submitted(self, event: Submit) -> None:
        on_victim = None if event.op == "start" and self._agents else not self._victims.isdisjoint(event.path)
        command = Command(event.cmd, event.op, event.key, event.session, on_victim)
        self._open[event.cmd] = self._by_key[event.key] = command
        if event.session is not None:
            self._by_session[event.session, event.op].append(command)
        self._reach(command, "submit", event.hi)

    def _answered(self, command: Command, event: Answer) -> None:
        if event.outcome == "fail":
            for count in self._counts:
                count.refused(command)
            self._forget(command)
            return
        if command.session is None and event.session is not None:
            command.session = event.session
            self._by_session[event.session, command.op].append(command)
            if event.session in self._owner:
                self._owned(event.session, self._owner[event.session], event.hi)
        if event.id is not None and command.id is None:
            self._named(command, event.id)
        self._reach(command, "answer", event.hi)
        if event.outcome == "ok":
            self._reach(command, "accept", event.hi)

    def _acted(self, event: Effect) -> None:
        for entry in self._effects:
            begun = event.mark == BEGUN and entry.op == "step"
            if event.ledger == entry.ledger and (begun or event.mark == entry.mark):
                command = self._actor(entry, event)
                if command is not None:
                    self._reach(command, "b" if begun else "effect", event.hi)

    def _actor(self, entry: Attribution, event: Effect) -> Command | None:
        """Whose effect it is: by its key, else the first of its kind and session that had none yet."""
        if entry.level == "keyed":
            return self._by_key.get(event.key or "")
        waiting = self._by_session.get((event.session or event.object, entry.op), ())
        return next((command for command in waiting if "effect" not in command.reached), None)

    def _row(self, event: Report) -> None:
        command = self._by_id[event.id] if event.id in self._by_id else self._first_unnamed(event)
        if command is not None:
            if event.about == "frame" and event.owner and command.session:
                self._owned(command.session, event.owner, event.hi)  # long before its row says so
            for stage in _shown(event):
                self._reach(command, stage, event.hi)

    def _first_unnamed(self, event: Report) -> Command | None:
        """Whose row this is, where it is seen before its answer. A start's session is not known then: its row has to wait."""
        op, session = str(event.fields.get("action")).removesuffix("_session"), str(event.fields.get("session"))
        for command in self._by_session.get((session, op), ()):
            if command.id is None and command.reached["submit"] <= event.hi:
                self._named(command, event.id)
                return command
        if (op in self._ops or event.id in self._early) and self._since != NEVER:
            self._early[event.id].append(event)
        return None

    def _named(self, command: Command, name: str) -> None:
        command.id = name
        self._by_id[name] = command
        for report in self._early.pop(name, ()):
            self._row(report)

    def _owned(self, session: str, owner: str, hi: int) -> None:
        """Where a start went is known now: what it has reached counts from here."""
        self._owner[session] = owner
        for command in self._by_session.get((session, "start"), ()):
            if command.on_victim is None:
                command.on_victim = owner in self._agents
                for stage, reached in command.reached.items():
                    for count in self._counts:
                        if not count.any:  # else it has been counted
                            count.reach(
                                command, stage, max(hi, reached) if reached >= self._since else reached, self._since
                            )

    def _reach(self, command: Command, stage: Stage, hi: int) -> None:
        if stage not in command.reached:
            command.reached[stage] = hi
            for count in self._counts:
                count.reach(command, stage, hi, self._since)
            if self._stages <= command.reached.keys() and command.on_victim is not None:
                self._forget(command)

    def _forget(self, command: Command) -> None:
        """Nothing more of it matters: a history may be long."""
        self._open.pop(command.cmd, None)
        self._by_key.pop(command.key, None)
        if command.id is not None:
            self._by_id[command.id] = None
        if waiting := self._by_session.get((command.session or "", command.op)):
            waiting[:] = [one for one in waiting if one is not command]
