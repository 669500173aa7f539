"""Back to normal latency: what counts as normal, when it was surely reached, and what is said where nobody knows."""

import pytest
from histories import DRAIN, UNDOING, VICTIM, Made, complete, ns

from chaosreprise import checker, recovery
from chaosreprise.history import Answer, Coverage, Fault, Submit
from chaosreprise.history.statements import Objective

SOON = Objective(name="soon normal", recovery="normal_s", max=1.0)


def run(**changes) -> Made:
    """Steps and reads until the load is turned off, 1.5 s after the undo began; each is answered within 10 ms."""
    return complete(seconds_of_steps=7.9, **changes)


def sent(made: Made, since: float, until: float, *kinds: str) -> list[Submit]:
    kinds = kinds or ("step", "read")
    return made.find(Submit, lambda e: e.op in kinds and ns(since) <= e.lo < ns(until))


def slow(made: Made, since: float, until: float, *kinds: str, by: float = 0.2) -> None:
    """What was sent then is answered so much later."""
    late = {submit.cmd for submit in sent(made, since, until, *kinds)}
    for answer in made.find(Answer, lambda e: e.cmd in late):
        answer.lo, answer.hi = answer.lo + round(by * 1e9), answer.hi + round(by * 1e9)


def measured(made: Made):
    return recovery.measure(made.history())[0]


def since_undo(made: Made, at: float) -> tuple[float, float]:
    """From the last sent before this moment, to the answer of the first sent after it."""
    before, after = sent(made, 0, at)[-1], sent(made, at, 99)[0]
    answer = made.find(Answer, lambda e: e.cmd == after.cmd)[0]
    return (before.lo - ns(UNDOING)) / 1e9, (answer.hi - ns(UNDOING)) / 1e9


def objective(made: Made):
    return checker.judge(made.history(), "end").checks["objective"]


def test_it_lies_between_the_last_slow_command_and_the_first_quick_answer():
    made = run()
    slow(made, 5.1, 8.32)
    found = measured(made)
    assert found.normal == pytest.approx(since_undo(made, 8.32))
    assert found.normal[1] - found.normal[0] < 0.1
    assert found.since["normal"] == "undoing"
    assert found.source["normal"].endswith("at most 15.0 ms for a read and 15.0 ms for a step")
    assert found.notes == {}


def test_latency_that_never_left_normal_took_no_time_and_that_is_said():
    found = measured(run())
    assert found.normal == (0, 0)
    assert found.notes["normal"] == "it never left normal"


def test_a_load_that_was_mute_when_it_mattered_has_seen_nothing_of_a_slump():
    made = run()
    for submit in sent(made, 7.3, 8.4):
        made.events.remove(submit)
        made.drop(Answer, lambda e, cmd=submit.cmd: e.cmd == cmd)
    found = measured(made)
    assert found.normal == pytest.approx((0, 0.41))
    assert found.notes == {}


def test_latency_that_was_normal_again_before_the_undo_took_no_time():
    made = run()
    slow(made, 5.1, 6.0)
    found = measured(made)
    assert found.normal == (0, 0)
    assert found.notes["normal"] == "it was normal again before"


def test_a_straggler_does_not_delay_it_and_a_lucky_answer_does_not_make_it():
    made = run()
    slow(made, 5.1, 8.12)
    slow(made, 8.2, 8.32)
    assert len(sent(made, 8.2, 8.32)) == 3
    assert measured(made).normal == pytest.approx(since_undo(made, 8.32)), "of 20 three are slow"
    made = run()
    slow(made, 5.1, 8.12)
    slow(made, 8.2, 8.27)
    assert len(sent(made, 8.2, 8.27)) == 2
    assert measured(made).normal == pytest.approx(since_undo(made, 8.12)), "of 20 two are slow"


@pytest.mark.parametrize("outcome", ["info", "fail", None])
def test_what_was_not_answered_or_refused_is_not_normal_however_fast(outcome):
    made = run()
    hit = {submit.cmd for submit in sent(made, 5.1, 8.32)}
    for answer in made.find(Answer, lambda e: e.cmd in hit):
        answer.outcome = outcome
    if outcome is None:
        made.drop(Answer, lambda e: e.cmd in hit)
    assert measured(made).normal == pytest.approx(since_undo(made, 8.32))


def test_what_is_slow_in_the_baseline_is_normal_after_it():
    made = run()
    slow(made, 1.0, 99)
    assert measured(made).notes["normal"] == "it never left normal"


