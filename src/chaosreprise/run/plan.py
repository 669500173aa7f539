"""The plan of a run: pure, from the experiment, the platform file and what is there. Changes nothing.

Refused here, before anything is broken: a required check without the evidence that it needs, a fault that the platform
file does not allow or that has no handle, a share of a group above the limit, a load that does not fit the budget.
"""

import hashlib
import random
from typing import Any

import msgspec

from chaosreprise import checker
from chaosreprise.errors import BadInput, NotAllowed, NotPossible
from chaosreprise.faults import registry, safety
from chaosreprise.faults.safety import Facts, Intent
from chaosreprise.history import Contract
from chaosreprise.history.statements import Known
from chaosreprise.platform.adapter import SECONDS, Component, Description
from chaosreprise.platform.file import Platform
from chaosreprise.run.contract import Arguments
from chaosreprise.run.method import ALL, Wanted
from chaosreprise.workload import plan as workload

AGENTS = "agents"
SESSIONS = "sessions"
ROWS = "rows"  # what a check needs that reads the platform's own rows, whatever the file calls their evidence
OBSERVE_ONLY = "observe-only       nothing is broken, the same commands are sent; without REPRISE_OBSERVE it"


class FaultPlan(msgspec.Struct, kw_only=True):
    """One fault of the method: which components it hits. Those of sessions get their names when the load has made them."""

    wanted: Wanted
    components: list[str]
    agents: list[str]
    of: int
    pids: list[int] = msgspec.field(default_factory=list)

    def line(self) -> str:
        does = self.wanted.kind.partition(".")[2].replace("_", " ")
        of_agents = f"{self.wanted.count} sessions of {', '.join(self.agents)}"
        what = of_agents if self.wanted.group == SESSIONS else ", ".join(self.components)
        pids = f", pid {' '.join(map(str, self.pids))}" if self.pids else ""
        few = f" ({len(self.components)} of {self.of})" if self.wanted.group == AGENTS else ""
        return f"would {does:<12} {what}{pids}{few}; undo: {registry.get(self.wanted.kind).way_back}"

    def intents(self) -> list[Intent]:
        """What begins together, for `safety`."""
        kind = self.wanted.kind
        unnamed = [f"{SESSIONS}/?"] * (1 if self.wanted.count == ALL else int(self.wanted.count))
        ons = unnamed if self.wanted.group == SESSIONS else self.components
        return [Intent(kind, on, self.wanted.hold_s + registry.get(kind).undo_s) for on in ons]


class RunPlan(msgspec.Struct, kw_only=True):
    """What a run will do: its load, and each fault of the method in its order."""

    load: workload.Plan
    faults: list[FaultPlan]
    observe: bool = False

    def fault(self, wanted: Wanted) -> FaultPlan:
        """What was planned for this fault. Raises NotAllowed for one that the method did not show when the run was opened."""
        for fault in self.faults:
            if fault.wanted == wanted:
                return fault
        raise NotAllowed(
            f"{wanted.kind} with these arguments was not planned: only what the method shows may be broken"
        )

    @property
    def components(self) -> list[str]:
        return list(dict.fromkeys(name for fault in self.faults for name in fault.components))

    def check(self, platform: Platform, facts: Facts) -> None:
        """Raises NotAllowed when it may not be done on this platform now. Who only observes must be at the right place, too."""
        safety.check_plan(platform, [] if self.observe else [fault.intents() for fault in self.faults], facts)

    def lines(self) -> list[str]:
        """For people: what would be broken, and how it is undone."""
        return [
            *([OBSERVE_ONLY] if self.observe else []),
            *(fault.line() for fault in self.faults),
            f"load               {self.load.starts} sessions, {len(self.load.users)} users; settles within {self.load.settle_s:.1f} s; seed {self.load.seed}",
        ]


def make(
    arguments: Arguments,
    faults: list[Wanted],
    platform: Platform,
    description: Description,
    components: list[Component],
    seed: int,
    observe: bool = False,
) -> RunPlan:
    """Raises BadInput, NotAllowed or NotPossible with the one reason why this run can't be done here."""
    check_evidence(arguments, platform, description)
    file = platform.file
    assert file.timing is not None
    agents = [component.name.partition("/")[2] for component in components if component.group == AGENTS]
    if not agents:
        raise NotPossible(f"{platform.path}: components.{AGENTS} is not set: the load can't be spread over agents")
    load = make_load(arguments, platform, agents, seed)
    load = msgspec.structs.replace(load, settle_s=file.timing.settle.seconds(load.queue))
    for wanted in faults if not observe else []:
        safety.check_kind(platform, wanted.kind)
    planned = [_plan(wanted, platform, load, components) for wanted in faults]
    return RunPlan(load=load, faults=planned, observe=observe)


