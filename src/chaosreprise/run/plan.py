"""The plan of a run: pure, from the experiment, the platform file and what is there. Changes nothing.

Refused here, before anything is broken: a required check without the evidence that it needs, a fault that the platform
file does not allow or that has no handle, a share of a group above the limit, a load that does not fit the budget.
"""

import collections
import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from chaosreprise import checker
from chaosreprise.errors import BadInput, NotAllowed, NotPossible
from chaosreprise.faults import registry, safety
from chaosreprise.faults.safety import Facts, Intent
from chaosreprise.history import Contract
from chaosreprise.history.statements import Known
from chaosreprise.moments import At, needed, patience_s, words
from chaosreprise.moments.needs import unseen
from chaosreprise.platform import interpreters
from chaosreprise.platform.adapter import SECONDS, Component, Description
from chaosreprise.platform.file import WITNESS, Platform
from chaosreprise.run.contract import PODS, Arguments
from chaosreprise.run.method import ALL, LINKS, SEND, SESSIONS, Batch, Wanted
from chaosreprise.workload import plan as workload

Regions = dict[str, list[str]]
AGENTS = "agents"
CONTROL_PLANE = "control-plane"
SLOTS = "slots"  # what a check needs that looks at effects, of which an adapter says where they stand
ROWS = "rows"  # what a check needs that reads the platform's own rows, whatever the file calls their evidence
TABLES = ("sql", "sqlite")
OF_PROCESSES = ("split-brain",)
OF_STEPS = ("state-loss", "isolation")
LACKING = {
    "quota": ("quota", "how many sessions a user may have: set budget.sessions_a_user"),
    "states": ("states", "the states of a session"),
    "claims": ("claims", "a signal that claims anything"),
}
"""Lists of the contract that an adapter gives: the field of its description, and what it is, in words."""
NO_AGENTS = f"components.{AGENTS} names no agent: the load can't be spread over agents"
NAME_THEM = (
    f'name each as the platform does, such as [components."{AGENTS}/NAME"], with how = "none" where it can\'t be broken'
)
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
        some = self.agents and self.wanted.group != SESSIONS
        few = f" ({len(self.components)} of {self.of})" if some or self.of > 1 else ""
        few += ", one after the other" if self.wanted.one_by_one else ""
        when = "" if self.wanted.at is None else f" {_when(self.wanted.at)}"
        return f"would {does:<12} {what}{pids}{few}{when}; undo: {registry.get(self.wanted.kind).way_back}"

    def intents(self) -> list[Intent]:
        """What begins together, for `safety`."""
        kind = self.wanted.kind
        unnamed = [f"{SESSIONS}/?"] * (1 if self.wanted.count == ALL else int(self.wanted.count))
        ons = unnamed if self.wanted.group == SESSIONS else self.components
        seconds = patience_s(self.wanted.at) + self.wanted.hold_s + registry.get(kind).undo_s
        return [Intent(kind, on, seconds) for on in ons]

    def moments(self) -> list[list[Intent]]:
        """The same by what is on at one time."""
        return [[intent] for intent in self.intents()] if self.wanted.one_by_one else [self.intents()]


class RunPlan(msgspec.Struct, kw_only=True):
    """What a run will do: its load, each fault of the method in its order, and the commands that wait for a moment."""

    load: workload.Plan
    faults: list[FaultPlan]
    observe: bool = False
    batches: list[Batch] = msgspec.field(default_factory=list)

    def batch(self, batch: Batch) -> None:
        """Raises NotAllowed for commands at a moment that the method did not show when the run was opened."""
        if batch not in self.batches:
            raise NotAllowed(f"{SEND} at this moment was not planned: only what the method shows is sent")

    def fault(self, wanted: Wanted) -> FaultPlan:
        """What was planned for this fault. Raises NotAllowed for one that the method did not show when the run was opened."""
        for fault in self.faults:
            if msgspec.structs.replace(fault.wanted, beside=()) == wanted:
                return fault
        raise NotAllowed(
            f"{wanted.kind} with these arguments was not planned: only what the method shows may be broken"
        )

    @property
    def components(self) -> list[str]:
        return list(dict.fromkeys(name for fault in self.faults for name in fault.components))

    def check(self, platform: Platform, facts: Facts) -> None:
        """Raises NotAllowed when it may not be done on this platform now. Who only observes must be at the right place, too."""
        moments = [moment for fault in self.faults for moment in fault.moments()]
        safety.check_plan(platform, [] if self.observe else moments, facts)

    def lines(self) -> list[str]:
        """For people: what would be broken, and how it is undone."""
        return [
            *([OBSERVE_ONLY] if self.observe else []),
            *(fault.line() for fault in self.faults),
            *map(batch_line, self.batches),
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
    batches: Sequence[Batch] = (),
) -> RunPlan:
    """Raises BadInput, NotAllowed or NotPossible with the one reason why this run can't be done here."""
    check_needs(arguments, platform, components)
    check_evidence(arguments, platform, description)
    file = platform.file
    assert file.timing is not None
    agents = named_agents(components)
    if not agents:
        raise NotPossible(f"{platform.path}: {NO_AGENTS}: {NAME_THEM}")
    load = make_load(arguments, platform, agents, seed, [*faults, *batches], description.hibernates, description.steps)
    load = msgspec.structs.replace(load, settle_s=file.timing.settle.seconds(load.queue))
    for wanted in faults if not observe else []:
        safety.check_kind(platform, wanted.kind)
    planned = [_fault(wanted, platform, load, components, observe) for wanted in faults]
    check_moments(platform, description, agents, [*faults, *batches])
    if not observe:
        check_at_once(platform, faults, [max(map(len, fault.moments())) for fault in planned])
    return RunPlan(load=load, faults=planned, observe=observe, batches=list(batches))


