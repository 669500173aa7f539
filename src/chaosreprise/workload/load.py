"""The load: opens its sessions, keeps open-loop steps and reads going, and sends lifecycle commands in pairs.

An operation is submitted to the history before its first byte leaves, and is one attempt: nothing here retries. Steps go
only to sessions that no lifecycle command has touched since their start, so that an answer can be told right from wrong.
Lifecycle commands are closed loop within a session: the second of a pair leaves once the first was accepted.
"""

import asyncio
import collections
import random
import statistics
import time
from collections.abc import Coroutine
from typing import Any

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import RunBroken
from chaosreprise.history import Answer, Coverage, Observe, Submit, Writer
from chaosreprise.history.events import Op
from chaosreprise.platform.adapter import Adapter, Operation
from chaosreprise.workload.model import Model
from chaosreprise.workload.plan import Plan

PARALLEL = 8  # lifecycle commands of the load under way at once, outside of a fault's window
PATIENCE_S, PATIENCE = 10.0, 3.0  # for what has surely come within settle_s: so many seconds, and times that
OPEN_AT_MOST = 48  # steps and reads under way at once: below the connections that the adapter keeps
AGAIN_S, SPARE = 0.5, 200  # sessions that were refused or placed unevenly are made up for: so soon, and so many
SETTLE_TICK_S = 0.02
SETTLE_LIMIT = 20  # x settle: a platform that is never quiet is not waited for for ever


