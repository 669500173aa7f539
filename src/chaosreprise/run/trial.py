"""What `conformance` does on a platform: a few sessions through each kind of command, and what must be refused.

Everything is sent one after the other, at the rate of the budget at most, and recorded: what of it holds says `conforming`.
But for creates that an adapter spaces: some more of them, and a step in each session, are sent at once.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from chaosreprise.clock import SECOND, SystemClock
from chaosreprise.errors import NotAllowed
from chaosreprise.history import Answer, Effect, Report, Timed
from chaosreprise.history.events import Op
from chaosreprise.platform import adapter
from chaosreprise.platform.adapter import Adapter, Broken, Component, Description, Held, Operation
from chaosreprise.platform.file import Platform
from chaosreprise.platform.said import Lingers, Refuses
from chaosreprise.run.watching import Watching

SESSIONS = 3
BARE = 1  # the one of them that asks for no home, where homes are watched
AT_ONCE = 3  # so that two fall into one second, whenever that begins
FIRST_LOOK_S = 10.0
TICK_S = 0.01
NOBODY = "reprise-no-such-session"
QUEUE = 4  # commands that one agent may have before it


class Sent(NamedTuple):
    operation: Operation
    answer: Answer


class Record:
    """All that was seen. `refused`: what should have been, by what it was. `at_once`: creates, of which the accepted ones are among `sent`."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.sent: list[Sent] = []
        self.refused: dict[str, Sent] = {}
        self.vague: set[str] = set()  # of what was refused, that which need not be so in words that prove it
        self.at_once: list[Sent] = []
        self.events: list[Timed] = []
        self.before: list[Component] = []
        self.after: list[Component] = []
        self.not_reached: list[str] = []
        self.held: Held | None = None
        self.broke_early: Broken | None = None
        self.broke: Broken | None = None
        self.lingering: list[str] | None = None

    def accepted(self, op: Op) -> list[Sent]:
        return [one for one in self.sent if one.operation.op == op and one.answer.outcome == "ok"]

    @property
    def sessions(self) -> list[str]:
        return list(dict.fromkeys(name for one in self.accepted("start") if (name := one.answer.session)))

    def states(self, session: str) -> list[str]:
        return [one.state for one in self.reports("session") if one.id == session]

    def reports(self, about: str) -> list[Report]:
        return [one for one in self.events if isinstance(one, Report) and one.about == about]

    def effects(self) -> list[Effect]:
        return [one for one in self.events if isinstance(one, Effect)]