def make_load(arguments: Arguments, platform: Platform, agents: list[str], seed: int) -> workload.Plan:
    budget = platform.file.budget
    return workload.make(
        arguments.workload,
        dict(arguments.exposure),
        agents,
        budget.users,
        budget.max_sessions,
        budget.max_rps,
        seed,
    )


def choose(wanted: Wanted, names: list[str], seed: int) -> list[str]:
    """The components of a group that a fault hits: the named one, or the first of an order that the seed gives.

    The order is the same for each fault of a run, so that two faults without a name hit the same agent.
    """
    if wanted.which and wanted.which not in names:
        raise BadInput(f"{wanted.kind}: agent = {wanted.which!r}: expected one of {', '.join(sorted(names))}")
    order = sorted(names)
    random.Random(f"{seed} victim").shuffle(order)
    if wanted.which:
        order.remove(wanted.which)
        order.insert(0, wanted.which)
    count = len(order) if wanted.count == ALL else int(wanted.count)
    if count > len(order):
        raise BadInput(f'{wanted.kind}: count = {count}: there are {len(order)} of them: ask for fewer, or for "all"')
    return order[:count]


def shown(wanted: Wanted, agents: list[str], seed: int) -> FaultPlan:
    """What a fault hits on a platform of which only the agents' names are known."""
    if wanted.group in (AGENTS, SESSIONS):
        chosen = choose(wanted if wanted.group == AGENTS else msgspec.structs.replace(wanted, count=1), agents, seed)
        names = [f"{AGENTS}/{name}" for name in chosen] if wanted.group == AGENTS else []
        return FaultPlan(wanted=wanted, components=names, agents=chosen, of=len(agents))
    return FaultPlan(wanted=wanted, components=[wanted.group], agents=[], of=1)


def _plan(wanted: Wanted, platform: Platform, load: workload.Plan, components: list[Component]) -> FaultPlan:
    """One fault on this platform. Raises BadInput or NotPossible."""
    if wanted.group not in platform.file.components:
        raise NotPossible(f"{platform.path}: components.{wanted.group} is not set: {wanted.kind} has nothing to act on")
    found = shown(wanted, load.agents, load.seed)
    there = {component.name: component for component in components}
    for name in found.components:
        component = there.get(name)
        if component is None or component.reason or component.inc is None:
            reason = component.reason if component else "it is not there"
            raise NotPossible(f"{name}: {reason or 'no process of it is running'}: {wanted.kind} can't be done")
        found.pids.append(component.inc[2])
    return found


def contract_event(
    arguments: Arguments, plan: RunPlan, description: Description, platform: Platform, known: list[Known]
) -> Contract:
    """The first event of a history: what this run must show and what the platform promises."""
    stated: dict[str, Any] = msgspec.to_builtins(arguments)
    return Contract(
        sha=hashlib.sha256(msgspec.json.encode(stated, order="sorted")).hexdigest(),
        seed=plan.load.seed,
        require=arguments.require,
        optional=arguments.optional,
        exposure=dict(arguments.exposure),
        objectives=list(arguments.objectives),
        situations=list(arguments.refusals),
        states=description.states,
        settle_ns=int(plan.load.settle_s * SECONDS),
        promises=description.promises,
        claims=[],
        refusals=description.refusals,
        attribution=description.attribution,
        bounds=description.bounds,
        offline_ns=description.offline_ns,
        known=known,
        experiment=arguments.name,
        platform=platform.id,
        observe=plan.observe,
    )


def check_evidence(arguments: Arguments, platform: Platform, description: Description) -> None:
    there = {entry.ledger for entry in description.attribution}
    there |= {ROWS for evidence in platform.file.evidence.values() if evidence.kind == "sql"}
    for check in arguments.require:
        for ledger in checker.needs(check):
            if ledger not in there:
                need = f"the required check {check!r} can't be judged without it: add it, or make the check optional"
                raise BadInput(f"{platform.path}: evidence.{ledger} is missing: {need}")
        if checker.asks(check) == "states" and not description.states:
            need = f"the required check {check!r} can't be judged without it: make it optional"
            raise BadInput(f"{platform.path}: its adapter does not know the states of a session: {need}")
    for reason in checker.lacking(arguments.require, arguments.exposure, description.attribution):
        raise BadInput(f"{platform.path}: {reason}: make the check optional, or ask for no exposure of it")
