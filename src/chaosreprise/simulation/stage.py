"""Everything of one simulated run, put together: the world, the platform, who watches it, and who breaks it."""

import asyncio
import random

from chaosreprise.history import Coverage, Effect, Fault
from chaosreprise.history.events import State
from chaosreprise.observe import Source
from chaosreprise.simulation.adapter import SimulatedAdapter
from chaosreprise.simulation.agent import Agent
from chaosreprise.simulation.defects import Defect
from chaosreprise.simulation.health import Health
from chaosreprise.simulation.loop import EPOCH_S, VirtualClock
from chaosreprise.simulation.recording import Recorded, Segmented
from chaosreprise.simulation.rows import Rows
from chaosreprise.simulation.scenario import Scenario
from chaosreprise.simulation.sources import Polled, Spans

SPAN_S = (1.5, 5.0)  # when recorders stall and sources have gaps, after the start of a run
LEDGERS = ("slots", "workspaces")


class Stage:
    def __init__(self, scenario: Scenario, defect: Defect, recorded: Recorded) -> None:
        self.scenario, self.recorded = scenario, recorded
        self.clock = VirtualClock(asyncio.get_running_loop())
        self.random = random.Random(f"{scenario.seed} platform")
        watched = random.Random(f"{scenario.seed} watched")
        self._unread: dict[str, list[Effect]] = {name: [] for name in LEDGERS}
        stalls = [_span(watched, 0.6) for _ in range(scenario.stalls)]
        self.rows = Rows(self._touch_rows)
        self._rows = Polled("rows", scenario.hz, self.rows.changes, stalls, self._gaps(watched, "rows"), forgets=False)
        self._ledgers = {name: self._ledger(name, stalls, self._gaps(watched, name)) for name in LEDGERS}
        self.slots = defect.slots(self.clock, self._write)
        self.control = defect.control(scenario, self.rows, self.slots, self.random, self.clock)
        self.slots.ended = lambda name: self.control.streams.cut(name, "its process ended")
        names = [f"a{number + 1}" for number in range(scenario.agents)]
        self.agents: dict[str, Agent] = {
            name: defect.agent(name, self.control, self.slots, self.random) for name in names
        }
        self.control.gone = lambda name: not self.agents[name].alive
        health = Health(self.control.healthy)
        sources: list[Source] = [*self._ledgers.values(), self._rows, health]
        self.adapter: SimulatedAdapter = defect.adapter(
            scenario_run(scenario), self.control, self.slots, sources, self.clock, self.random
        )
        self._stop = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []

    async def watch(self) -> None:
        """The warden and the recorder begin."""
        self._cover(self.recorded.warden, on=True, why="opened")
        self._cover(self.recorded.recorder, on=True, why="opened")
        for source in self.adapter.sources():
            self._watching.append(asyncio.create_task(source.run(self.clock, self.recorded.recorder.write, self._stop)))
        await asyncio.sleep(0.03)

    async def unwatch(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._watching)
        self._cover(self.recorded.recorder, on=False, why="done")
        self._cover(self.recorded.warden, on=False, why="done")

    def lose_database(self, kind: str) -> None:
        """Nobody reads or writes a row until it is found again."""
        self.control.lose_store(kind)
        self._rows.lose()

    def find_database(self) -> None:
        self.control.find_store()
        self._rows.find()

    def fault(self, fault: str, kind: str, component: str, state: State) -> None:
        now = self.clock.now()
        by = "run" if state == "undone" else None
        self.recorded.warden.write(
            Fault(lo=now, hi=now, fault=fault, kind=kind, component=component, state=state, by=by)
        )

    def _write(self, ledger: str, effect: Effect) -> None:
        self._unread[ledger].append(effect)
        self._ledgers[ledger].touch()

    def _touch_rows(self) -> None:
        self._rows.touch()

    def _ledger(self, name: str, stalls: Spans, gaps: Spans) -> Polled:
        def read(since: int, now: int) -> list[Effect]:
            unread, self._unread[name] = self._unread[name], []
            if self.scenario.polled:
                for effect in unread:
                    effect.lo, effect.hi = min(since, effect.lo), max(now, effect.hi)
            return unread

        return Polled(name, self.scenario.hz, read, stalls, gaps, forgets=True)

    def _gaps(self, drawn: random.Random, name: str) -> Spans:
        return [_span(drawn, 1.0)] if self.scenario.gap == name else []

    def _cover(self, process: Segmented, on: bool, why: str) -> None:
        now = self.clock.now()
        process.write(Coverage(lo=now, hi=now, of=process.writer, on=on, why=why))


def scenario_run(scenario: Scenario) -> str:
    return f"simulated-{scenario.seed}"


def _span(drawn: random.Random, longest: float) -> tuple[float, float]:
    begin = EPOCH_S + drawn.uniform(*SPAN_S)
    return begin, begin + drawn.uniform(0.05, longest)
