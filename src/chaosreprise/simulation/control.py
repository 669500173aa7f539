"""The control plane: it accepts, places, delivers and hears; all that it knows stands in the rows, so it may die at any moment.

Correct, as the lab is: the order of acceptance is kept, what an agent has not finished is delivered again when it connects,
a final word is never overwritten. Each promise is one method, which a planted defect replaces.
"""

import asyncio
import random
from collections.abc import Callable

from chaosreprise.clock import Clock
from chaosreprise.history.events import Op
from chaosreprise.simulation.link import Link, Said
from chaosreprise.simulation.rows import ENDED, FOLLOWS, CommandRow, Rows, SessionRow
from chaosreprise.simulation.scenario import Scenario
from chaosreprise.simulation.slots import Slots
from chaosreprise.simulation.streams import Streams

PASSING: dict[Op, tuple[tuple[str, ...], str]] = {
    "hibernate": (("running",), "hibernating"),
    "wake": (("hibernated",), "waking"),
    "stop": (("pending", "starting", "running", "hibernating", "hibernated", "waking", "failed"), "terminating"),
}
REDELIVERED_S = 0.05
NOTICING_S = 0.15  # after which its health page says that its store is away


class Refused(Exception):
    """Nothing was done: a status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class ControlPlane:
    def __init__(self, scenario: Scenario, rows: Rows, slots: Slots, drawn: random.Random, clock: Clock) -> None:
        self.scenario, self.rows, self.slots, self.random = scenario, rows, slots, drawn
        self.life = 1
        self.up = True
        self.links: dict[str, Link] = {}
        self.gone: Callable[[str], bool] = lambda agent: agent not in self.links  # what only the world knows
        self._count = 0
        self.away: str | None = None  # how its store is away: the kind of the fault
        self._noticed = 0.0
        self._unwritten: list[tuple[str, Said]] = []
        self.streams = Streams(clock)

    # -- what users ask for

    def create(self, key: str, user: str) -> tuple[str, CommandRow]:
        agent = self.place(self.connected())
        if agent is None:
            raise Refused(503, "No agents available")
        self._count += 1
        name = f"{user}-s{self._count:04d}"
        self.rows.add_session(SessionRow(name, user, key, agent))
        return name, self.store(self.rows.sessions[name], "start")

    def change(self, name: str, op: Op) -> CommandRow:
        session = self.rows.sessions.get(name)
        allowed, passing = PASSING[op]
        if session is None:
            raise Refused(404, "Session not found")
        if session.state not in allowed:
            raise Refused(409, f"session {name} is {session.state}")
        session.seq += 1
        self.rows.session(session, passing)
        return self.store(session, op)

    def found(self, name: str) -> SessionRow:
        if name not in self.rows.sessions:
            raise Refused(404, "Session not found")
        return self.rows.sessions[name]

    def listed(self) -> list[str]:
        """The sessions that have not ended."""
        return [name for name, session in self.rows.sessions.items() if session.state not in ENDED]

    def without_store(self, op: Op, name: str) -> str:
        """What is answered while the store is away: the id of a command, if it is accepted."""
        del op, name
        raise Refused(500, "Database unavailable")

    def healthy(self) -> bool:
        """What its health page says of its store, a moment late."""
        return self.away is None or asyncio.get_running_loop().time() < self._noticed

    def connected(self) -> list[str]:
        return [name for name in sorted(self.links) if self.links[name].open and self.rows.agents.get(name) == "online"]

    def place(self, agents: list[str]) -> str | None:
        """The least loaded one."""
        load = dict.fromkeys(agents, 0)
        for session in self.rows.sessions.values():
            if session.agent in load and session.state not in ENDED:
                load[session.agent] += 1
        return min(agents, key=lambda name: (load[name], name), default=None)

    def store(self, session: SessionRow, op: Op) -> CommandRow:
        self._count += 1
        command = CommandRow(f"p-{self._count:05d}", session.agent, session.id, op, session.seq, session.key)
        self.rows.add_command(command)
        link = self.links.get(session.agent)
        if link is None or not link.open:
            self.while_away(command)
        else:
            self.deliver(link, self.afterwards(session.agent))
        return command

    # -- what agents get and say

    def accept(self, agent: str) -> Link | None:
        """A connection of an agent; None while there is nobody to connect to."""
        if not self.up or self.away:
            return None
        if (old := self.links.get(agent)) is not None:
            old.cut()
        link = self.links[agent] = Link(
            agent, lambda: self.random.uniform(0.0005, 0.003) * self.scenario.slow, self.hear
        )
        self.rows.agent(agent, "online")
        self.deliver(link, self.on_connect(agent))
        return link

    def lost(self, link: Link) -> None:
        """It noticed that a connection is broken."""
        link.cut()
        if self.links.get(link.agent) is link:
            del self.links[link.agent]
            if not self.away:
                self.rows.agent(link.agent, "offline")

    def on_connect(self, agent: str) -> list[CommandRow]:
        return self.rows.unfinished(agent)

    def afterwards(self, agent: str) -> list[CommandRow]:
        return self.rows.pending(agent)

    def while_away(self, command: CommandRow) -> None:
        """It waits as pending."""

    def deliver(self, link: Link, commands: list[CommandRow]) -> None:
        for command in commands:
            if command.state == "pending":
                self.rows.command(command, "sent")
            if not self._overtaken(link, command):
                link.send(command)
                if self.scenario.redelivers and self.random.random() < 0.3:
                    later = self.random.uniform(0.0, REDELIVERED_S)
                    asyncio.get_running_loop().call_later(later, self._again, link, command)

    def hear(self, agent: str, said: Said) -> None:
        if self.away:
            self._unwritten.append((agent, said))
            return
        command = self.rows.commands[said.command]
        session = self.rows.sessions[command.session]
        if command.agent != agent:
            return
        match said.kind:
            case "ack":
                self.acknowledged(command, session)
            case "status":
                self.reported(command, session, said.word)
            case "complete":
                self.completed(command)
            case "failed":
                self.failed(command, said.word)

    def acknowledged(self, command: CommandRow, session: SessionRow) -> None:
        if command.state in ("pending", "sent"):
            self.rows.command(command, "ack")
        if command.op == "start" and session.state == "pending":
            self.rows.session(session, "starting")

    def reported(self, command: CommandRow, session: SessionRow, state: str) -> None:
        if command.seq == session.seq and session.state in FOLLOWS[state]:
            self.rows.session(session, state)

    def completed(self, command: CommandRow) -> None:
        if command.open:
            self.rows.command(command, "completed")

    def failed(self, command: CommandRow, why: str) -> None:
        if not command.open:
            return
        self.rows.command(command, "failed", why)
        session = self.rows.sessions[command.session]
        if session.seq == command.seq:
            self.rows.session(session, "failed")

    # -- its own life

    def lose_store(self, kind: str) -> None:
        self.away = kind
        self._noticed = asyncio.get_running_loop().time() + self.random.uniform(0.0, NOTICING_S)

    def find_store(self) -> None:
        """Its store is back: what could not be written is written now."""
        self.away = None
        for agent in list(self.rows.agents):
            if agent not in self.links:
                self.rows.agent(agent, "offline")
        unwritten, self._unwritten = self._unwritten, []
        for agent, said in unwritten:
            self.hear(agent, said)

    def crash(self) -> None:
        self.up = False
        self.life += 1
        for link in list(self.links.values()):
            link.cut()
        self.links = {}
        self.streams.cut_all("the control plane died")

    def begin(self) -> None:
        self.up = True
        for agent in self.rows.agents:
            self.rows.agent(agent, "offline")

    def _again(self, link: Link, command: CommandRow) -> None:
        if link.open and command.open:
            link.send(command)

    def _overtaken(self, link: Link, command: CommandRow) -> bool:
        """Whether it is dropped since a later one of its session waits as well: only where the platform says that it may."""
        if not self.scenario.coalesces or command.op == "start":
            return False
        later = any(
            other.session == command.session and other.seq > command.seq for other in self.rows.unfinished(link.agent)
        )
        if later:
            self.rows.command(command, "completed")
        return later
