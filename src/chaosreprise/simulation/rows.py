"""The rows of the simulated platform: sessions, commands, agents. They survive whatever dies; what changed is told to whoever reads them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from chaosreprise.history import Report

About = Literal["agent", "session", "command"]
OPEN = ("pending", "sent", "ack")
FOLLOWS = {"running": ("pending", "starting", "waking"), "hibernated": ("hibernating",), "terminated": ("terminating",)}
ENDED = ("terminated", "failed")


@dataclass
class SessionRow:
    id: str
    user: str
    key: str
    agent: str
    state: str = "pending"
    seq: int = 1


@dataclass
class CommandRow:
    id: str
    agent: str
    session: str
    op: str
    seq: int
    key: str = ""
    state: str = "pending"
    error: str | None = None

    @property
    def open(self) -> bool:
        return self.state in OPEN


@dataclass
class Rows:
    """`touched` is called at each change."""

    touched: Callable[[], None]
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    commands: dict[str, CommandRow] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    _changed: dict[tuple[About, str], None] = field(default_factory=dict)
    _seen: dict[tuple[About, str], Report] = field(default_factory=dict)

    def add_session(self, row: SessionRow) -> None:
        self.sessions[row.id] = row
        self._touch("session", row.id)

    def add_command(self, row: CommandRow) -> None:
        self.commands[row.id] = row
        self._touch("command", row.id)

    def session(self, row: SessionRow, state: str) -> None:
        row.state = state
        self._touch("session", row.id)

    def command(self, row: CommandRow, state: str, error: str | None = None) -> None:
        row.state, row.error = state, error
        self._touch("command", row.id)

    def agent(self, name: str, state: str) -> None:
        if self.agents.get(name) != state:
            self.agents[name] = state
            self._touch("agent", name)

    def unfinished(self, agent: str) -> list[CommandRow]:
        return [row for row in self.commands.values() if row.agent == agent and row.open]

    def pending(self, agent: str) -> list[CommandRow]:
        return [row for row in self.commands.values() if row.agent == agent and row.state == "pending"]

    def changes(self, since: int, now: int) -> Iterator[Report]:
        """What differs from what was read before; each changed at some moment from `since` to `now`."""
        changed, self._changed = self._changed, {}
        for about, name in changed:
            report = self._report(about, name, since, now)
            before = self._seen.get((about, name))
            if before is None or (before.state, before.owner, before.fields) != (
                report.state,
                report.owner,
                report.fields,
            ):
                self._seen[about, name] = report
                yield report

    def _touch(self, about: About, name: str) -> None:
        self._changed[about, name] = None
        self.touched()

    def _report(self, about: About, name: str, lo: int, hi: int) -> Report:
        if about == "agent":
            return Report(lo=lo, hi=hi, source="rows", about=about, id=name, state=self.agents[name], owner=name)
        if about == "session":
            session = self.sessions[name]
            fields = {"key": session.key, "user": session.user}
            return Report(
                lo=lo,
                hi=hi,
                source="rows",
                about=about,
                id=name,
                state=session.state,
                owner=session.agent,
                fields=fields,
            )
        command = self.commands[name]
        fields = {"session": command.session, "action": f"{command.op}_session"}
        if command.error:
            fields["error"] = command.error
        return Report(
            lo=lo, hi=hi, source="rows", about=about, id=name, state=command.state, owner=command.agent, fields=fields
        )
