"""What can be tested on a platform follows from what of it is seen, what of it may be broken, and how large it is."""

import pytest

from chaosreprise import criteria
from chaosreprise.checker import registry
from chaosreprise.criteria import experiments
from chaosreprise.faults import registry as faults
from chaosreprise.history.events import Attribution

LEDGERS = {"rows", "slots"}
ATTRIBUTION = [
    Attribution(op="start", ledger="slots", level="keyed", mark="made"),
    Attribution(op="hibernate", ledger="slots", level="counted", mark="down"),
    Attribution(op="wake", ledger="slots", level="counted", mark="up"),
    Attribution(op="stop", ledger="slots", level="counted", mark="gone"),
]
GIVEN = ("states", "claims", "quota")
PARTS = {
    "agents": 4,
    "control_planes": 2,
    "users": 40,
    "regions": 2,
    "clusters": 2,
    "agent_platforms": 2,
    "session_pods": 1,
    "agent_pods": 1,
}
ALL_LEVELS = criteria.levels_of(LEDGERS, ATTRIBUTION, GIVEN)


def found(levels=ALL_LEVELS, kinds=None, parts=PARTS, system="streamspace"):
    kinds = faults.kinds() if kinds is None else kinds
    return {one.criterion.id: one for one in criteria.of_platform(system, levels, kinds, parts)}


def test_where_everything_is_seen_and_may_be_broken_what_experiments_declare_can_be_tested():
    can = {name for name, one in found().items() if one.by}
    own = [experiment for experiment in experiments.experiments().values() if experiment.system == "streamspace"]
    assert can == {name for experiment in own for name in experiment.criteria}
    assert all(bool(one.by) != bool(one.why) for one in found().values())


def test_a_platform_has_the_criteria_of_its_system_and_of_all():
    assert {name.partition("-")[0] for name in found()} == {"SS", "SI", "RP"}
    assert {name for name in found(system="sandbox") if not name.startswith("SX-")} == {"RP-5"}


def test_what_experiments_on_sandboxes_declare_can_be_tested_on_one():
    attribution = [Attribution(op="step", ledger="workspaces", level="keyed", mark="e")]
    levels = criteria.levels_of({"rows", "workspaces", "slots"}, attribution, (), ["step"])
    can = {name for name, one in found(levels, system="sandbox").items() if one.by}
    own = [experiment for experiment in experiments.experiments().values() if experiment.system == "sandbox"]
    assert can == {name for experiment in own for name in experiment.criteria}
    assert found()["RP-5"].by
    local = found(levels, system="sandbox", parts=PARTS | {"session_pods": 0})["SX-13"]
    assert (local.by, local.why) == ([], "sandbox-pods: 0 of 1 session pods are there")


def test_a_fault_that_can_not_be_made_takes_its_experiments_away_and_is_named():
    without = found(kinds=[kind for kind in faults.kinds() if kind != "agents.take_away"])
    assert "agent-failover" in found()["SI-3.1"].by
    assert "agent-failover" not in without["SI-3.1"].by
    assert without["SI-3.1"].by, "other experiments show it too"
    assert (without["RP-4"].by, without["SS-8.1"].why) == (
        ["database-crash"],
        "all-agents-away: agents.take_away can't be made",
    )


def test_without_any_fault_nothing_can_be_tested_and_each_says_why():
    nothing = found(kinds=[])
    assert not any(one.by for one in nothing.values())
    assert nothing["SS-4.3"].why == "only a test of the embedded platform shows it, and no experiment"
    assert nothing["SS-9.2"].why.startswith("not testable because ")
    assert nothing["SS-1.1"].why.startswith("not testable because ")


def test_a_platform_that_is_too_small_says_of_what():
    small = found(parts=PARTS | {"control_planes": 1})
    assert small["RP-2"].why == "two-control-planes: 1 of 2 control planes are there"


def test_without_a_ledger_of_effects_no_experiment_that_requires_it_can_be_run():
    levels = criteria.levels_of({"rows"}, [], GIVEN)
    assert {"lost", "duplicate", "residue"} & set(levels) == set()
    assert {"denied", "misassigned", "lifecycle", "dishonest"} <= set(levels)
    assert found(levels=levels)["SI-3.1"].why == "agent-container-killed: lost can't be judged"
    assert found(levels=levels)["SI-3.2"].by == ["agent-failover-by-rows"], "which goes by rows and answers"


def test_a_check_whose_evidence_is_only_optional_is_missed_where_it_proves_the_criterion():
    levels = {name: level for name, level in ALL_LEVELS.items() if name != "refusal"}
    assert found(levels=levels)["SS-8.1"].why == "all-agents-away: refusal can't be judged, by which it is proven"


def test_the_weakest_kind_of_command_decides_what_a_check_can_judge():
    weak = [*ATTRIBUTION[:3], Attribution(op="stop", ledger="slots", level="state", mark="gone")]
    levels = criteria.levels_of(LEDGERS, weak, GIVEN)
    assert levels["lost"] == "state"
    assert "duplicate" not in levels
    assert set(ALL_LEVELS) == set(registry.known())
    assert set(ALL_LEVELS.values()) == {"counted"}


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        (("states", "quota"), "dishonest"),
        (("claims", "quota"), "contradicted lifecycle"),
        (("states", "claims"), "quota"),
    ],
)
def test_a_check_is_missed_where_the_adapter_does_not_state_what_it_judges(given, lacks):
    assert set(ALL_LEVELS) - set(criteria.levels_of(LEDGERS, ATTRIBUTION, given)) == {*lacks.split()}


def test_it_is_said_in_one_line():
    everything = list(found().values())
    can = sum(bool(one.by) for one in everything)
    assert criteria.said(everything) == f"49 criteria: {can} can be tested here, {49 - can} cannot"
