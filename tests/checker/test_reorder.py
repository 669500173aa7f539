"""reorder: what was overtaken, what only looks so, and pairs that nobody can decide."""

import functools
import time

import pytest
from histories import ATTRIBUTION, Made, complete, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosreprise import checker
from chaosreprise.history import Answer, Effect, Report, Submit
from chaosreprise.history.events import Attribution

REQUIRE = ["lost", "duplicate", "reorder"]
PROMISES = {"durable": True, "at_most_once": True, "order": True}


def run(**changes) -> Made:
    return complete(**{"require": REQUIRE, "promises": PROMISES, **changes})


def reorder(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["reorder"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def pair(made: Made, first: float, second: float, session: str = "s-a1-run0", ops=("hibernate", "stop")) -> list[str]:
    """Two commands sent one after the other was accepted, and when they acted."""
    made.drop(Submit, lambda e: e.op == "stop" and e.session == session)
    made.drop(Answer, lambda e: e.cmd not in {submit.cmd for submit in made.find(Submit)})
    made.drop_effects(session, "gone")
    return [
        made.command(ops[0], session, 5.5, effect=first - 5.5),
        made.command(ops[1], session, 5.6, effect=second - 5.6),
    ]


def test_a_clean_run_has_none_and_says_how_many_pairs_could_have_changed_places():
    found = reorder(run())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence == 10, "the pairs that waited for the agent that was away"


def test_a_hibernation_that_acts_after_the_stop_that_followed_it_is_stale():
    made = run()
    a, b = pair(made, first=7.0, second=6.0)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["reorder"]
    assert (verdict.value, found.count, found.labels, found.baseline) == ("false", (1, 1), {"stale": 1}, 0)
    witness = found.witnesses[0]
    assert (witness.cmd, witness.label) == (a, "stale")
    assert witness.say == (
        f"{a} hibernate of session s-a1-run0: accepted at 5.504 s, acted at 7.000 s; "
        f"{b} stop, sent after that at 5.600 s, acted at 6.000 s"
    )
    told = [moment.what for moment in witness.moments]
    assert told.index(f"effect of {b}") < told.index(f"effect of {a}, too late")
    assert verdict.why == ["reorder 1: a command acted before one that preceded it (stale 1)"]


def test_the_same_pair_in_its_order_is_silent():
    made = run()
    pair(made, first=6.0, second=7.0)
    assert value(made) == "true"
    assert reorder(made).evidence == 11


def test_what_was_sent_before_the_other_was_accepted_has_no_order():
    made = run()
    a, _ = pair(made, first=7.0, second=6.0)
    made.find(Answer, lambda e: e.cmd == a)[0].hi = ns(5.61)
    assert reorder(made).count == (0, 0), "the answers came in the order of submission all the same"


def test_the_order_of_answers_is_no_order():
    made = run()
    a, b = pair(made, first=6.0, second=7.0)
    made.find(Answer, lambda e: e.cmd == a)[0].hi = ns(6.5)
    made.find(Answer, lambda e: e.cmd == b)[0].hi = ns(5.7)
    assert value(made) == "true"


def test_who_was_never_accepted_precedes_nobody():
    for outcome in ("info", "fail"):
        made = run()
        a, _ = pair(made, first=7.0, second=6.0)
        made.find(Answer, lambda e, a=a: e.cmd == a)[0].outcome = outcome
        assert reorder(made).count == (0, 0)


def test_an_unclear_command_that_acted_can_overtake():
    made = run()
    _, b = pair(made, first=7.0, second=6.0)
    made.find(Answer, lambda e: e.cmd == b)[0].outcome = "info"
    assert reorder(made).count == (1, 1)


def test_intervals_that_overlap_decide_nothing_and_are_counted():
    made = run()
    a, _ = pair(made, first=7.0, second=6.0)
    for effect in made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "down" and e.hi == ns(7.0)):
        effect.lo = ns(5.9)
    found = reorder(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert f"({a})" in found.scope[0].why


def test_an_effect_known_roughly_can_not_have_come_before_its_command_was_sent():
    made = run()
    pair(made, first=5.55, second=7.0)
    for effect in made.find(Effect, lambda e: e.session == "s-a1-run0" and e.hi == ns(7.0)):
        effect.lo = ns(5.0)
    assert reorder(made).count == (0, 0)


def test_a_stop_counts_from_its_first_mark():
    made = run()
    pair(made, first=6.5, second=7.0)
    down = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "down" and e.hi == ns(7.0))[0]
    down.lo = down.hi = ns(6.0)
    assert reorder(made).count == (1, 1)


def test_acting_again_after_a_later_command_is_no_matter_of_order():
    made = run()
    session = made.commands("wake", 5.1, 8.0, "a2")[0].session
    made.effect("wake", session, 8.9)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.checks["reorder"].value, verdict.checks["duplicate"].value) == ("true", "false")


