"""The verdict as a whole: stages, merging, exposure with its power, counts, reasons, and what a plan may ask."""

import copy
import itertools
import json
import pathlib

import pytest
from histories import (
    AGENTS,
    ATTRIBUTION,
    PROVEN,
    SECOND,
    UNDOING,
    UNDONE,
    VICTIM,
    Made,
    complete,
    ns,
)

from chaosreprise import checker
from chaosreprise.checker import checks
from chaosreprise.checker.verdict import excludes_above
from chaosreprise.errors import BadInput
from chaosreprise.history import Answer, Effect, Fault, Observe, Phase, Report, Submit
from chaosreprise.history.events import Attribution


def judged(made: Made, stage="end") -> checker.Verdict:
    return checker.judge(made.history(), stage)


def until(made: Made, at: float) -> Made:
    made.events = [event for event in made.events if event.hi <= ns(at)]
    return made


@pytest.mark.parametrize("values", list(itertools.product(["true", "false", "unknown"], repeat=2)))
def test_false_beats_unknown_beats_true(values):
    expected = "false" if "false" in values else "unknown" if "unknown" in values else "true"
    assert checker.merge(values) == expected


def test_of_nothing_nothing_is_known():
    assert checker.merge([]) == "unknown"


@pytest.mark.parametrize(("n", "rate"), [(5, 0.45), (20, 0.14), (100, 0.03)])
def test_the_power_of_an_exposure_is_what_zero_of_n_excludes(n, rate):
    assert round(excludes_above(n), 2) == rate


def test_no_exposure_excludes_nothing():
    assert excludes_above(0) is None


def test_judging_changes_nothing_and_is_the_same_again():
    history = complete().history()
    before = copy.deepcopy(history)
    first = checker.judge(history, "end").to_json()
    assert checker.judge(history, "end").to_json() == first
    assert history == before


def test_the_json_is_plain_and_has_the_agreed_fields():
    found = json.loads(json.dumps(judged(complete()).to_json()))
    assert found["verdict"] == "true"
    assert {
        "version",
        "why",
        "run",
        "experiment",
        "seed",
        "phases",
        "checks",
        "exposure",
        "recovery",
        "not_tested",
    } <= set(found)
    assert {"verdict", "count", "level", "required", "baseline", "witnesses", "scope"} <= set(found["checks"]["lost"])
    assert {"in_flight", "during", "need", "excludes_above"} <= set(found["exposure"]["stop"])
    assert found["exposure"]["stop"]["during"] == 10
    assert [phase["name"] for phase in found["phases"]] == ["baseline", "method", "quiet", "drain", "clean", "close"]


def test_a_true_verdict_prints_its_watch():
    verdict = judged(complete())
    assert verdict.watch.seconds == pytest.approx(12.5 - UNDONE)
    assert verdict.why == ["no lost, no duplicate within 4.4 s after heal"]


def test_the_watch_counts_from_the_last_command_when_that_was_later():
    made = complete()
    made.step("s-a1-stepper", 9.0)
    assert judged(made).watch.after == "last command"


def test_counts_tell_what_became_of_every_command():
    made = complete()
    made.command("wake", "s-a1-stepper", 6.0, effect=None, outcome="fail", row=None)
    made.command("hibernate", "s-a1-stepper", 6.2, effect=0.1, outcome="info", row=None)
    made.command("wake", "s-a1-stepper", 6.6, effect=None, outcome="info", row=None)
    made.step("s-a3-stepper", 6.7, outcome="info", marks="b")
    counts = judged(made).counts
    assert (counts.sent, counts.accepted, counts.refused) == (181, 177, 1)
    assert (counts.happened, counts.absent, counts.undecided, counts.reads) == (1, 1, 1, 60)


def test_a_command_without_an_answer_is_unclear():
    made = complete()
    made.submit("hibernate", "s-a1-stepper", 6.0)
    assert judged(made).counts.absent == 1


def test_what_was_not_tested_is_listed():
    found = {entry.what for entry in judged(complete(require=["lost"])).not_tested}
    assert {
        "duplicate",
        "start, step through the fault",
        "faults of control plane, database, network, sessions",
    } <= found


def test_the_lag_of_the_load_and_the_effects_are_the_evidence():
    evidence = judged(complete()).evidence
    assert evidence.lag_ms == 0.4
    assert evidence.effects == {"slots": 197, "workspaces": 120}
    assert evidence.objects == {"slots": 40, "workspaces": 3}


# -- stages


def test_the_baseline_is_true_when_every_agent_did_everything_once():
    assert judged(until(complete(), 4.5), "baseline").value == "true"


@pytest.mark.parametrize("op", ["start", "hibernate", "wake", "stop"])
def test_the_baseline_is_unknown_without_each_kind_on_each_agent(op):
    made = until(complete(), 4.5)
    ours = {cmd.cmd for cmd in made.commands(op) if "s-a3-" in (cmd.session or cmd.key)}
    for answer in made.find(Answer, lambda e: e.cmd in ours):
        answer.outcome = "info"
    verdict = judged(made, "baseline")
    assert verdict.value == "unknown"
    assert any(f"no {op} on a3" in reason for reason in verdict.why)


