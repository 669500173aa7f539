"""What a simulated run states: its contract and the plan of its load, as an experiment would for that fault."""

import msgspec

from chaosreprise.clock import SECOND
from chaosreprise.history import Contract
from chaosreprise.history.statements import Allowed, Situation
from chaosreprise.platform.adapter import Description
from chaosreprise.simulation.scenario import (
    CONTROL_CRASH,
    KINDS,
    OUTAGES,
    PAUSE,
    SESSION_CRASH,
    SETTLE_S,
    TAKE_AWAY,
    Scenario,
)
from chaosreprise.workload import plan as plans

USERS = ["u1", "u2"]
REQUIRE = ["lost", "phantom", "residue", "split-brain", "late", "denied"]
HIDDEN = {
    "lifecycle": OUTAGES,  # nobody reads the rows meanwhile
    "duplicate": (SESSION_CRASH,),  # a second hibernate would not show
    "reorder": (CONTROL_CRASH, SESSION_CRASH, *OUTAGES),  # everything may have acted before the next one is sent
    "misassigned": tuple(kind for kind in KINDS if kind not in (TAKE_AWAY, PAUSE)),
    "fail-open": tuple(kind for kind in KINDS if kind not in OUTAGES),
    "dishonest": tuple(kind for kind in KINDS if kind not in (TAKE_AWAY, PAUSE, *OUTAGES)),
    "interrupted": (CONTROL_CRASH,),  # all streams cross it
}
"""What these faults need not bring to light, so that it is optional there."""
ALL_AWAY = Situation(
    name="no agent",
    when="no-agent-online",
    ops=["start"],
    allow=[Allowed(status=503), Allowed(status=0)],
    within_s=0.5,
)


def exposure(scenario: Scenario) -> dict[str, int]:
    if scenario.kind == SESSION_CRASH:
        return {"hibernate": scenario.exposure}
    return dict.fromkeys(plans.WAITING, scenario.exposure)


def plan(scenario: Scenario, agents: list[str]) -> plans.Plan:
    n = scenario.exposure
    reserve = n + -(-n // 2)  # a burst only stops some
    workload = plans.Workload(mix=scenario.mix, sessions=1000, reserve=reserve)
    made = plans.make(workload, exposure(scenario), agents, USERS, 1000, 1000.0, scenario.seed)
    return msgspec.structs.replace(made, settle_s=SETTLE_S)


def contract(scenario: Scenario, said: Description) -> Contract:
    situations = [ALL_AWAY] if scenario.all_agents else []
    required = [name for name, hidden in HIDDEN.items() if scenario.kind not in hidden]
    required += ["refusal"] if situations else []
    return Contract(
        sha="0" * 64,
        seed=scenario.seed,
        require=[*REQUIRE, *required],
        optional=[name for name in HIDDEN if name not in required],
        exposure=exposure(scenario),
        objectives=[],
        situations=situations,
        states=said.states,
        settle_ns=round(SETTLE_S * SECOND),
        promises=said.promises,
        claims=said.claims,
        refusals=said.refusals,
        attribution=said.attribution,
        bounds=said.bounds,
        offline_ns=said.offline_ns,
        known=[],
        experiment=scenario.kind,
        platform="simulated@virtual",
    )
