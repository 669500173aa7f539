"""One whole simulated run, from open to close, with the phases of a real one: its history is the result."""

import asyncio
import random
from collections.abc import Callable

from chaosreprise.errors import RunBroken
from chaosreprise.history import Answer, Phase, Submit
from chaosreprise.simulation import loop, stated
from chaosreprise.simulation.defects import NONE, Defect
from chaosreprise.simulation.recording import Recorded
from chaosreprise.simulation.scenario import BASELINE_S, CONTROL_CRASH, OUTAGES, PAUSE, QUIET_S, SESSION_CRASH, Scenario
from chaosreprise.simulation.stage import Stage, scenario_run
from chaosreprise.workload.load import Load
from chaosreprise.workload.model import Model

RESTART_S = 0.1
FLAPS_S = 5.0
STORE = "database"
TICK_S = 0.0002
PATIENCE_S = 5.0


def simulate(scenario: Scenario, defect: Defect = NONE) -> Recorded:
    """The history of this run. Raises RunBroken where the load can't do its work."""
    recorded = Recorded(scenario_run(scenario))
    loop.run(_Run(scenario, defect, recorded).whole())
    return recorded


class _Run:
    def __init__(self, scenario: Scenario, defect: Defect, recorded: Recorded) -> None:
        self._scenario, self._defect, self._recorded = scenario, defect, recorded
        self._random = random.Random(f"{scenario.seed} run")
        self._phase: str | None = None

    async def whole(self) -> None:
        stage = self._stage = Stage(self._scenario, self._defect, self._recorded)
        self._recorded.owner.write(stated.contract(self._scenario, stage.adapter.describe()))
        for agent in stage.agents.values():
            agent.start()
        await stage.watch()
        model = Model(self._recorded.recorder, stage.clock)
        plan = stated.plan(self._scenario, sorted(stage.agents))
        self._load = Load(stage.adapter, self._recorded.load, model, plan, scenario_run(self._scenario), stage.clock)
        await self._load.open()
        self._enter("baseline")
        await self._load.baseline(BASELINE_S)
        self._flap()
        await self._method()
        for name, part in (("drain", self._load.drain), ("clean", self._load.clean)):
            self._enter(name)
            stage.adapter.unclear = self._scenario.unclear if self._scenario.unclear_to_the_end else 0.0
            await part()
        self._leave()
        stage.adapter.unclear = 0.0
        await self._load.answers()
        await self._load.cycle()
        self._enter("close")
        await self._load.close()
        self._leave()
        await self._load.end()
        await stage.unwatch()

    async def _method(self) -> None:
        self._enter("method")
        self._stage.adapter.unclear = self._scenario.unclear
        if self._scenario.momentary:
            await self._momentary()
        elif self._scenario.kind in OUTAGES:
            await self._outage()
        else:
            await self._held()
        self._enter("quiet")
        await self._load.quiet(QUIET_S)

    async def _held(self) -> None:
        """Agents gone for a while, and commands for their sessions meanwhile."""
        stage, names = self._stage, self._victims()
        faults = {name: f"f{number + 1}" for number, name in enumerate(names)}
        for state in ("planned", "armed", "injected"):
            for name, fault in faults.items():
                stage.fault(fault, self._scenario.kind, f"agents/{name}", state)
        for name, fault in faults.items():
            self._break(name)
            await asyncio.sleep(0.001)
            stage.fault(fault, self._scenario.kind, f"agents/{name}", "proven")
        await self._load.send(names, self._scenario.hold_s)
        for name, fault in faults.items():
            stage.fault(fault, self._scenario.kind, f"agents/{name}", "undoing")
            self._mend(name)
            await self._until(lambda name=name: name in stage.control.connected())  # type: ignore[misc]
            for state in ("undone", "clean"):
                stage.fault(fault, self._scenario.kind, f"agents/{name}", state)  # type: ignore[arg-type]

    async def _outage(self) -> None:
        """The database is away for a while, and commands for the sessions of an agent are sent meanwhile."""
        stage, kind, names = self._stage, self._scenario.kind, self._victims()
        for state in ("planned", "armed", "injected"):
            stage.fault("f1", kind, STORE, state)
        stage.lose_database(kind)
        await asyncio.sleep(0.001)
        stage.fault("f1", kind, STORE, "proven")
        await self._load.send(names, self._scenario.hold_s)
        stage.fault("f1", kind, STORE, "undoing")
        stage.find_database()
        await self._until(lambda: all(name in stage.control.connected() for name in stage.agents))
        for state in ("undone", "clean"):
            stage.fault("f1", kind, STORE, state)  # type: ignore[arg-type]

    async def _momentary(self) -> None:
        """A crash among commands in flight; what it hit comes back by itself."""
        stage, kind = self._stage, self._scenario.kind
        names = self._victims()
        components = await self._components(names)
        faults = {component: f"f{number + 1}" for number, component in enumerate(components)}
        for state in ("planned", "armed"):
            for component, fault in faults.items():
                stage.fault(fault, kind, component, state)
        before = len(self._recorded.load.events)
        need = stated.exposure(self._scenario)
        await self._load.burst(names, need, list(faults))
        await self._until(lambda: self._sent(before, need))
        for component, fault in faults.items():
            stage.fault(fault, kind, component, "injected")
            self._strike(component)
            stage.fault(fault, kind, component, "proven")
        await asyncio.sleep(RESTART_S)
        for component, fault in faults.items():
            stage.fault(fault, kind, component, "undoing")
            await self._back(component)
            for state in ("undone", "clean"):
                stage.fault(fault, kind, component, state)  # type: ignore[arg-type]

    async def _components(self, names: list[str]) -> list[str]:
        if self._scenario.kind == CONTROL_CRASH:
            return ["control-plane"]
        if self._scenario.kind == SESSION_CRASH:
            found = await self._load.running(names[0], self._scenario.exposure)
            return [f"sessions/{name}" for name in found["sessions"]]
        return [f"agents/{name}" for name in names]

    def _strike(self, component: str) -> None:
        group, _, name = component.partition("/")
        if group == "control-plane":
            self._stage.control.crash()
        elif group == "sessions":
            self._stage.slots.crash(name)
        else:
            self._stage.agents[name].kill()

    async def _back(self, component: str) -> None:
        group, _, name = component.partition("/")
        if group == "control-plane":
            self._stage.control.begin()
        elif group == "agents":
            self._stage.agents[name].start()
            await self._until(lambda: name in self._stage.control.connected())

    def _break(self, name: str) -> None:
        agent = self._stage.agents[name]
        if self._scenario.kind == PAUSE:
            agent.freeze()
        else:
            agent.kill()

    def _mend(self, name: str) -> None:
        agent = self._stage.agents[name]
        if self._scenario.kind == PAUSE:
            agent.thaw()
        else:
            agent.start()

    def _victims(self) -> list[str]:
        names = sorted(self._stage.agents)
        return names if self._scenario.all_agents else [self._random.choice(names)]

    def _sent(self, since: int, need: dict[str, int]) -> bool:
        """Enough of each kind left; where the control plane dies with what it has not accepted, were accepted."""
        written = self._recorded.load.events[since:]
        sent = {event.cmd: event.op for event in written if isinstance(event, Submit)}
        if self._scenario.kind == CONTROL_CRASH:
            accepted = {event.cmd for event in written if isinstance(event, Answer)}
            sent = {cmd: op for cmd, op in sent.items() if cmd in accepted}
        return all(list(sent.values()).count(op) >= n for op, n in need.items())  # type: ignore[arg-type]

    def _flap(self) -> None:
        """Connections that break by themselves, at any moment of the rest of the run."""
        running = asyncio.get_running_loop()
        for _ in range(self._scenario.flaps):
            agent = self._stage.agents[self._random.choice(sorted(self._stage.agents))]
            running.call_later(self._random.uniform(0.0, FLAPS_S), agent.drop_link)

    async def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_S / TICK_S)):
            if holds():
                return
            await asyncio.sleep(TICK_S)
        raise RunBroken(f"seed {self._scenario.seed}: what this run waits for did not come within {PATIENCE_S:g} s")

    def _enter(self, name: str) -> None:
        if self._phase is not None:
            self._leave()
        self._phase = name
        self._mark("begin")

    def _leave(self) -> None:
        self._mark("end")
        self._phase = None

    def _mark(self, edge: str) -> None:
        now = self._stage.clock.now()
        self._recorded.owner.write(Phase(lo=now, hi=now, name=self._phase or "", edge=edge))  # type: ignore[arg-type]