def named_agents(components: Iterable[Component]) -> list[str]:
    return [one.name.partition("/")[2] for one in components if one.group == AGENTS and "/" in one.name]


def make_load(
    arguments: Arguments,
    platform: Platform,
    agents: list[str],
    seed: int,
    waiting: Sequence[Wanted | Batch],
    hibernates: bool = True,
    steps: bool = True,
) -> workload.Plan:
    """With what the moments of these faults and batches need besides."""
    budget = platform.file.budget
    prompts: collections.Counter[str] = collections.Counter()
    for one in waiting:
        prompts.update(one.prompts(len(agents)))
        for op in needed(one.at):
            if op in workload.OPEN_LOOP and op not in one.prompts(1) and not arguments.workload.mix.get(op):
                raise BadInput(f"workload.mix has no {op}: {_name(one)} waits for one: add it to the mix")
    made = workload.make(
        arguments.workload,
        dict(arguments.exposure),
        agents,
        budget.users,
        budget.max_sessions,
        budget.max_rps,
        seed,
        prompts,
        hibernates,
        budget.sessions_a_user,
        steps,
    )
    return msgspec.structs.replace(made, slow_s=workload.SLOW_PODS_S) if platform.session_pods else made


def check_at_once(platform: Platform, faults: Sequence[Wanted], sizes: Sequence[int]) -> None:
    """Raises NotAllowed where more faults than may be at once surely are on together: `sizes` is how many each is. The warden sees the others."""
    limit = platform.file.allow.at_once
    for number, wanted in enumerate(faults):
        together = [*wanted.beside, number]
        if wanted.beside and (count := sum(sizes[one] for one in together)) > limit:
            kinds = ", ".join(faults[one].kind for one in together)
            raise NotAllowed(
                f"{platform.path}: allow.at_once = {limit}: {count} faults of the method are on at the same time ({kinds}): "
                "let it undo one before the next, or allow more"
            )


def check_moments(
    platform: Platform, description: Description, agents: list[str], waiting: Sequence[Wanted | Batch]
) -> None:
    """Raises BadInput for a moment that nothing would show."""
    effects = {entry.op for entry in description.attribution if entry.level != "none"}
    rows = any(evidence.kind == "sql" for evidence in platform.file.evidence.values())
    for one in waiting:
        if lacks := unseen(one.at, effects, rows, frames=set(agents) <= set(description.read_along)):
            raise BadInput(f"{platform.path}: {_name(one)} waits for what nothing shows: it needs {lacks}")


def batch_line(batch: Batch) -> str:
    return f"would {'send':<12} commands for {batch.seconds:g} s {_when(batch.at)}"


def _when(at: At) -> str:
    waits = "" if isinstance(at, float) else f", which it waits for {patience_s(at):g} s"
    return f"{words(at)}{waits}"


def _name(one: Wanted | Batch) -> str:
    return SEND if isinstance(one, Batch) else one.kind


def choose(wanted: Wanted, names: list[str], seed: int, regions: Regions | None = None) -> list[str]:
    """The components of a group that a fault hits: the named one, or the first of an order that the seed gives.

    The order is the same for each fault of a run, so that two faults without a name hit the same agent.
    """
    if wanted.region:
        names = _of_region(wanted, names, regions or {})
    if wanted.which and wanted.which not in names:
        named = "agent" if wanted.group in (AGENTS, SESSIONS) else "which"
        raise BadInput(f"{wanted.kind}: {named} = {wanted.which!r}: expected one of {', '.join(sorted(names))}")
    order = sorted(names)
    random.Random(f"{seed} victim").shuffle(order)
    if wanted.which:
        order.remove(wanted.which)
        order.insert(0, wanted.which)
    count = len(order) if wanted.count == ALL else int(wanted.count)
    if count > len(order):
        raise BadInput(f'{wanted.kind}: count = {count}: there are {len(order)} of them: ask for fewer, or for "all"')
    return order[:count]