def test_an_agent_that_is_offline_needs_no_cycle_and_no_agent_at_all_is_unknown():
    made = until(complete(), 4.5)
    made.agent("a9", "offline", 0.05)
    assert judged(made, "baseline").value == "true"
    made.drop(Report, lambda e: e.about == "agent")
    assert judged(made, "baseline").value == "unknown"


def test_in_the_baseline_a_young_command_is_not_judged_one_past_its_bound_is_unknown_and_a_settled_one_lost():
    for at, expected in ((4.0, "true"), (3.0, "unknown"), (2.2, "false")):
        made = until(complete(), 4.5)
        made.command("hibernate", "s-a1-stepper", at, effect=None, row="pending")
        assert judged(made, "baseline").value == expected, at


def test_in_the_baseline_nothing_is_lost_while_the_recorder_lags_behind():
    made = until(complete(), 4.5)
    made.command("hibernate", "s-a1-stepper", 2.2, effect=None, row=None)
    made.drop(Effect, lambda e: e.hi > ns(2.5))
    made.drop(Report, lambda e: e.hi > ns(2.5))
    assert judged(made, "baseline").value != "false"


def test_during_the_method_only_what_can_not_be_taken_back_is_judged():
    made = until(complete(), 7.0)
    verdict = judged(made, "during")
    assert (verdict.value, list(verdict.checks)) == ("true", ["duplicate"])
    made.effect("wake", "s-a1-cycle", 6.5)
    assert judged(made, "during").value == "false"


def test_the_stage_follows_from_the_phases():
    for at, stage in (
        (0.5, "baseline"),
        (4.0, "baseline"),
        (6.0, "during"),
        (13.0, "during"),
        (15.8, "clean"),
        (20, "end"),
    ):
        assert checker.stage_of(until(complete(), at).history()) == stage


# -- exposure


def test_only_what_was_sent_surely_between_proof_and_undo_counts():
    made = complete(exposure={"stop": 10, "hibernate": 5, "wake": 5})
    assert judged(made).value == "true"
    first = min(made.commands("hibernate", 5, 8, VICTIM), key=lambda e: e.lo)
    first.lo = first.hi = ns(PROVEN)
    assert judged(made).exposure["hibernate"].during == 5
    first.lo = ns(PROVEN) - 1
    assert judged(made).exposure["hibernate"].during == 4
    last = max(made.commands("stop", 5, 8, VICTIM), key=lambda e: e.lo)
    last.hi = ns(UNDOING) + 1
    assert judged(made).exposure["stop"].during == 9


def test_what_was_sent_after_the_agent_was_seen_back_does_not_count():
    made = complete()
    made.agent(VICTIM, "online", 5.5)
    verdict = judged(made)
    assert (verdict.value, verdict.exposure["hibernate"].during) == ("unknown", 2)
    made = complete()
    made.agent(VICTIM, "online", PROVEN + 0.01)
    assert judged(made).value == "true", "read before it was noticed: no return"


def test_a_lost_command_was_exposed_all_the_same():
    made = complete()
    cmd = made.commands("wake", 5.1, 8, VICTIM)[0]
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    assert judged(made).exposure["wake"].during == 5


def test_an_unclear_command_counts_when_it_happened():
    made = complete()
    made.command("hibernate", f"s-{VICTIM}-stepper", 6.0, effect=2.5, outcome="info", row=None)
    made.command("wake", f"s-{VICTIM}-stepper", 6.5, effect=None, outcome="info", row=None)
    exposure = judged(made).exposure
    assert (exposure["hibernate"].during, exposure["wake"].during) == (6, 5)


def crash_run(ops=("stop", "hibernate", "wake"), sent=5.0, need=5) -> Made:
    """A crash: over at once, met by what was in flight."""
    made = complete(exposure=dict.fromkeys(ops, need))
    for event in made.find(Fault):
        event.kind = "agents.crash"
    for cmd in made.find(Submit, lambda e: ns(5.1) < e.lo < ns(8) and f"agents/{VICTIM}" in e.path):
        cmd.lo = cmd.hi = ns(sent)
    return made


def test_a_crash_needs_its_exposure_in_flight():
    verdict = judged(crash_run())
    assert (verdict.value, verdict.exposure["stop"].in_flight, verdict.exposure["stop"].during) == ("true", 10, 0)
    assert verdict.exposure["stop"].measure == "in_flight"
    assert judged(crash_run(sent=6.0)).value == "unknown"


@pytest.mark.parametrize(("back", "n"), [(None, 0), (PROVEN + 1, 0), (4.0, 10)])
def test_nothing_was_in_flight_at_an_agent_that_was_away_when_it_crashed(back, n):
    """A pod that was replaced a moment ago is ready, and not connected yet: its next crash breaks nothing."""
    made = crash_run()
    made.agent(VICTIM, "online", 0.1)
    made.agent(VICTIM, "offline", 3.0)
    if back is not None:
        made.agent(VICTIM, "online", back)
    verdict = judged(made)
    assert verdict.exposure["stop"].in_flight == n
    assert verdict.value == ("true" if n else "unknown")


