"""The load: opens its sessions, keeps open-loop steps and reads going, and sends lifecycle commands in pairs.

An operation is submitted to the history before its first byte leaves, and is one attempt: nothing here retries. Steps go
only to sessions that no lifecycle command has touched since their start, so that an answer can be told right from wrong.
Lifecycle commands are closed loop within a session: the second of a pair leaves once the first was answered.
"""

import asyncio
import collections
import contextlib
import math
import random
import statistics
from collections.abc import Coroutine
from typing import Any

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import RunBroken
from chaosreprise.history import Answer, Coverage, Observe, Recording, Submit
from chaosreprise.history.events import HELD_UP, Op, Place
from chaosreprise.platform import steps
from chaosreprise.platform.adapter import Adapter, Operation
from chaosreprise.platform.links import crossed
from chaosreprise.platform.said import Sizes
from chaosreprise.workload.asks import Asks
from chaosreprise.workload.model import Model
from chaosreprise.workload.plan import OPEN_LOOP, Plan
from chaosreprise.workload.streams import Streams

DOOR = ["control-plane", "database"]  # what every call crosses
PARALLEL = 8  # lifecycle commands of the load under way at once, outside of a fault's window
PATIENCE_S, PATIENCE = 10.0, 3.0  # for what has surely come within settle_s: so many seconds, and times that
SLEEP: tuple[tuple[Op, str], ...] = (("hibernate", "hibernated"), ("wake", "running"))
NAP_S = 0.5  # a session that sleeps again and again is awake for up to so long
PERSISTENT = 0.5  # the share of sessions with a persistent home, where some sleep
OPEN_AT_MOST = 48  # steps and reads under way at once: below the connections that the adapter keeps
ATTEMPTS = 10  # at a command that the platform refuses for its limit of rates
AGAIN_S, SPARE = 0.5, 200  # sessions that were refused or placed unevenly are made up for: so soon, and so many
SHOWN = 3  # sessions that a message names
ENDED_S = 35.0  # in which a pod ends that was told to: by default it has 30 s
SETTLE_TICK_S = 0.02
SETTLE_LIMIT = 20  # x settle: a platform that is never quiet is not waited for for ever