def _of_region(wanted: Wanted, names: list[str], regions: Regions) -> list[str]:
    if wanted.region not in regions:
        known = ", ".join(sorted(regions)) or "none: the platform file's [regions] names them"
        raise BadInput(f"{wanted.kind}: region = {wanted.region!r}: expected one of {known}")
    return [name for name in names if name in regions[wanted.region]]


def shown(
    wanted: Wanted, agents: list[str], seed: int, others: Iterable[str] = (), regions: Regions | None = None
) -> FaultPlan:
    """What a fault hits on a platform of which only names are known: of the agents, and of `others` that are there."""
    if wanted.group == LINKS and wanted.link != AGENTS:
        return FaultPlan(wanted=wanted, components=[f"{LINKS}/{wanted.link}"], agents=[], of=1)
    if wanted.group in (AGENTS, SESSIONS, LINKS):
        one = msgspec.structs.replace(wanted, count=1) if wanted.group == SESSIONS else wanted
        chosen = choose(one, agents, seed, regions)
        of = f"{LINKS}/{AGENTS}" if wanted.group == LINKS else AGENTS
        names = [f"{of}/{name}" for name in chosen] if wanted.group != SESSIONS else []
        return FaultPlan(wanted=wanted, components=names, agents=chosen, of=len(agents))
    names = [name for name in others if registry.group_of(name) == wanted.group] or [wanted.group]
    return FaultPlan(wanted=wanted, components=choose(wanted, names, seed), agents=[], of=len(names))


def _fault(
    wanted: Wanted, platform: Platform, load: workload.Plan, components: list[Component], observe: bool
) -> FaultPlan:
    """Who only observes needs no way to break anything, only the names of what would be."""
    try:
        return fault(wanted, platform, load.agents, load.seed, components)
    except NotPossible:
        if not observe:
            raise
        names = [one.name for one in components]
        return shown(wanted, load.agents, load.seed, names, platform.file.regions)


def fault(wanted: Wanted, platform: Platform, agents: list[str], seed: int, components: list[Component]) -> FaultPlan:
    """One fault on this platform. Raises BadInput or NotPossible."""
    if wanted.group == LINKS and not platform.file.links:
        raise NotPossible(f"{platform.path}: [links] is not set: {wanted.kind} has nothing to act on")
    if wanted.group not in platform.groups and wanted.group != LINKS:
        raise NotPossible(f"{platform.path}: components.{wanted.group} is not set: {wanted.kind} has nothing to act on")
    unkept = interpreters.are_meant(platform) or platform.session_pods
    if wanted.group == SESSIONS and unkept and not registry.get(wanted.kind).momentary:
        how = platform.file.components[SESSIONS].how
        raise NotPossible(
            f'{platform.path}: components.{SESSIONS}.how = "{how}": no keeper could undo {wanted.kind} there: crash or restart them'
        )
    settings = registry.get(wanted.kind).asks(wanted.group)
    for setting in settings:
        if not platform.has(setting):
            raise NotPossible(f"{platform.path}: {setting} is not set: {wanted.kind} has no way to be made")
    needs_process = wanted.group != LINKS and not settings
    there = {component.name: component for component in components}
    found = shown(wanted, agents, seed, there, platform.file.regions)
    for name in found.components:
        component = there.get(name)
        handle = component is not None and (component.inc or (component.state == "up" and not needs_process))
        if component is None or component.reason or not handle:
            absent = Component(name=name, group=wanted.group, reason=f"it is not there{_links_there(wanted, there)}")
            raise no_handle(component or absent, wanted.kind)
        found.pids += component.inc[2:3] if component.inc else []
    return found


def no_handle(component: Component, kind: str) -> NotPossible:
    none = "it is disabled" if component.group == LINKS else "no process of it is running"
    return NotPossible(f"{component.name}: {component.reason or none}: {kind} can't be done")


def _links_there(wanted: Wanted, there: dict[str, Component]) -> str:
    names = [name.partition("/")[2] for name, component in there.items() if component.group == LINKS]
    return f" (links are {', '.join(names)})" if wanted.group == LINKS else ""