def test_five_milliseconds_are_what_a_busy_machine_adds():
    made = run()
    slow(made, 5.1, 99, by=0.004)
    assert measured(made).notes["normal"] == "it never left normal"
    slow(made, 5.1, 99, by=0.002)
    assert measured(made).normal is None


def test_without_enough_in_the_baseline_nobody_knows_what_normal_is():
    made = run()
    for submit in sent(made, 1.0, 4.0):
        made.events.remove(submit)
        made.drop(Answer, lambda e, cmd=submit.cmd: e.cmd == cmd)
    found = measured(made)
    assert found.normal is None
    assert found.why_not["normal"] == "of 20 steps and reads in the baseline, no kind has 20 that show what is normal"


def test_a_baseline_that_is_not_answered_is_no_normal():
    made = run()
    slow(made, 5.1, 8.32)
    hit = {submit.cmd for submit in sent(made, 1.0, 5.0)[::3]}
    made.drop(Answer, lambda e: e.cmd in hit)
    assert "no kind has 20 that show what is normal" in measured(made).why_not["normal"]


def test_a_kind_that_crosses_the_broken_component_is_looked_at_alone():
    made = run()
    for submit in made.find(Submit, lambda e: e.op == "step"):
        submit.path.append(f"agents/{VICTIM}")
    slow(made, 5.1, 99, "read")
    assert measured(made).why_not["normal"].startswith("14 steps and reads were sent after its undo began: 20")
    slow(made, 5.1, 7.4, "step")
    for event in made.find(Fault, lambda e: e.state in ("undoing", "undone", "clean")):
        event.lo, event.hi = event.lo - 10**9, event.hi - 10**9
    found = measured(made)
    assert found.normal == pytest.approx((0.3, 0.41)), "since its undo, which began at 7.0 s"
    assert found.source["normal"].startswith("load, steps and reads that cross agents/a2, at most")


def test_what_never_came_back_is_no_figure_but_certainly_longer():
    made = run(optional=["objective"], objectives=[SOON])
    for event in made.find(Fault, lambda e: e.state in ("undoing", "undone", "clean")):
        event.lo, event.hi = event.lo - 2 * 10**9, event.hi - 2 * 10**9
    slow(made, 5.1, 99)
    found = measured(made)
    assert found.normal is None
    assert found.why_not["normal"] == "it was not while the load was on, for 68 steps and reads after its undo began"
    assert found.at_least["normal"] == pytest.approx(DRAIN - 6.0 - 1.1)
    judged = objective(made)
    assert judged.count == (1, 1)
    assert "normal not within 2.400 s of its undo" in judged.witnesses[0].moments[0].what


def test_a_load_that_died_holds_nothing_against_the_platform():
    made = run(optional=["objective"], objectives=[SOON])
    slow(made, 5.1, 99)
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    assert measured(made).at_least == {}
    assert (objective(made).value, objective(made).count) == ("unknown", (0, 0))


def test_another_fault_that_overlaps_holds_nothing_against_the_platform():
    made = run(optional=["objective"], objectives=[SOON])
    slow(made, 5.1, 99)
    made.fault("agents/a1", {"armed": 8.2, "injected": 8.21, "proven": 8.22}, fault="f2")
    assert recovery.measure(made.history())[0].at_least == {}
    assert recovery.measure(made.history())[1].why_not["normal"] == "the fault was not undone"


def test_it_is_an_objective_and_decides_nothing_without_one():
    made = run(optional=["objective"], objectives=[SOON])
    slow(made, 5.1, 8.32)
    assert objective(made).value == "true"
    made.contract.objectives = [Objective(name="at once", recovery="normal_s", max=0.1)]
    assert objective(made).count == (1, 1)
    made.contract.objectives = []
    assert checker.judge(made.history(), "end").value == "true"


def test_where_no_phases_are_the_baseline_is_what_was_sent_before_the_fault():
    made = run()
    made.events = [event for event in made.events if not hasattr(event, "edge")]
    slow(made, 5.1, 8.32)
    assert measured(made).normal == pytest.approx(since_undo(made, 8.32))


def test_lists_are_not_looked_at():
    made = run()
    for number in range(40):
        made.read(None, 1.5 + number * 0.05, took=0.3, listed=[])
        made.read(None, UNDOING + 0.2 + number * 0.02, took=1.0, listed=[])
    assert measured(made).normal == measured(run()).normal