def test_a_lost_command_is_overtaken_by_nobody():
    made = run()
    made.command("hibernate", "s-a1-run0", 5.5, effect=None, row="pending")
    verdict = checker.judge(made.history(), "end")
    assert (verdict.checks["reorder"].value, verdict.checks["lost"].labels) == ("true", {"stuck": 1})


def closed_late(state: str) -> Made:
    """A hibernation that never acts: it waits as pending until 8.0 s, and is closed then. A stop acts at 6.0 s."""
    made = run()
    a, _ = pair(made, first=7.0, second=6.0)
    made.drop(Effect, lambda e: e.session == "s-a1-run0" and e.hi == ns(7.0))
    made.drop(Report, lambda e: e.id == f"p-{a}" and e.state == "completed")
    made.row(f"p-{a}", "s-a1-run0", "hibernate", state, 8.0)
    return made


@pytest.mark.parametrize("state", ["failed", "completed"])
def test_one_that_waited_when_the_next_acted_and_was_then_closed_was_overtaken(state):
    found = reorder(closed_late(state))
    assert (found.count, found.labels) == ((1, 1), {})
    assert "was still waiting then, and never acted" in found.witnesses[0].say


def test_one_that_its_agent_had_taken_may_have_been_found_without_effect_before():
    made = closed_late("failed")
    a = made.find(Submit, lambda e: e.op == "hibernate" and e.session == "s-a1-run0")[0].cmd
    made.row(f"p-{a}", "s-a1-run0", "hibernate", "ack", 5.9)
    assert reorder(made).count == (0, 1), "the row is written later than the agent decides"


def test_one_that_was_closed_before_the_next_acted_was_not_overtaken():
    made = closed_late("failed")
    for report in made.find(Report, lambda e: e.about == "command" and e.state == "failed"):
        report.lo, report.hi = ns(5.7), ns(5.72)
    assert reorder(made).count == (0, 0)


def test_what_was_superseded_may_be_dropped_where_the_platform_says_so():
    made = closed_late("completed")
    made.contract.promises = {**PROMISES, "coalesce": True}
    found = reorder(made)
    assert (found.value, found.count, found.exempt) == ("true", (0, 0), 1)


def test_what_was_superseded_must_not_act_afterwards_all_the_same():
    made = run(promises={**PROMISES, "coalesce": True})
    pair(made, first=7.0, second=6.0)
    assert reorder(made).labels == {"stale": 1}


def test_steps_count_from_their_beginning():
    made = run()
    slow = made.step("s-a1-stepper", 6.02, marks="")
    made.find(Answer, lambda e: e.cmd == slow)[0].hi = ns(6.03)
    made.step("s-a1-stepper", 6.05)
    for at, mark in ((6.045, "b"), (6.4, "e")):
        made.add(
            Effect(lo=ns(at), hi=ns(at), ledger="workspaces", object="s-a1-stepper", session="s-a1-stepper",
                   mark=mark, key=slow)
        )  # fmt: skip
    assert reorder(made).count == (0, 0)
    made.find(Effect, lambda e: e.key == slow and e.mark == "b")[0].hi = ns(6.2)
    made.find(Effect, lambda e: e.key == slow and e.mark == "b")[0].lo = ns(6.2)
    found = reorder(made)
    assert (found.count, found.labels, found.witnesses[0].cmd) == ((1, 1), {}, slow)


def test_cycles_of_one_kind_are_told_apart_by_when_they_were_sent():
    made = run()
    for at in (5.5, 6.0, 6.5):
        made.command("hibernate", "s-a1-run0", at)
        made.command("wake", "s-a1-run0", at + 0.2)
    assert value(made) == "true"


def test_a_lost_command_is_not_accused_by_the_effect_of_the_next_of_its_kind():
    made = run()
    made.command("hibernate", "s-a1-run0", 5.5, effect=None)
    made.command("wake", "s-a1-run0", 5.7)
    made.command("hibernate", "s-a1-run0", 6.0)
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["lost"].count == (1, 1)
    assert verdict.checks["reorder"].count[0] == 0


def test_a_gap_may_hide_an_earlier_effect():
    made = run()
    pair(made, first=7.0, second=6.0)
    made.gap("slots", 5.8, 5.9)
    found = reorder(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert found.scope[0].what == "ledger slots"


@pytest.mark.parametrize("of", ["slots", "workspaces/s-a1-stepper"])
def test_a_gap_anywhere_leaves_it_unknown(of):
    made = run()
    made.gap(of, 6.0, 6.2)
    assert reorder(made).value == "unknown"


def test_a_run_in_which_order_could_not_show_is_unknown():
    made = run(n=2, exposure={"stop": 2})
    for submit in made.commands("hibernate", 5.1, 8.0) + made.commands("wake", 5.1, 8.0):
        made.drop_effects(submit.session, "gone")
        made.drop(Effect, lambda e, name=submit.session: e.session == name and e.lo > ns(5.1))
        made.effect(submit.op, submit.session, submit.lo / 1e9 - 1000 + 0.01)
    found = reorder(made)
    assert (found.value, found.evidence) == ("unknown", 0)
    assert "order could not show" in found.scope[0].why


def test_in_the_baseline_pairs_that_were_waited_for_are_enough():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(5.0)]
    found = reorder(made, "baseline")
    assert found.value == "true"
    assert found.evidence > 10


