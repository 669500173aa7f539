"""A way to the platform that was not open (`forward/NAME`): nobody is blamed for it, nothing becomes true by it, and what ledgers show stays false."""

import pytest
import test_interrupted
import test_normal_latency
import test_objective
import test_recovery
import test_refusal
from histories import EPOCH, PROVEN, SECOND, Made, complete, ns, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Effect, Fault, Observe, Report
from chaosreprise.history.events import POD_ENDED
from chaosreprise.history.statements import Claim, Objective

WAY = "forward/api"


def at(moment: int) -> float:
    return (moment - EPOCH) / SECOND


def judged(made: Made) -> checker.Verdict:
    return checker.judge(made.history(), "end")


def test_a_run_whose_way_broke_where_nothing_was_missed_is_true_and_says_so():
    made = complete()
    made.gap(WAY, 6.0, 6.5)
    verdict = judged(made)
    assert verdict.value == "true", verdict.why
    [told] = [one for one in verdict.not_tested if WAY in one.what]
    assert "not open from 6.000 s to 6.500 s" in told.why


def test_its_orderly_end_is_no_gap_and_no_sign_of_the_recorder():
    made = complete()
    whole = judged(made)
    made.cover(WAY, 0.01)
    made.cover(WAY, 99.0, on=False)
    assert judged(made) == whole


def test_what_is_lost_is_lost_all_the_same():
    made = complete()
    cmd = made.commands("wake", 5.1, 8.0)[0]
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    made.gap(WAY, 5.0, 9.0)
    assert judged(made).checks["lost"].value == "false"


def test_a_call_that_hung_while_the_way_was_not_open_was_not_slow():
    made = test_objective.run(Objective(name="all steps", latency="answer", op="step", max=1))
    test_objective.slow(made, 1, 3.0)
    first = made.commands("step")[0]
    answer = made.find(Answer, lambda e: e.cmd == first.cmd)[0]
    made.gap(WAY, at(answer.hi) - 1.9, at(answer.hi))
    assert test_objective.objective(made).count == (1, 1), "1.1 s are left"
    made.gap("forward/steps", at(answer.hi) - 2.1, at(answer.hi) - 1.8)
    found = test_objective.objective(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_a_call_in_a_situation_that_was_lost_with_the_way_is_not_held_against_the_platform():
    made = test_refusal.away()
    test_refusal.call(made, 6.2, took=0.3, status=None, error="ReadError('')", outcome="info")
    assert test_refusal.refusal(made).labels == {"answer": 1}
    made.gap(WAY, 6.1, 6.4)
    found = test_refusal.refusal(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_a_stream_that_broke_with_the_way_may_be_the_ways():
    made = test_interrupted.world(6.0)
    assert test_interrupted.interrupted(made).count == (1, 1)
    made.gap(WAY, 5.8, 6.3)
    found = test_interrupted.interrupted(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "or the way there" in found.scope[0].why


def test_a_pod_that_somebody_ended_is_a_gap_and_one_that_a_fault_of_ours_ended_is_that_faults():
    made = complete()
    whole = {"agents/a2": judged(made)}
    for event in made.find(Fault):
        event.component = "control-plane"
    whole["control-plane"] = judged(made)
    made.gap(WAY, PROVEN + 0.1, PROVEN + 0.5, why=f"{POD_ENDED}: control-plane-1")
    assert judged(made) == whole["control-plane"]
    for event in made.find(Fault):
        event.component = "agents/a2"
    [told] = [one for one in judged(made).not_tested if one not in whole["agents/a2"].not_tested]
    assert told.what == f"calls by {WAY}"
    made.drop(Fault, lambda event: event.fault == "f1" and event.state != "armed")
    assert [one for one in judged(made).not_tested if POD_ENDED in one.why]


def test_a_sample_of_what_looked_away_while_the_way_was_not_open_breaks_no_objective():
    made = test_objective.run(Objective(name="serves", signal="health.serves", min=1))
    made.cover("health", 0.01)
    made.cover("health", 19.2, on=False)
    for at, value in ((2.0, 1), (7.0, 0), (9.0, 1)):
        made.add(Observe(lo=ns(at), hi=ns(at), source="health", signal="serves", value=value))
    assert test_objective.objective(made).value == "false"
    made.gap(WAY, 6.8, 7.2)
    found = test_objective.objective(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    made.add(Observe(lo=ns(8.0), hi=ns(8.0), source="health", signal="serves", value=0))
    assert test_objective.objective(made).value == "false", "then it was open"


def test_a_rate_is_of_the_time_in_which_the_platform_could_be_reached():
    made = test_objective.run(test_objective.RATE)
    assert test_objective.rated(made, unanswered=4).value == "false"
    begin = at(made.commands("step")[0].lo)
    made.gap(WAY, begin, begin + 0.4)
    assert test_objective.objective(made).value == "unknown"


def test_a_recovery_is_not_charged_with_the_time_in_which_nobody_could_be_asked():
    made = complete(require=["objective"], objectives=[Objective(name="elsewhere", recovery="elsewhere_s", max=0.3)])
    since, until = test_recovery.measured(made).elsewhere
    assert (judged(made).checks["objective"].value, since > 0.3) == ("false", True)
    made.gap(WAY, PROVEN + 0.1, PROVEN + since - 0.1)
    found = test_recovery.measured(made)
    assert found.elsewhere == pytest.approx((0.2, until))
    assert judged(made).checks["objective"].value == "unknown"


def test_what_was_slow_on_the_way_does_not_delay_normal_latency():
    made = test_normal_latency.run()
    test_normal_latency.slow(made, 5.1, 8.32)
    late = test_normal_latency.measured(made).normal
    made.gap(WAY, 8.1, 8.33)
    assert test_normal_latency.measured(made).normal[0] < late[0]


def test_a_signal_that_could_not_be_asked_for_longer_than_its_bound_proves_no_honesty():
    made = thorough("dishonest", seconds_of_steps=0.2)
    assert judged(made).checks["dishonest"].value == "true"
    made.gap(WAY, PROVEN - 0.1, PROVEN + 2.5)
    found = judged(made).checks["dishonest"]
    assert (found.value, found.count) == ("unknown", (0, 0))


def test_a_signal_that_lied_while_the_way_was_open_is_still_a_lie():
    made = thorough("dishonest", seconds_of_steps=0.2)
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.gap(WAY, 2.0, 2.5)
    assert judged(made).checks["dishonest"].value == "false"
    assert isinstance(made.history().contract.claims[0], Claim)
