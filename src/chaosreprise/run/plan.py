"""The plan of a run: pure, from the contract, the platform file and what is there. Changes nothing.

Refused here, before anything is broken: a required check without the evidence that it needs, a fault that the platform
file does not allow or that has no handle, a share of agents above the limit, a load that does not fit the budget.
"""

import hashlib
from typing import Any

import msgspec

from chaosreprise import checker
from chaosreprise.errors import BadInput, NotAllowed, NotPossible
from chaosreprise.history import Contract
from chaosreprise.platform.adapter import SECONDS, Component, Description
from chaosreprise.platform.file import Platform
from chaosreprise.run.contract import Arguments
from chaosreprise.workload import plan as workload

FAULT = "agents.take_away"
GROUP = "agents"


class RunPlan(msgspec.Struct, kw_only=True):
    """What a run will do: `target` is the component that `fault` hits, `undo` how it is made whole."""

    load: workload.Plan
    fault: str
    target: Component
    undo: str
    agents: int
    share: float

    def lines(self) -> list[str]:
        """For people: what would be broken, and how it is undone."""
        target = self.target
        return [
            f"would take away   {target.name}, pid {target.inc[2] if target.inc else '?'} (1 of {self.agents} agents; limit {self.share:.0%})",
            f"undo              start {target.name} again with the same command",
            f"load              {self.load.starts} sessions for {len(self.load.users)} users; settles within {self.load.settle_s:.1f} s; seed {self.load.seed}",
        ]


def make(
    arguments: Arguments, platform: Platform, description: Description, components: list[Component], seed: int
) -> RunPlan:
    """Raises BadInput, NotAllowed or NotPossible with the one reason why this run can't be done here."""
    _check_evidence(arguments, platform, description)
    file = platform.file
    assert file.timing is not None
    agents = [component for component in components if component.group == GROUP]
    if not agents:
        raise NotPossible(
            f"{platform.path}: components.{GROUP} is not set: no agent can be taken away on this platform"
        )
    if FAULT not in file.allow.faults:
        raise NotAllowed(
            f"{platform.path}: allow.faults = {file.allow.faults}: {FAULT} is not among them: add it if this platform may lose an agent"
        )
    if 1 / len(agents) > file.allow.share:
        raise NotAllowed(f"{platform.path}: allow.share = {file.allow.share:g}: 1 of {len(agents)} agents is more")
    names = [component.name.partition("/")[2] for component in agents]
    load = workload.make(
        arguments.workload,
        dict(arguments.exposure),
        names,
        file.budget.users,
        file.budget.max_sessions,
        file.budget.max_rps,
        seed,
    )
    load = msgspec.structs.replace(load, settle_s=file.timing.settle.seconds(load.queue))
    target = next(component for component in agents if component.name == f"{GROUP}/{load.victim}")
    if target.reason or target.inc is None:
        raise NotPossible(f"{target.name}: {target.reason or 'no process of it is running'}: it can't be taken away")
    return RunPlan(
        load=load, fault=FAULT, target=target, undo=f"start {target.name}", agents=len(agents), share=file.allow.share
    )


def contract_event(arguments: Arguments, plan: RunPlan, description: Description, platform: Platform) -> Contract:
    """The first event of a history: what this run must show and what the platform promises."""
    stated: dict[str, Any] = msgspec.to_builtins(arguments)
    return Contract(
        sha=hashlib.sha256(msgspec.json.encode(stated, order="sorted")).hexdigest(),
        seed=plan.load.seed,
        require=arguments.require,
        optional=arguments.optional,
        exposure=dict(arguments.exposure),
        objectives=arguments.objectives,
        settle_ns=int(plan.load.settle_s * SECONDS),
        promises=description.promises,
        claims=[],
        refusals=description.refusals,
        attribution=description.attribution,
        bounds=description.bounds,
        offline_ns=description.offline_ns,
        known=[],
        experiment=arguments.name,
        platform=platform.id,
    )


def _check_evidence(arguments: Arguments, platform: Platform, description: Description) -> None:
    there = {entry.ledger for entry in description.attribution}
    for check in arguments.require:
        for ledger in checker.needs(check):
            if ledger not in there:
                need = f"the required check {check!r} can't be judged without it: add it, or make the check optional"
                raise BadInput(f"{platform.path}: evidence.{ledger} is missing: {need}")
    for reason in checker.lacking(arguments.require, arguments.exposure, description.attribution):
        raise BadInput(f"{platform.path}: {reason}: make the check optional, or ask for no exposure of it")