class Load:
    def __init__(self, adapter: Adapter, writer: Recording, model: Model, plan: Plan, run: str, clock: Clock) -> None:
        self._adapter, self._writer, self._model, self._plan, self._run, self._clock = (
            adapter,
            writer,
            model,
            plan,
            run,
            clock,
        )
        self._patience_s = PATIENCE_S + PATIENCE * plan.settle_s
        self._random = random.Random(f"{plan.seed} load")
        self._keys = iter(adapter.keys(plan.starts + SPARE))
        self._users = collections.deque(plan.users)
        self._asks = Asks(plan.asks, model.places)
        self._count = 0
        self._lags: list[float] = []
        self._skipped = 0
        self._limited, self._alone_until = 0, 0.0  # answers that asked for patience, and until when they do
        self._alone_s = 0.0  # for how long they did, in all
        self._background: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self._streams = Streams(adapter, writer, clock)
        described = adapter.describe()
        self._links, self._ways = described.links, described.ways
        self._has_processes = bool(described.processes)
        self._alive: set[str] = set()
        self._left: dict[str, int] = {}  # by session, what the step that was answered last had left in its ledger
        self.canaries: dict[str, str] = {}
        self._steppers: list[str] = []
        self._running: dict[str, list[str]] = {}
        self._hibernated: dict[str, list[str]] = {}
        self._sleepers: list[str] = []
        self._sleeping: list[asyncio.Task[None]] = []
        self._to_sleep = True
        self._owed: dict[tuple[str, str], int] = {}  # (wake or end, agent): how many moments may still ask for

    async def open(self) -> dict[str, Any]:
        """Make the sessions, give them their roles by the agent that the platform chose, begin steps and reads."""
        now = self._clock.now()
        self._writer.write(Coverage(lo=now, hi=now, of="load", on=True, why="opened"))
        await self._adapter.open()
        names = await self._spread()
        self._give_roles(names)
        await self._hibernate_reserve()
        await self._streams.hold(self._steppers)
        rates = {name: self._plan.mix.get(name, 0.0) for name in OPEN_LOOP}
        self._background = [
            asyncio.create_task(self._open_loop(name, rate)) for name, rate in rates.items() if rate > 0
        ]
        self._sleeping = [asyncio.create_task(self._sleep(name)) for name in self._sleepers]
        return {"sessions": sum(map(len, names.values())), "canaries": self.canaries}

    async def _hibernate_reserve(self) -> None:
        reserve = [name for names in self._hibernated.values() for name in names]
        await self._in_parallel([self._do("hibernate", name) for name in reserve])
        await self._reached(reserve, "hibernated")

    async def baseline(self, seconds: float) -> dict[str, Any]:
        """A start, hibernate, wake, stop cycle on every agent, beside `seconds` of steps, reads and creates."""
        began = self._seconds()
        times = [began + self._random.uniform(0, 0.8 * seconds) for _ in range(self._plan.creates)]
        self._begin([self._pair("start", None, at) for at in times])
        answers = await self._in_parallel([self._start() for _ in self._plan.agents])
        names = [answer.session for answer in answers if answer.session]
        await self._look_in(names, [answer for answer in answers if answer.session])
        for op, state in (("hibernate", "hibernated"), ("wake", "running"), ("stop", "terminated")):
            before = "hibernated" if op == "wake" else "running"
            await self._reached(names, before)
            answers = await self._in_parallel([self._do(op, name) for name in names])  # type: ignore[arg-type]
            if op == "wake":
                await self._look_in(names, answers)
            await self._reached(names, state)
        await self._clock.sleep(max(0.0, seconds - (self._seconds() - began)))
        return {"agents": sorted({self._model.owner[name] for name in names if name in self._model.owner})}

    async def _look_in(self, names: list[str], began: list[Answer]) -> None:
        """The stream of each as soon as it runs, opened and closed again; where some sleep, and so are asked for theirs."""

        async def one(name: str, cmd: str) -> None:
            if await self._comes_to(name, "running"):
                await self._streams.begin(name, cmd)
                await self._streams.let_go(name)

        if self._plan.sleepers:
            await asyncio.gather(*(one(name, answer.cmd) for name, answer in zip(names, began, strict=True)))

    async def send(self, agents: list[str], seconds: float, share: float = 1.0) -> dict[str, Any]:
        """Pairs on this share of what these agents have in reserve and starts anywhere, at seeded times within `seconds`."""
        began = self._seconds()
        pairs: list[tuple[Op, str | None]] = [("start", None)] * (len(self._plan.agents) + self._plan.creates)
        for agent in agents:
            pairs += [("hibernate", name) for name in self._rest(self._running, "end", agent, share)]
            pairs += [("wake", name) for name in self._rest(self._hibernated, "wake", agent, share)]
        self._random.shuffle(pairs)
        times = sorted(self._random.uniform(0, 0.8 * seconds) for _ in pairs)
        crowd = [self._start(user=self._plan.crowded) for _ in range(self._plan.crowd)]
        self._begin([*crowd])
        tasks = [
            asyncio.create_task(self._pair(op, name, began + at)) for (op, name), at in zip(pairs, times, strict=True)
        ]
        sent = collections.Counter(op for accepted in await asyncio.gather(*tasks) for op in accepted)
        await self._clock.sleep(max(0.0, seconds - (self._seconds() - began)))
        return {"accepted": dict(sent)}

    async def burst(
        self, agents: list[str], need: dict[str, int], broken: list[str], share: float = 1.0
    ) -> dict[str, Any]:
        """This share of the reserve on these agents at once, wakes first: they take longest and hold up what follows, stops too.

        As many as `need` asks for are stopped at once, since the stop of a pair waits until its first command is
        accepted. Does not wait for any of it: what strikes meanwhile finds it in flight. Agents whose commands do not cross
        what will be `broken` are left out, unless that are all.
        """
        agents = [agent for agent in agents if {*self._way(agent)} & {*broken}] or agents
        stops = need.get("stop", 0)
        work: list[Coroutine[Any, Any, object]] = []
        for op, kept, only_stopped in (
            ("wake", self._hibernated, stops // 2),
            ("hibernate", self._running, -(-stops // 2)),
        ):
            for names in [_part(kept, agent, share) for agent in agents]:
                pairs = max(min(1, len(names)), len(names) - only_stopped)
                work += [self._pair(op, name, 0.0) for name in names[:pairs]]  # type: ignore[arg-type]
                work += [self._behind("stop", name) for name in names[pairs:]]
        return self._begin(work)

    async def hush(self, on: bool) -> dict[str, Any]:
        """Before and after a burst: where steps count, no others are sent meanwhile. Here they do not."""
        del on
        return {}

    async def prompt(self, agents: list[str], sessions: list[str], need: dict[str, int]) -> dict[str, Any]:
        """What a moment needs, at once: so many of each kind for each of these sessions, else on each agent; starts in all.

        Does not wait for any of it.
        """
        work: list[Coroutine[Any, Any, object]] = []
        for op, n in need.items():
            if op == "start":
                work += [self._pair("start", None, 0.0) for _ in range(n)]
            elif op in ("step", "read"):
                work += [self._do(op, name) for name in (sessions or self._steppers) for _ in range(n)]  # type: ignore[arg-type]
            else:
                names = self._taken(sessions) or [name for agent in agents for name in self._take(op, agent, n)]
                work += [self._do("stop", name) if op == "stop" else self._pair(op, name, 0.0) for name in names]  # type: ignore[arg-type]
        return self._begin(work)

    def _begin(self, work: list[Coroutine[Any, Any, object]]) -> dict[str, Any]:
        for part in work:
            task = asyncio.create_task(part)
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return {"sent": len(work)}

    def _take(self, op: str, agent: str, n: int) -> list[str]:
        """So many sessions out of the reserve of an agent."""
        kept, kind = (self._hibernated, "wake") if op == "wake" else (self._running, "end")
        own = kept.get(agent, [])
        if len(own) < n:
            raise RunBroken(f"{agent} has {len(own)} sessions in reserve for the {n} {op} commands of a moment")
        kept[agent] = own[n:]
        self._owed[kind, agent] = self._owed.get((kind, agent), 0) - n
        return own[:n]

    def _rest(self, kept: dict[str, list[str]], kind: str, agent: str, share: float) -> list[str]:
        """This share of what is in reserve on an agent but for what moments may still ask for."""
        own, owed = kept.get(agent, []), max(0, self._owed.get((kind, agent), 0))
        free = {agent: own[owed:]}
        taken = _part(free, agent, share)
        kept[agent] = own[:owed] + free[agent]
        return taken

    def _taken(self, sessions: list[str]) -> list[str]:
        """These sessions, out of the reserve that they are in."""
        for agent, own in self._running.items():
            self._running[agent] = [name for name in own if name not in sessions]
        return sessions

    async def running(self, agent: str, count: int) -> dict[str, Any]:
        """Sessions of an agent that run and are in reserve: a burst hibernates them."""
        return {"sessions": self._running.get(agent, [])[:count]}

    async def quiet(self, seconds: float) -> dict[str, Any]:
        await self._clock.sleep(seconds)
        return {"seconds": seconds}

    async def drain(self) -> dict[str, Any]:
        """Load off; wait for what is under way, then until the platform has been still for as long as it needs to settle."""
        self._to_sleep = False
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background = []
        await asyncio.gather(*self._under_way, *self._sleeping)
        return {"settled_s": await self._settle()}

    async def clean(self) -> dict[str, Any]:
        """Stop all our sessions but the canaries, and settle. What is read before that must all be there; and where no session
        sleeps, each that a step has run in is asked by one more what it still knows.
        """
        if not self._plan.hibernates:
            await self._in_parallel([self._do("step", name) for name in sorted(self._alive & self._left.keys())])
        await self._streams.release()
        await self._look()
        rest = sorted(self._alive - set(self.canaries.values()))
        await self._in_parallel([self._do("stop", name) for name in rest])
        return {"stopped": len(rest), "settled_s": await self._settle()}

    async def close(self) -> dict[str, Any]:
        """Stop the canaries and settle: nothing of ours is left."""
        await self._in_parallel([self._do("stop", name) for name in sorted(self._alive)])
        return {"settled_s": await self._settle()}

    async def answers(self) -> dict[str, Any]:
        """One step on each canary, or one read where no steps can be run: agent -> outcome."""
        ask: Op = "step" if self._plan.steps else "read"
        answers = await asyncio.gather(*(self._do(ask, name) for name in self.canaries.values()))
        said = [answer.outcome if answer.outcome == "ok" else f"{answer.outcome}: {answer.error}" for answer in answers]
        return dict(zip(self.canaries, said, strict=True))

    async def cycle(self) -> dict[str, Any]:
        """Hibernate and wake each canary: agent -> its state afterwards."""
        names = list(self.canaries.values())
        for op, state in (("hibernate", "hibernated"), ("wake", "running")):
            await self._in_parallel([self._do(op, name) for name in names])  # type: ignore[arg-type]
            await self._reached(names, state)
        return {agent: self._model.state[name] for agent, name in self.canaries.items()}

    async def left_alone(self) -> dict[str, Any]:
        """For how long the platform has asked to be left alone up to now, in all, what is to come of it included."""
        return {"seconds": self._alone_s}

    async def end(self) -> dict[str, Any]:
        """The orderly end: without it the history says that the load died."""
        now = self._clock.now()
        lag_ms = statistics.quantiles(self._lags, n=100)[-1] if len(self._lags) > 1 else 0.0
        self._writer.write(Observe(lo=now, hi=now, source="load", signal="lag_ms", value=round(lag_ms, 3)))
        self._writer.write(Observe(lo=now, hi=now, source="load", signal="skipped", value=self._skipped))
        self._writer.write(Observe(lo=now, hi=now, source="load", signal="rate_limited", value=self._limited))
        self._writer.write(Coverage(lo=now, hi=now, of="load", on=False, why="done"), at_once=True)
        return {"lag_ms": lag_ms}

    def _seconds(self) -> float:
        return self._clock.now() / SECOND

    async def _spread(self) -> dict[str, list[str]]:
        """Sessions by agent, as many as each needs. An agent may be away for a moment: others make up for what was refused
        then, or placed elsewhere, while patience and keys last."""
        names: list[str] = []
        lacking = wanted = self._plan.per_agent * len(self._plan.agents)
        spare, until = SPARE, self._seconds() - self._alone_s + self._patience_s
        while True:
            answers = await self._in_parallel([self._start() for _ in range(lacking)])
            names += [answer.session for answer in answers if answer.outcome == "ok" and answer.session]
            await self._model.until(
                "the sessions of the load are running",
                lambda: all(self._model.state.get(name) == "running" for name in names),  # noqa: B023 awaited here
                self._patience_s,
            )
            placed = self._placed(names)
            kept = [name for agent in self._plan.agents for name in placed[agent][: self._plan.per_agent]]
            lacking = wanted - len(kept)
            if not lacking:
                return placed
            refused = [answer for answer in answers if answer.outcome != "ok"]
            if (
                self._seconds() - self._alone_s > until
                or lacking > spare
                or any(answer.outcome == "info" for answer in refused)
            ):
                raise RunBroken(self._unmade(wanted, placed, refused))
            surplus = [name for name in names if name not in kept]
            await self._in_parallel([self._do("stop", name) for name in surplus])
            await self._reached(surplus, "terminated")
            names, spare = kept, spare - lacking
            await self._clock.sleep(AGAIN_S)

    def _unmade(self, wanted: int, placed: dict[str, list[str]], refused: list[Answer]) -> str:
        if refused:
            made = sum(map(len, placed.values()))
            return f"only {made} of {wanted} sessions could be made: {refused[0].status or ''} {refused[0].error}"
        told = ", ".join(f"{agent} {len(own)}" for agent, own in sorted(placed.items()))
        return f"the platform placed our sessions on {told}: {self._plan.per_agent} are needed on each agent"

    def _placed(self, names: list[str]) -> dict[str, list[str]]:
        by_agent: dict[str, list[str]] = {agent: [] for agent in self._plan.agents}
        for name in names:
            by_agent.setdefault(self._model.owner.get(name, "no agent"), []).append(name)
        return by_agent

    def _give_roles(self, names: dict[str, list[str]]) -> None:
        running, hibernated = self._plan.reserve + self._plan.ends, self._plan.reserve + self._plan.wakes
        for agent in self._plan.agents:
            own = names[agent]
            self.canaries[agent] = own[0]
            self._steppers.append(own[1])
            self._owed |= {("end", agent): self._plan.ends, ("wake", agent): self._plan.wakes}
            self._running[agent] = own[2 : 2 + running]
            self._hibernated[agent] = own[2 + running : 2 + running + hibernated]
            self._sleepers += own[2 + running + hibernated : self._plan.per_agent]

    async def _reached(self, names: list[str], state: str) -> None:
        def others() -> list[str]:
            return [name for name in names if self._model.state.get(name) != state]

        with contextlib.suppress(RunBroken):
            await self._model.until(state, lambda: not others(), self._patience_s)
        if left := others():
            now = collections.Counter(self._model.state.get(name, "unknown") for name in left)
            are = ", ".join(f"{n} {word}" for word, n in now.most_common())
            some = f"{', '.join(left[:SHOWN])}{', ...' if left[SHOWN:] else ''}"
            raise RunBroken(
                f"{len(left)} of {len(names)} sessions not {state} within {self._patience_s:g} s: {are} ({some})"
            )
        if state == "hibernated" and self._has_processes:
            await self._ended(names)

    async def _ended(self, names: list[str]) -> None:
        """What ran of these has ended, if it ever does: a platform need not wait for that, and one that is woken before may go on as it was."""
        with contextlib.suppress(RunBroken):
            await self._model.until("ended", lambda: not any(self._model.lives[name] for name in names), ENDED_S)

    async def _start(self, asks: dict[Place, str] | None = None, user: str | None = None) -> Answer:
        self._users.rotate(-1)
        persistent = not self._plan.sleepers or self._random.random() < PERSISTENT
        answer = await self._do(
            "start", None, key=next(self._keys), user=user or self._users[0], asks=asks, persistent=persistent
        )
        if answer.session:
            self._alive.add(answer.session)
        return answer

    async def _pair(self, op: Op, name: str | None, at: float) -> list[Op]:
        """The first command at its time, and a stop once it was accepted, or answered with an error: then it may have been.
        Returns the kinds that were accepted."""
        await self._clock.sleep(max(0.0, at - self._seconds()))
        first = await (self._start(self._asks.next()) if name is None else self._do(op, name))
        session = name or first.session
        failed = first.outcome == "info" and first.status is not None
        if session is None or not (first.outcome == "ok" or failed):
            return []
        second = await self._do("stop", session)
        answers: list[tuple[Op, Answer]] = [(op, first), ("stop", second)]
        return [kind for kind, answer in answers if answer.outcome == "ok"]

    async def _behind(self, op: Op, name: str) -> Answer:
        """Sent where it stands among pairs: those yield once before they begin."""
        await self._clock.sleep(0.0)
        return await self._do(op, name)

    async def _sleep(self, name: str) -> None:
        """Ask a session, have it hibernate and wake, and ask it again, until the load is turned off or it does not follow.

        Where no steps are sent it is read, and in its sleep as well.
        """
        ask: Op = "step" if self._plan.mix.get("step") else "read"
        await self._do(ask, name)
        while self._to_sleep:
            await self._clock.sleep(self._random.uniform(0, NAP_S))
            await self._streams.let_go(name)
            for op, state in SLEEP:
                answer = await self._do(op, name)
                if not await self._comes_to(name, state):
                    return
                if op == "wake":
                    await self._streams.begin(name, answer.cmd)
                if ask == "read":
                    await self._do(ask, name)
            if ask == "step":
                await self._do(ask, name)

    async def _comes_to(self, name: str, state: str) -> bool:
        with contextlib.suppress(RunBroken):
            await self._reached([name], state)
            return True
        return False

    async def _look(self) -> None:
        """One read of each canary, and one of the list, where the plan has such reads."""
        looks = list(self.canaries.values()) if self._plan.mix.get("read") else []
        await asyncio.gather(*(self._do("read", name) for name in looks))
        if self._plan.mix.get("list"):
            await self._do("read", None)

    async def _open_loop(self, name: str, rate: float) -> None:
        """Send at intended times, whether or not earlier answers came: a slow platform must not slow its load down.

        What this process itself could not send within a second of its time, or beyond what it can keep open, is skipped
        and counted: sent later, it would be another load.
        """
        intended = self._clock.now()
        while True:
            intended += int(self._random.expovariate(rate) * SECOND)
            await self._clock.sleep(max(0.0, (intended - self._clock.now()) / SECOND))
            if self._gives_way():
                continue
            op: Op = "step" if name == "step" else "read"
            if (now := self._clock.now()) - intended > SECOND or len(self._under_way) >= OPEN_AT_MOST:
                self._skipped += 1
                if now - intended <= SECOND:
                    self._writer.write(Observe(lo=now, hi=now, source="load", signal=HELD_UP, value=op))
                continue
            session = None if name == "list" else self._random.choice(self._steppers)
            task = asyncio.create_task(self._do(op, session, intended=intended))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def _gives_way(self) -> bool:
        """Whether open-loop operations are left out now."""
        return self._seconds() < self._alone_until

    def _leave_alone(self, seconds: float) -> None:
        until = max(self._alone_until, self._seconds() + seconds)
        self._alone_s += until - max(self._alone_until, self._seconds())
        self._alone_until = until

    async def _do(self, op: Op, session: str | None, **more: Any) -> Answer:
        """One attempt; where the platform wants to be left alone first, another command when that time is over."""
        for number in range(ATTEMPTS):
            if number and op == "start":
                more["key"] = next(self._keys)
            while (alone := self._alone_until - self._seconds()) > 0:
                await self._clock.sleep(alone)
            answer = await self._attempt(op, session, **more)
            if answer.retry_s is None:
                break
            self._limited += 1
            self._leave_alone(answer.retry_s)
            if "intended" in more:
                break  # the open loop sends nothing late
        return answer

    async def _attempt(
        self,
        op: Op,
        session: str | None,
        key: str | None = None,
        user: str | None = None,
        intended: int | None = None,
        seconds: float = 0.0,
        asks: dict[Place, str] | None = None,
        persistent: bool = True,
        noisy: bool = False,
    ) -> Answer:
        self._count += 1
        cmd = f"cmd-{self._count:05d}"
        key = key or f"{self._run}.{self._count}"
        now = self._clock.now()
        if intended is not None:
            self._lags.append((now - intended) / 1e6)
        operation = Operation(
            cmd=cmd,
            op=op,
            key=key,
            session=session,
            user=user,
            seconds=seconds,
            noisy=noisy,
            known=self._left.get(session or "", 0),
            asks=asks or {},
            persistent=persistent,
        )
        self._writer.write(
            Submit(
                lo=now,
                hi=now,
                cmd=cmd,
                op=op,
                session=session,
                user=user,
                key=key,
                intended=intended or now,
                path=self._path(op, session),
                asks=operation.asks,
                persistent=persistent,
                resources=self._adapter.size(operation) if isinstance(self._adapter, Sizes) else {},
            ),
            at_once=True,
        )
        answer = await self._adapter.perform(operation)
        self._writer.write(answer, at_once=True)  # a moment may wait for it
        left = steps.left(key, answer.result) if op == "step" and answer.outcome == "ok" else None
        if left is not None:
            self._left[session or ""] = left
        if op == "stop" and answer.outcome == "ok" and session:
            self._alive.discard(session)
        return answer

    def _path(self, op: Op, session: str | None) -> list[str]:
        """The components that it crosses, and then the links, where the platform has them."""
        agent = None if op in ("read", "step") or session is None else self._model.owner.get(session, "?")
        path = self._way(agent) if agent else list(DOOR)
        path += [f"sessions/{session}"] if op != "read" and session is not None else []
        return path + crossed(self._links, op, agent, session)

    def _way(self, agent: str) -> list[str]:
        """What a command for an agent crosses: the control plane that has the agent, too, if that is another one."""
        has_it = self._model.control_plane.get(agent)
        return [*DOOR, *([has_it] if has_it and has_it not in DOOR else []), f"agents/{agent}"]

    async def _in_parallel(self, work: list[Coroutine[Any, Any, Answer]]) -> list[Answer]:
        gate = asyncio.Semaphore(PARALLEL)

        async def one(part: Coroutine[Any, Any, Answer]) -> Answer:
            async with gate:
                return await part

        return await asyncio.gather(*(one(part) for part in work))

    async def _settle(self) -> float:
        """Wait until nothing has happened for settle_s. A stall of this machine is no time in which the platform could act."""
        began = last = self._seconds()
        quiet, activity = 0.0, self._model.activity
        while quiet < self._plan.settle_s and last - began < SETTLE_LIMIT * self._plan.settle_s:
            await self._clock.sleep(SETTLE_TICK_S)
            self._model.update()
            now = self._seconds()
            quiet += min(now - last, 2 * SETTLE_TICK_S)
            last = now
            if self._model.activity != activity:
                quiet, activity = 0.0, self._model.activity
        return round(last - began, 3)


def _part(kept: dict[str, list[str]], agent: str, share: float) -> list[str]:
    """Take this share of what is left, rounded up."""
    names = kept.get(agent, [])
    count = math.ceil(share * len(names) - 1e-9)
    kept[agent] = names[count:]
    return names[:count]