class Load:
    def __init__(self, adapter: Adapter, writer: Writer, model: Model, plan: Plan, run: str, clock: Clock) -> None:
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
        self._count = 0
        self._lags: list[float] = []
        self._skipped = 0
        self._background: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self._alive: set[str] = set()
        self.canaries: dict[str, str] = {}
        self._steppers: list[str] = []
        self._running: dict[str, list[str]] = {}
        self._hibernated: dict[str, list[str]] = {}

    async def open(self) -> dict[str, Any]:
        """Make the sessions, give them their roles by the agent that the platform chose, begin steps and reads."""
        now = self._clock.now()
        self._writer.write(Coverage(lo=now, hi=now, of="load", on=True, why="opened"))
        await self._adapter.open()
        names = await self._spread()
        self._give_roles(names)
        await self._in_parallel([self._do("hibernate", name) for names in self._hibernated.values() for name in names])
        reserve = [name for names in self._hibernated.values() for name in names]
        await self._model.until(
            "the reserve is hibernated",
            lambda: all(self._model.state[name] == "hibernated" for name in reserve),
            self._patience_s,
        )
        rates: dict[Op, float] = {"step": self._plan.mix.get("step", 0.0), "read": self._plan.mix.get("read", 0.0)}
        self._background = [asyncio.create_task(self._open_loop(op, rate)) for op, rate in rates.items() if rate > 0]
        return {"sessions": sum(map(len, names.values())), "canaries": self.canaries}

    async def baseline(self, seconds: float) -> dict[str, Any]:
        """A start, hibernate, wake, stop cycle on every agent, beside `seconds` of steps and reads."""
        began = time.monotonic()
        answers = await self._in_parallel([self._start() for _ in self._plan.agents])
        names = [answer.session for answer in answers if answer.session]
        for op, state in (("hibernate", "hibernated"), ("wake", "running"), ("stop", "terminated")):
            before = "hibernated" if op == "wake" else "running"
            await self._reached(names, before)
            await self._in_parallel([self._do(op, name) for name in names])  # type: ignore[arg-type]
            await self._reached(names, state)
        await self._clock.sleep(max(0.0, seconds - (time.monotonic() - began)))
        return {"agents": sorted({self._model.owner[name] for name in names if name in self._model.owner})}

    async def send(self, agents: list[str], seconds: float) -> dict[str, Any]:
        """Pairs on the reserve of these agents and starts anywhere, at seeded times within `seconds`."""
        began = time.monotonic()
        pairs: list[tuple[Op, str | None]] = [("start", None) for _ in self._plan.agents]
        for agent in agents:
            pairs += [("hibernate", name) for name in self._running.pop(agent, [])]
            pairs += [("wake", name) for name in self._hibernated.pop(agent, [])]
        self._random.shuffle(pairs)
        times = sorted(self._random.uniform(0, 0.8 * seconds) for _ in pairs)
        tasks = [
            asyncio.create_task(self._pair(op, name, began + at)) for (op, name), at in zip(pairs, times, strict=True)
        ]
        sent = collections.Counter(op for accepted in await asyncio.gather(*tasks) for op in accepted)
        await self._clock.sleep(max(0.0, seconds - (time.monotonic() - began)))
        return {"accepted": dict(sent)}

    async def burst(self, agents: list[str], need: dict[str, int]) -> dict[str, Any]:
        """Everything in reserve on these agents at once, wakes first: they take longest and hold up what follows.

        As many as `need` asks for are stopped at once, since the stop of a pair waits until its first command is
        accepted. Does not wait for any of it: what strikes meanwhile finds it in flight.
        """
        stops = need.get("stop", 0)
        work: list[Coroutine[Any, Any, object]] = []
        for op, kept, only_stopped in (
            ("wake", self._hibernated, stops // 2),
            ("hibernate", self._running, -(-stops // 2)),
        ):
            for names in [kept.pop(agent, []) for agent in agents]:
                pairs = max(0, len(names) - only_stopped)
                work += [self._pair(op, name, 0.0) for name in names[:pairs]]  # type: ignore[arg-type]
                work += [self._do("stop", name) for name in names[pairs:]]
        for part in work:
            task = asyncio.create_task(part)
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return {"sent": len(work)}

    async def running(self, agent: str, count: int) -> dict[str, Any]:
        """Sessions of an agent that run and are in reserve: a burst hibernates them."""
        return {"sessions": self._running.get(agent, [])[:count]}

    async def quiet(self, seconds: float) -> dict[str, Any]:
        await self._clock.sleep(seconds)
        return {"seconds": seconds}

    async def drain(self) -> dict[str, Any]:
        """Load off; wait for what is under way, then until the platform has been still for as long as it needs to settle."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background = []
        await asyncio.gather(*self._under_way)
        return {"settled_s": await self._settle()}

    async def clean(self) -> dict[str, Any]:
        """Stop all our sessions but the canaries, and settle."""
        rest = sorted(self._alive - set(self.canaries.values()))
        await self._in_parallel([self._do("stop", name) for name in rest])
        return {"stopped": len(rest), "settled_s": await self._settle()}

    async def close(self) -> dict[str, Any]:
        """Stop the canaries and settle: nothing of ours is left."""
        await self._in_parallel([self._do("stop", name) for name in sorted(self._alive)])
        return {"settled_s": await self._settle()}

    async def answers(self) -> dict[str, Any]:
        """One step on each canary: agent -> outcome."""
        answers = await asyncio.gather(*(self._do("step", name) for name in self.canaries.values()))
        said = [answer.outcome if answer.outcome == "ok" else f"{answer.outcome}: {answer.error}" for answer in answers]
        return dict(zip(self.canaries, said, strict=True))

    async def cycle(self) -> dict[str, Any]:
        """Hibernate and wake each canary: agent -> its state afterwards."""
        names = list(self.canaries.values())
        for op, state in (("hibernate", "hibernated"), ("wake", "running")):
            await self._in_parallel([self._do(op, name) for name in names])  # type: ignore[arg-type]
            await self._reached(names, state)
        return {agent: self._model.state[name] for agent, name in self.canaries.items()}

    async def end(self) -> dict[str, Any]:
        """The orderly end: without it the history says that the load died."""
        now = self._clock.now()
        lag_ms = statistics.quantiles(self._lags, n=100)[-1] if len(self._lags) > 1 else 0.0
        self._writer.write(Observe(lo=now, hi=now, source="load", signal="lag_ms", value=round(lag_ms, 3)))
        self._writer.write(Observe(lo=now, hi=now, source="load", signal="skipped", value=self._skipped))
        self._writer.write(Coverage(lo=now, hi=now, of="load", on=False, why="done"), at_once=True)
        return {"lag_ms": lag_ms}

    async def _spread(self) -> dict[str, list[str]]:
        """Sessions by agent, as many as each needs. An agent may be away for a moment: others make up for what was refused
        then, or placed elsewhere, while patience and keys last."""
        names: list[str] = []
        lacking = wanted = self._plan.per_agent * len(self._plan.agents)
        spare, until = SPARE, time.monotonic() + self._patience_s
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
            if time.monotonic() > until or lacking > spare or any(answer.outcome == "info" for answer in refused):
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
        reserve = self._plan.reserve
        for agent in self._plan.agents:
            own = names[agent]
            self.canaries[agent] = own[0]
            self._steppers.append(own[1])
            self._running[agent] = own[2 : 2 + reserve]
            self._hibernated[agent] = own[2 + reserve : 2 + 2 * reserve]

    async def _reached(self, names: list[str], state: str) -> None:
        await self._model.until(
            f"{', '.join(names)} {state}",
            lambda: all(self._model.state.get(name) == state for name in names),
            self._patience_s,
        )

    async def _start(self) -> Answer:
        self._users.rotate(-1)
        answer = await self._do("start", None, key=next(self._keys), user=self._users[0])
        if answer.session:
            self._alive.add(answer.session)
        return answer

    async def _pair(self, op: Op, name: str | None, at: float) -> list[Op]:
        """The first command at its time, and a stop once it was accepted. Returns the kinds that were."""
        await self._clock.sleep(max(0.0, at - time.monotonic()))
        first = await (self._start() if name is None else self._do(op, name))
        if first.outcome != "ok":
            return []
        second = await self._do("stop", name or first.session)
        return [op, "stop"] if second.outcome == "ok" else [op]

    async def _open_loop(self, op: Op, rate: float) -> None:
        """Send at intended times, whether or not earlier answers came: a slow platform must not slow its load down.

        What this process itself could not send within a second of its time, or beyond what it can keep open, is skipped
        and counted: sent later, it would be another load.
        """
        intended = self._clock.now()
        while True:
            intended += int(self._random.expovariate(rate) * SECOND)
            await self._clock.sleep(max(0.0, (intended - self._clock.now()) / SECOND))
            if self._clock.now() - intended > SECOND or len(self._under_way) >= OPEN_AT_MOST:
                self._skipped += 1
                continue
            task = asyncio.create_task(self._do(op, self._random.choice(self._steppers), intended=intended))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _do(
        self, op: Op, session: str | None, key: str | None = None, user: str | None = None, intended: int | None = None
    ) -> Answer:
        self._count += 1
        cmd = f"cmd-{self._count:05d}"
        key = key or f"{self._run}.{self._count}"
        now = self._clock.now()
        if intended is not None:
            self._lags.append((now - intended) / 1e6)
        path = self._path(op, session)
        self._writer.write(
            Submit(
                lo=now, hi=now, cmd=cmd, op=op, session=session, user=user, key=key, intended=intended or now, path=path
            ),
            at_once=True,
        )
        answer = await self._adapter.perform(Operation(cmd=cmd, op=op, key=key, session=session, user=user))
        self._writer.write(answer)
        if op == "stop" and answer.outcome == "ok" and session:
            self._alive.discard(session)
        return answer

    def _path(self, op: Op, session: str | None) -> list[str]:
        path = ["control-plane", "database"]
        if op == "read" or session is None:
            return path
        if op == "step":
            return [*path, f"sessions/{session}"]
        return [*path, f"agents/{self._model.owner.get(session, '?')}", f"sessions/{session}"]

    async def _in_parallel(self, work: list[Coroutine[Any, Any, Answer]]) -> list[Answer]:
        gate = asyncio.Semaphore(PARALLEL)

        async def one(part: Coroutine[Any, Any, Answer]) -> Answer:
            async with gate:
                return await part

        return await asyncio.gather(*(one(part) for part in work))

    async def _settle(self) -> float:
        """Wait until nothing has happened for settle_s. A stall of this machine is no time in which the platform could act."""
        began = last = time.monotonic()
        quiet, activity = 0.0, self._model.activity
        while quiet < self._plan.settle_s and last - began < SETTLE_LIMIT * self._plan.settle_s:
            await self._clock.sleep(SETTLE_TICK_S)
            self._model.update()
            now = time.monotonic()
            quiet += min(now - last, 2 * SETTLE_TICK_S)
            last = now
            if self._model.activity != activity:
                quiet, activity = 0.0, self._model.activity
        return round(last - began, 3)