def test_what_was_finished_before_the_proof_was_not_in_flight():
    made = crash_run(ops=("wake",))
    cmd = made.commands("wake", 4.9, 5.1, VICTIM)[0]
    for effect in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo):
        effect.lo = effect.hi = ns(5.01)
    assert judged(made).exposure["wake"].in_flight == 4


def test_a_start_is_exposed_to_the_agent_that_it_was_given_to():
    made = complete(exposure={"wake": 5, "start": 1})
    assert judged(made).exposure["start"].during == 0
    made.command("start", "s-waits", 6.2, effect=2.0, agent=VICTIM)
    assert judged(made).exposure["start"].during == 1


def test_a_fault_of_another_component_is_crossed_by_the_recorded_path():
    made = complete(exposure={"stop": 5, "step": 5})
    for event in made.find(Fault):
        event.component = "control-plane"
    verdict = judged(made)
    assert verdict.exposure["step"].during == 24
    assert verdict.exposure["stop"].during == 11
    assert verdict.value == "true"


def test_each_fault_needs_its_own_exposure():
    made = complete()
    states = {"armed": 8.2, "injected": 8.21, "proven": 8.22, "undoing": 8.3, "undone": 8.35, "clean": 8.4}
    made.fault("agents/a1", states, fault="f2")
    verdict = judged(made)
    assert verdict.value == "unknown"
    assert {fault.fault: fault.exposure["stop"].during for fault in verdict.faults} == {"f1": 10, "f2": 0}


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("database", "it ended before its time: the database had ended a session that held it"),
        ("somebody else", "it ended before its time: somebody else had changed what it had changed"),
    ],
)
def test_a_fault_that_was_over_before_its_undo_makes_the_run_unknown(by, why):
    made = complete()
    made.find(Fault, lambda e: e.state == "undone")[0].by = by
    verdict = judged(made)
    assert verdict.value == "unknown"
    assert any(why in one for one in verdict.why)


@pytest.mark.parametrize(
    "states",
    [{"planned": 6.0}, {"planned": 6.0, "armed": 6.1, "clean": 6.2}, {"planned": 6.0, "armed": 6.1, "moot": 6.2}],
)
def test_a_fault_that_never_acted_does_no_harm(states):
    made = complete()
    made.fault("agents/a1", states, fault="f2")
    assert judged(made).value == "true"


@pytest.mark.parametrize(
    "states",
    [{"armed": 6.0}, {"armed": 6.0, "injected": 6.1}, {"armed": 6.0, "undoing": 6.1, "undone": 6.2, "clean": 6.3}],
)
def test_a_fault_of_which_nobody_knows_whether_it_acted_makes_the_run_unknown(states):
    made = complete()
    made.fault("agents/a1", states, fault="f2")
    assert judged(made).value == "unknown"


def test_the_end_of_a_target_that_was_gone_by_itself_is_moot_and_legal():
    made = complete()
    made.find(Fault, lambda e: e.state == "clean")[0].state = "moot"
    assert judged(made).value == "true"


# -- what only explains


def test_no_check_reads_what_only_explains():
    """Without the rows of commands, and with signals of anybody's log, the verdict is the same."""
    made = complete()
    made.effect("wake", "s-a2-hib0", 8.9)
    plain = judged(made)
    made.drop(Report, lambda e: e.about == "command")
    made.add(Observe(lo=ns(8.9), hi=ns(8.9), source="lab", signal="log", value="replayed cmd twice"))
    again = judged(made)
    assert again.value == plain.value == "false"
    assert [found.count for found in again.checks.values()] == [found.count for found in plain.checks.values()]


# -- what a plan asks


def test_the_known_checks_are_those_that_are_there():
    files = pathlib.Path(checks.__path__[0]).glob("[a-z]*.py")
    assert checker.known() == sorted(file.stem.replace("_", "-") for file in files)
    assert checker.needs("lost") == ("slots",)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="'lots' is not a check: known are contradicted, "):
        checker.needs("lots")


def test_what_a_platform_lacks_is_said_before_anything_is_broken():
    assert checker.lacking(["lost", "duplicate"], {"stop": 5, "wake": 5}, ATTRIBUTION) == []
    weak = [Attribution(op="wake", ledger="sql", level="state", mark="up")]
    said = checker.lacking(["lost", "duplicate"], {"wake": 5, "stop": 5}, weak)
    assert len(said) == 3
    assert said[0] == "the required check 'lost' can't judge stop: its effects are known at level 'none' only"


def test_every_agent_has_its_place_in_the_made_history():
    assert {report.id for report in complete().find(Report, lambda e: e.about == "agent")} == set(AGENTS)
    assert complete().find(Phase)
    assert SECOND
