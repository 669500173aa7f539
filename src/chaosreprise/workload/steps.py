"""The load of a platform whose sessions can't be hibernated: what a fault meets are steps that take a while.

Each session takes one step at a time. While commands are sent for a fault to strike among, no other step is begun, so that
those that count are the ones under way. A session whose interpreter is lost stays so: what is asked afterwards, whether the
platform works, is asked of a new one.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from chaosreprise.history import Answer
from chaosreprise.history.events import Op
from chaosreprise.platform.links import crossed
from chaosreprise.workload.load import Load

LOOKS_HZ = 5.0  # of their ledger, below which they may have ended before a fault strikes
SPARE = 1
NOISY = 4  # steps; what one has written may be taken for the answer to the next


class StepLoad(Load):
    _hushed = False

    async def baseline(self, seconds: float) -> dict[str, Any]:
        """A flow of a session of its own on every agent, and a slow step in each session, beside `seconds` of steps."""
        began = self._seconds()
        await self._in_parallel(self._flows(self._plan.agents))
        await self._in_parallel([self._slow(name) for names in self._running.values() for name in names])
        await self._clock.sleep(max(0.0, seconds - (self._seconds() - began)))
        return {"agents": sorted(self._plan.agents)}

    async def send(self, agents: list[str], seconds: float, share: float = 1.0) -> dict[str, Any]:
        """Steps on the reserve of these agents at seeded times within `seconds`, two in each, beside a flow of a new session."""
        del share
        began = self._seconds()
        names = [name for agent in agents for name in self._running.get(agent, []) for _ in range(2)]
        times = [began + self._random.uniform(0, 0.8 * seconds) for _ in names]
        flows = [asyncio.create_task(flow) for flow in self._flows(agents)]
        answers = await asyncio.gather(*(self._at(name, at) for name, at in zip(names, times, strict=True)))
        await asyncio.gather(*flows)
        await self._clock.sleep(max(0.0, seconds - (self._seconds() - began)))
        return {"accepted": {"step": sum(answer.outcome == "ok" for answer in answers)}}

    async def burst(
        self, agents: list[str], need: dict[str, int], broken: list[str], share: float = 1.0
    ) -> dict[str, Any]:
        """As many slow steps at once as `need` asks for, and one more, each in a session of its own. Waits for none of it."""
        del broken, share
        names = [name for agent in agents for name in self._running.get(agent, [])]
        return self._begin([self._slow(name) for name in names[: need.get("step", 0) + SPARE]])

    async def hush(self, on: bool) -> dict[str, Any]:
        """From here on no step of the open loop is begun, and none is under way, until it is taken back."""
        self._hushed = on
        await asyncio.gather(*(self._under_way if on else ()))
        return {}

    async def drain(self) -> dict[str, Any]:
        """Each session is asked once more what it knows, before load off."""
        names = [*self.canaries.values(), *self._steppers, *(name for own in self._running.values() for name in own)]
        await self._in_parallel([self._do("step", name) for name in names])
        return await super().drain()

    async def answers(self) -> dict[str, Any]:
        """A flow of a session of its own on every agent: agent -> outcome."""
        answers = await self._in_parallel([self._flow() for _ in self._plan.agents])
        said = [answer.outcome if answer.outcome == "ok" else f"{answer.outcome}: {answer.error}" for answer in answers]
        return dict(zip(self._plan.agents, said, strict=True))

    async def _hibernate_reserve(self) -> None:
        """There is none."""

    def _give_roles(self, names: dict[str, list[str]]) -> None:
        for agent in self._plan.agents:
            self.canaries[agent], stepper, *rest = names[agent]
            self._steppers.append(stepper)
            self._running[agent] = rest

    def _flows(self, agents: list[str]) -> list[Coroutine[Any, Any, Answer]]:
        """One for each agent; of a noisy load one more, since what its steps write may be the end of its interpreter."""
        return [*(self._flow() for _ in agents), *([self._flow(NOISY, noisy=True)] if self._plan.noisy else ())]

    async def _flow(self, number: int = 2, *, noisy: bool = False) -> Answer:
        """A session, steps of which each needs what the first has left, and its end; the first answer that is not good."""
        made = await self._start()
        if made.session is None:
            return made
        steps = [await self._do("step", made.session, noisy=noisy) for _ in range(number)]
        ended = await self._do("stop", made.session)
        return next((answer for answer in [*steps, ended] if answer.outcome != "ok"), steps[-1])

    async def _slow(self, name: str) -> Answer:
        return await self._do("step", name, seconds=self._plan.slow_s)

    async def _at(self, name: str, at: float) -> Answer:
        await self._clock.sleep(max(0.0, at - self._seconds()))
        return await self._do("step", name)

    def _gives_way(self) -> bool:
        return self._hushed

    def _path(self, op: Op, session: str | None) -> list[str]:
        agent = self._model.owner.get(session, self._plan.agents[0]) if session else self._plan.agents[0]
        path = [*self._ways.get(op, []), f"agents/{agent}"]
        path += [f"sessions/{session}"] if session is not None else []
        return path + [
            link for link in crossed(self._links, op, agent, session) if op != "stop" or not link.endswith("/clients")
        ]