def test_it_is_seen_while_the_run_lives_and_stays():
    made = run()
    pair(made, first=7.0, second=6.0)
    made.events = [event for event in made.events if event.hi < ns(7.5)]
    assert reorder(made, "during").value == "false"


def test_while_the_load_still_sends_an_effect_may_be_that_of_a_command_still_to_be_read():
    made = run()
    made.command("hibernate", "s-a1-run0", 5.5, effect=None)
    made.command("wake", "s-a1-run0", 5.7)
    last = max(event.hi for event in made.find(Answer, lambda e: e.hi < ns(6.5)))
    made.events = [event for event in made.events if event.hi <= last]
    made.effect("hibernate", "s-a1-run0", 6.6)
    assert reorder(made, "during").count == (0, 0)


def test_while_a_run_lives_the_first_half_of_a_stop_is_no_late_hibernation():
    made = run()
    made.command("hibernate", "s-a1-run0", 5.5, effect=None)
    made.command("wake", "s-a1-run0", 5.7)
    made.command("stop", "s-a1-run0", 6.0, effect=None)
    half = made.effect("hibernate", "s-a1-run0", 6.2)[0]
    made.drop(Effect, lambda e: e.ledger == "slots" and e.hi > half.hi)
    made.events = [event for event in made.events if event.hi < ns(7.0)]
    assert reorder(made, "during").count == (0, 0)


def test_one_wholly_before_the_first_fault_is_a_baseline_violation():
    made = run()
    a = made.command("hibernate", "s-a1-run0", 3.0, effect=1.0)
    made.command("wake", "s-a1-run0", 3.1, effect=0.2)
    found = reorder(made)
    assert (found.count, found.baseline, found.witnesses[0].cmd) == ((1, 1), 1, a)


def test_of_a_platform_that_does_not_promise_order_it_is_told_only():
    made = run(require=["lost"], optional=["reorder"], promises={"durable": True})
    pair(made, first=7.0, second=6.0)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["reorder"].value) == ("true", "false")
    assert any("not promised, so only told" in reason for reason in verdict.why)


def test_kinds_without_a_count_are_never_in_order():
    entries = [
        e if e.op != "wake" else Attribution(op="wake", ledger="slots", level="state", mark="up") for e in ATTRIBUTION
    ]
    found = reorder(run(attribution=entries))
    assert found.value == "unknown"
    assert found.scope[-1].what == "wake"


def test_a_history_of_many_steps_in_one_session_is_judged_in_time_that_grows_with_it():
    made = run()
    for number in range(2500):
        made.step("s-a1-stepper", 5.1 + number / 1000)
    history = made.history()
    began = time.process_time()
    assert checker.judge(history, "end").checks["reorder"].value == "true"
    assert time.process_time() - began < 3.0, "all pairs of 2500 steps would be 3 million"


@functools.cache
def base() -> Made:
    return run(n=1, seconds_of_steps=0.3, exposure={"stop": 1})


STEP = st.tuples(*(st.integers(0, 40) for _ in range(4)))  # sent, answered after, acted after, known how roughly


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=1, max_size=12))
def test_steps_are_overtaken_exactly_where_all_pairs_say_so(drawn: list[tuple[int, int, int, int]]):
    made = base().copy()
    spans = []
    for sent, answered, acted, rough in drawn:
        at = 5.5 + sent / 20
        cmd = made.submit("step", "s-a1-stepper", at)
        made.answer(cmd, at + answered / 40 + 0.001)
        lo, hi = at + (acted - rough) / 40, at + acted / 40 + 0.0005
        made.add(Effect(lo=ns(lo), hi=ns(hi), ledger="workspaces", object="s-a1-stepper", session="s-a1-stepper",
                        mark="b", key=cmd))  # fmt: skip
        spans.append((ns(at), ns(at + answered / 40 + 0.001), max(ns(lo), ns(at)), ns(hi)))
    overtaken = [any(a[1] < b[0] and b[3] < a[2] for b in spans) for a in spans]
    doubtful = [any(a[1] < b[0] and b[2] < a[3] for b in spans) for a in spans]
    assert reorder(made).count == (sum(overtaken), sum(doubtful))