def digest(arguments: Arguments, method: Any) -> str:
    """SHA-256 of what an experiment states, its method with variables substituted, but for the seed: only runs of the same can be compared."""
    unseeded = msgspec.structs.replace(arguments.workload, seed=None)
    stated = msgspec.to_builtins([msgspec.structs.replace(arguments, workload=unseeded), method], str_keys=True)
    return hashlib.sha256(msgspec.json.encode(stated, order="sorted")).hexdigest()


def contract_event(
    arguments: Arguments, plan: RunPlan, description: Description, platform: Platform, known: list[Known], method: Any
) -> Contract:
    """The first event of a history: what this run must show and what the platform promises."""
    return Contract(
        sha=digest(arguments, method),
        seed=plan.load.seed,
        require=arguments.require,
        optional=arguments.optional,
        exposure=dict(arguments.exposure),
        objectives=[*arguments.objectives],
        situations=list(arguments.refusals),
        states=description.states,
        quota=description.quota,
        records=description.records,
        processes=description.processes,
        signs=description.signs,
        homes=description.homes,
        settle_ns=int(plan.load.settle_s * SECONDS),
        promises=description.promises,
        claims=description.claims,
        refusals=description.refusals,
        attribution=description.attribution,
        bounds=queued(description, platform, plan.load),
        offline_ns=description.offline_ns,
        known=known,
        experiment=arguments.name,
        platform=platform.id,
        observe=plan.observe,
    )


def queued(description: Description, platform: Platform, load: workload.Plan) -> dict[str, int]:
    """The bounds. Where the platform file states none, they leave an agent that works on one command at a time its longest queue."""
    assert platform.file.timing is not None
    if platform.file.timing.states_bounds:
        return description.bounds
    longest = int(platform.file.timing.settle.slowest_s * (1 + load.queue) * SECONDS)
    return {op: max(bound, longest) for op, bound in description.bounds.items()}


def check_needs(arguments: Arguments, platform: Platform, components: list[Component]) -> None:
    """The platform is as large as the experiment wants it. Only the embedded one is made so."""
    if platform.file.kind != arguments.needs.kind:
        made = "leave REPRISE_PLATFORM out, and one is made, or name such a platform"
        raise NotPossible(
            f'{platform.path}: kind = "{platform.file.kind}": this experiment is for a {arguments.needs.kind} (needs.kind): '
            + (made if arguments.needs.embeddable else "name a platform of that kind")
        )
    if arguments.needs.witness and not platform.witnesses:
        raise NotPossible(
            f'{platform.path}: no evidence is of kind = "{WITNESS}", which this experiment needs (needs.witness): '
            "leave REPRISE_PLATFORM out, and a platform is made that has one, or make the sessions' template one that speaks"
        )
    for need, group in PODS.items():
        if getattr(arguments.needs, need) and not getattr(platform, need):
            raise NotPossible(
                f'{platform.path}: components.{group}.how is not "kubernetes", and this experiment needs {group} that are pods '
                f"(needs.{need}): name a platform in a cluster"
            )
    for group, wanted in arguments.needs.by_group().items():
        there = sum(component.group == group for component in components)
        if there < wanted:
            made = "leave REPRISE_PLATFORM out, and a platform is made that has them, or name another one"
            raise NotPossible(
                f"{platform.path}: {there} of {wanted} {group} are there that this experiment needs: "
                + (made if arguments.needs.embeddable else "name a platform that has them")
            )


def check_evidence(arguments: Arguments, platform: Platform, description: Description) -> None:
    for check in arguments.require:
        if lacks := lacking(check, platform, description):
            need = f"the required check {check!r} can't be judged without it: add it, or make the check optional"
            raise BadInput(f"{platform.path}: {lacks}: {need}")
    for reason in checker.lacking(arguments.require, arguments.exposure, description.attribution):
        raise BadInput(f"{platform.path}: {reason}: make the check optional, or ask for no exposure of it")


def lacking(check: str, platform: Platform, description: Description) -> str | None:
    """What is not there without which a check can't be judged on this platform, whatever is sent."""
    if check in OF_PROCESSES and description.signs:
        return None
    beside = description.signs or description.homes if check == "state-loss" else ()
    if check in OF_STEPS and not (description.steps or beside):
        return "no code can be run in its sessions (control.steps is not set)"
    there = {entry.ledger for entry in description.attribution}
    there |= {ROWS for entry in platform.file.evidence.values() if entry.kind in TABLES}
    there |= {ROWS} & {*description.sources}  # where evidence is the business of an adapter that is not built in
    for evidence in checker.needs(check):
        ledger = description.effects if evidence == SLOTS else evidence
        if ledger not in there:
            return f"evidence.{ledger} is missing"
    field, words = LACKING.get(checker.asks(check) or "", ("", ""))
    return f"its adapter does not know {words}" if field and not getattr(description, field) else None
