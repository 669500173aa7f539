"""The adapter of the simulated platform: the same protocol as that of a real one, over a network that loses answers."""

import asyncio
import random
from typing import Any

from chaosreprise.clock import SECOND, Clock
from chaosreprise.history import Answer
from chaosreprise.history.events import Attribution, Outcome, Refusal
from chaosreprise.history.statements import Claim
from chaosreprise.observe import Source
from chaosreprise.platform.adapter import Component, Description, Held, Operation
from chaosreprise.platform.streamspace_states import STATES
from chaosreprise.simulation.control import ControlPlane, Refused
from chaosreprise.simulation.scenario import BOUND_S, HANG, OFFLINE_S, OUTAGES, PAUSE, STORE_S, TAKE_AWAY, UP_S
from chaosreprise.simulation.slots import Slots

REFUSALS = [
    Refusal(id="not-found", status=404, absent=True),
    Refusal(id="wrong-state", status=409),
    Refusal(id="no-agents", status=503, body="No agents available", ops=["start"]),
]
ATTRIBUTION = [
    Attribution(op="start", ledger="slots", level="keyed", mark="made"),
    Attribution(op="hibernate", ledger="slots", level="counted", mark="down", repeat=False),
    Attribution(op="wake", ledger="slots", level="counted", mark="up"),
    Attribution(op="stop", ledger="slots", level="counted", mark="gone", repeat=False),
    Attribution(op="step", ledger="workspaces", level="keyed", mark="e"),
]
CLAIMS = {
    "agents": Claim(name="agents", signal="rows.agents", says=["online"], within_s=OFFLINE_S),
    "database": Claim(name="health", signal="health.database_up", says=[1], within_s=UP_S, component="database"),
}
BOUNDED = ("start", "stop", "hibernate", "wake", "step")


class Reset(Exception):
    """The connection broke under way: nobody knows what became of the request."""


class SimulatedAdapter:
    """`unclear`: the share of answers that get lost from now on."""

    def __init__(
        self, run: str, control: ControlPlane, slots: Slots, sources: list[Source], clock: Clock, drawn: random.Random
    ) -> None:
        self._run, self._control, self._slots, self._sources, self._clock = run, control, slots, sources, clock
        self._random = drawn
        self.unclear = 0.0
        self._lives: dict[str, list[Any]] = {}

    def describe(self) -> Description:
        return Description(
            attribution=ATTRIBUTION,
            refusals=REFUSALS,
            promises={
                "durable": True,
                "at_most_once": True,
                "order": True,
                "streams": True,
                "states": True,
                "coalesce": self._control.scenario.coalesces,
            },
            bounds=dict.fromkeys(BOUNDED, round(BOUND_S * SECOND)),
            offline_ns=round(OFFLINE_S * SECOND),
            sources=[source.name for source in self._sources],
            states=STATES,
            claims=self._claims(),
        )

    def _claims(self) -> list[Claim]:
        """Those that this run's fault can hold against the world."""
        kind = self._control.scenario.kind
        about = "database" if kind in OUTAGES else "agents" if kind in (TAKE_AWAY, PAUSE) else None
        return [CLAIMS[about]] if about else list(CLAIMS.values())

    async def open(self) -> None:
        """Nobody has to log in."""

    async def close(self) -> None:
        """There is nothing to close."""

    def keys(self, count: int) -> list[str]:
        return [f"key-{number}" for number in range(count)]

    def sources(self) -> list[Source]:
        return self._sources

    def frames(self) -> list[Source]:
        return []

    def components(self) -> list[Component]:
        names = [f"agents/{name}" for name in sorted(self._control.rows.agents)]
        return [Component(name=name, group=name.partition("/")[0]) for name in [*names, "control-plane", "database"]]

    def identity(self) -> dict[str, str]:
        return {"host": "virtual"}

    async def foreign(self, component: str) -> int:
        del component
        return 0

    async def tidy(self) -> list[str]:
        return []

    async def hold(self, session: str) -> Held | None:
        return self._control.streams.hold(session)

    async def perform(self, operation: Operation) -> Answer:
        sent = self._clock.now()
        answer = Answer(lo=sent, hi=sent, cmd=operation.cmd, outcome="info")
        lost = self._random.random() if self._random.random() < self.unclear else 1.0
        try:
            life = await self._way(lost < 0.5)
            if life is None:
                return self._judged(answer, "fail", rule="unconnected", error="connection refused")
            await self._do(operation, answer, life)
            await self._leg()
            if lost < 1.0 or self._control.life != life:
                raise Reset("connection reset")
        except Refused as error:
            await self._leg()
            if lost < 1.0:
                return self._judged(answer, "info", error="connection reset")
            rule = next((rule.id for rule in REFUSALS if rule.status == error.status), None)
            return self._judged(answer, "fail" if rule else "info", status=error.status, rule=rule, error=str(error))
        except Reset as error:
            return self._judged(answer, "info", error=str(error), status=None, session=None, id=None)
        return self._judged(answer, answer.outcome)

    async def _way(self, lost: bool) -> int | None:
        """A request on its way; the life of the control plane that got it, None where nobody listens."""
        life = self._control.life
        if not self._control.up:
            await self._leg()
            return None
        await self._leg()
        if lost or not self._control.up or self._control.life != life:
            raise Reset("connection reset before an answer")
        return life

    async def _do(self, operation: Operation, answer: Answer, life: int) -> None:
        name = operation.session or ""
        if self._control.away == HANG:
            await asyncio.sleep(STORE_S)
        if self._control.away:
            answer.id = self._control.without_store(operation.op, name)
            answer.outcome, answer.status = "ok", 202
            return
        match operation.op:
            case "start":
                answer.session, command = self._control.create(operation.key, operation.user or "")
                answer.outcome, answer.status, answer.id = "ok", 201, command.id
            case "hibernate" | "wake" | "stop":
                answer.id = self._control.change(name, operation.op).id
                answer.outcome, answer.status = "ok", 202
            case "read" if operation.session is None:
                answer.outcome, answer.status, answer.listed = "ok", 200, self._control.listed()
            case "read":
                answer.outcome, answer.status, answer.result = "ok", 200, self._control.found(name).state
            case "step":
                await self._step(operation.key, name, answer, life)

    async def _step(self, key: str, name: str, answer: Answer, life: int) -> None:
        session, process = self._control.rows.sessions[name], self._slots.process(name)
        if session.state != "running":
            raise Refused(409, f"session {name} is {session.state}")
        known = self._lives.setdefault(name, process or [])
        await self._leg()
        if process is None or process not in self._slots.get(name).processes:
            raise Reset("the session does not answer")
        self._lives[name] = process
        if known != process:
            raise Refused(500, "Session restarted")
        await self.run_step(key, name, process)
        if process not in self._slots.get(name).processes or self._control.life != life:
            raise Reset("connection reset in a step")
        answer.outcome, answer.status = "ok", 200

    async def run_step(self, key: str, name: str, process: list[Any]) -> None:
        """Both marks around its work, unless its process dies in it."""
        self._slots.step(name, "b", key, process)
        await asyncio.sleep(self._random.uniform(0.0002, 0.003))
        if process in self._slots.get(name).processes:
            self._slots.step(name, "e", key, process)

    async def _leg(self) -> None:
        await asyncio.sleep(self._random.uniform(0.0003, 0.002) * self._control.scenario.slow)

    def _judged(self, answer: Answer, outcome: Outcome, **more: Any) -> Answer:
        answer.outcome, answer.hi = outcome, self._clock.now()
        for name, value in more.items():
            setattr(answer, name, value)
        return answer