class Trial:
    """`makes` is called before the first session is made."""

    def __init__(self, platform: Platform, run: str, makes: Callable[[], None]) -> None:
        self._platform, self._run, self._makes = platform, run, makes
        self._adapter = adapter.make(platform, run)
        description = self._adapter.describe()
        self.record = Record(description)
        self._bounds = description.bounds
        self._ops = {entry.op for entry in description.attribution} | {edge.by for edge in description.states}
        self._reads = description.hibernates
        self._rows = bool(description.states) and any(entry.kind == "sql" for entry in platform.file.evidence.values())
        self._keys = iter(self._adapter.keys(SESSIONS + AT_ONCE))
        self._made: set[str] = set()  # and not stopped
        self._count = self._unanswered = 0
        self._watching: Watching | None = None
        self._breaking: asyncio.Task[Broken] | None = None

    async def go(self) -> None:
        """Raises what keeps it from being tried at all."""
        budget = self._platform.file.budget
        if budget.max_sessions < 1:
            raise NotAllowed(f"{self._platform.path}: budget.max_sessions = 0: not one session may be made")
        await self._adapter.open()
        self._watching = Watching(self._adapter.sources(), SystemClock(), self.record.events.append)
        await self._watching.until_seen(FIRST_LOOK_S)
        self.record.before = await asyncio.to_thread(self._adapter.components)
        await self._start(min(SESSIONS, budget.max_sessions))
        if self.record.description.spaces_starts:
            await self._start_at_once(budget.max_sessions - len(self.record.sessions), budget.max_rps)
        if names := self.record.sessions:
            await self._use(worker=names[0], holder=names[-1])
            await self._refuse(names[0])
            await self._stop(names)
        await self._settle()
        if isinstance(self._adapter, Lingers):
            self.record.lingering = await asyncio.to_thread(self._adapter.lingering, names)
        self.record.after = await asyncio.to_thread(self._adapter.components)
        await self._watching.end()
        self._watching = None

    @property
    def unclear(self) -> bool:
        """Whether a create may have been done, or be done later, of which nobody knows."""
        return self._unanswered > 0

    async def close(self) -> None:
        if self._breaking is not None:
            self._breaking.cancel()
        if self.record.held is not None:
            await self.record.held.close()
        if self._watching is not None:
            await self._watching.give_up()
        for name in sorted(self._made):  # where nothing lists sessions nobody else could stop them
            await self._adapter.perform(self._operation("stop", name))
        await self._adapter.close()

    async def _start(self, number: int) -> None:
        self._makes()
        users = self._platform.file.budget.users or [""]
        for turn in range(number):
            asked = self._operation("start", None, users[turn % len(users)], next(self._keys))
            bare = turn == BARE and bool(self.record.description.homes)
            await self._sent(msgspec.structs.replace(asked, persistent=not bare))
        names = self.record.sessions
        await self._reached(names, "running", "start")

    async def _start_at_once(self, room: int, rps: float) -> None:
        """What a careful client never does. Not tried where the budget has not so much room."""
        if room < AT_ONCE or rps < AT_ONCE:
            return
        asked = [self._operation("start", None, key=next(self._keys)) for _ in range(AT_ONCE)]
        asked = [msgspec.structs.replace(one, at_once=True) for one in asked]
        answers = await asyncio.gather(*(self._perform(one, self._adapter) for one in asked))
        self.record.at_once = [Sent(*pair) for pair in zip(asked, answers, strict=True)]
        self.record.sent += [one for one in self.record.at_once if one.answer.outcome == "ok"]
        if "step" in self._ops:
            await asyncio.gather(*(self._send("step", name) for name in self.record.sessions))

    async def _use(self, worker: str, holder: str) -> None:
        if self._reads:
            await self._send("read", worker)
            await self._send("read", None)
        await self._hold(holder)
        if "step" in self._ops:
            await self._send("step", holder)
            await self._send("step", holder)
        if "hibernate" not in self._ops:
            return
        if worker == holder:
            self._look_at_stream()
        await self._send("hibernate", worker)
        await self._reached([worker], "hibernated", "hibernate")
        if worker == holder:
            await self._until_broken("hibernate")
        await self._not("hibernate of one that is hibernated", "hibernate", worker)
        if "step" in self._ops:
            await self._not("step of one that is hibernated", "step", worker)
        await self._send("wake", worker)
        await self._reached([worker], "running", "wake")
        await self._not("wake of one that runs", "wake", worker)

    async def _refuse(self, worker: str) -> None:
        """What must be refused whatever the state: of a session that never was, without a login, and what the adapter names."""
        for op in ("read", "stop", *(op for op in ("hibernate", "wake", "step") if op in self._ops)):
            if op == "read" and not self._reads:
                continue
            await self._not(f"{op} of a session that never was", op, NOBODY)  # type: ignore[arg-type]
        if self._reads and any(rule.status == 401 for rule in self.record.description.refusals):
            stranger = adapter.make(self._platform, "stranger")
            writes: tuple[Op, ...] = ("hibernate", "stop")
            try:
                for write in ("read", *(one for one in writes if one in self._ops)):
                    await self._not(f"{write} without a login", write, worker, stranger)
                await self._not("start without a login", "start", None, stranger, key=next(self._keys))
            finally:
                await stranger.close()
        if isinstance(self._adapter, Refuses):
            for what, operation in self._adapter.impossible().items():
                if operation.op in self.record.description.vague and operation.session in self.record.sessions:
                    self.record.vague.add(what)
                self.record.refused[what] = Sent(operation, await self._perform(operation, self._adapter))

    async def _stop(self, names: list[str]) -> None:
        self._look_at_stream()
        for name in names:
            await self._send("stop", name)
        await self._reached(names, "terminated", "stop")
        await self._not("stop of one that has ended", "stop", names[0])
        if "step" in self._ops:
            await self._not("step of one that has ended", "step", names[0])
        await self._until_broken("stop")

    async def _hold(self, session: str) -> None:
        self.record.held = await self._adapter.hold(session)
        if self.record.held is not None:
            self._breaking = asyncio.create_task(self.record.held.broken())

    def _look_at_stream(self) -> None:
        """So far nobody had a reason to end it."""
        if self._breaking is not None and self._breaking.done():
            self.record.broke_early = self._breaking.result()

    async def _until_broken(self, op: Op) -> None:
        """Its session was told to end, or to sleep."""
        if self._breaking is None:
            return
        await asyncio.wait({self._breaking}, timeout=self._bounds.get(op, 0) / SECOND)
        self.record.broke = self._breaking.result() if self._breaking.done() else None
        self._breaking.cancel()
        self._breaking = None

    async def _send(self, op: Op, session: str | None = None, *, user: str | None = None, key: str = "") -> Answer:
        return await self._sent(self._operation(op, session, user, key))

    async def _sent(self, operation: Operation) -> Answer:
        answer = await self._perform(operation, self._adapter)
        self.record.sent.append(Sent(operation, answer))
        return answer

    async def _not(self, what: str, op: Op, session: str | None, by: Adapter | None = None, key: str = "") -> None:
        users = self._platform.file.budget.users or [""]
        operation = self._operation(op, session, users[0] if op == "start" else None, key)
        if op in self.record.description.vague:
            self.record.vague.add(what)
        self.record.refused[what] = Sent(operation, await self._perform(operation, by or self._adapter))

    def _operation(self, op: Op, session: str | None, user: str | None = None, key: str = "") -> Operation:
        self._count += 1
        number = f"{self._count:03d}"
        own = key or f"{self._run}.{number}"  # of a step, as in a run: by that an adapter knows its own
        return Operation(cmd=f"cmd-{number}", op=op, key=own, session=session, user=user)

    async def _perform(self, operation: Operation, by: Adapter) -> Answer:
        await asyncio.sleep(1 / self._platform.file.budget.max_rps)
        is_start = operation.op == "start"
        self._unanswered += is_start
        answer = await by.perform(operation)
        self._unanswered -= is_start and answer.outcome != "info"
        if is_start and answer.session is not None:
            self._made.add(answer.session)
        elif operation.op == "stop" and answer.outcome == "ok":
            self._made.discard(operation.session or "")
        return answer

    async def _reached(self, names: list[str], state: str, op: Op) -> None:
        """Within the bound of the command, by the rows; by its effects where there are none to read."""
        bound_s = self._bounds.get(op, 0) / SECOND
        if not await self._until(lambda: all(self._has(name, state, op) for name in names), bound_s):
            lacking = [name for name in names if not self._has(name, state, op)]
            self.record.not_reached.append(f"{', '.join(lacking)} not {state} within {bound_s:g} s after {op}")

    def _has(self, name: str, state: str, op: Op) -> bool:
        if self._rows:
            return self.record.states(name)[-1:] == [state]
        marks = [(entry.ledger, entry.mark) for entry in self.record.description.attribution if entry.op == op]
        effects = self.record.effects()
        return not marks or any(one.session == name and (one.ledger, one.mark) in marks for one in effects)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(TICK_S)
        return True

    async def _settle(self) -> None:
        """Nothing new for as long as the platform says that it needs."""
        timing = self._platform.file.timing
        seconds = timing.settle.seconds(QUEUE) if timing else 0.0
        quiet, seen, until = 0.0, -1, time.monotonic() + 10 * seconds + 1
        while quiet < seconds and time.monotonic() < until:
            await asyncio.sleep(TICK_S)
            quiet += TICK_S
            if self._told() != seen:
                quiet, seen = 0.0, self._told()

    def _told(self) -> int:
        """What the platform did and said: samples of a signal never end."""
        return sum(isinstance(one, Effect | Report) for one in self.record.events)
