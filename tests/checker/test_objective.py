"""objective: each kind of figure by a history that misses its limit, and by one that nearly does but keeps it."""

import math

import pytest
from histories import UNDONE, Made, complete, ns

from chaosreprise import checker, recovery
from chaosreprise.checker import figures
from chaosreprise.history import Answer, Coverage, Effect, Fault, Observe, Phase, Report, Stream
from chaosreprise.history.statements import Objective

FAST = Objective(name="fast steps", latency="answer", op="step", quantile=0.9, max=0.05)


def objective(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["objective"]


def run(*objectives: Objective, **changes) -> Made:
    stated = {"exposure": {"stop": 1, "hibernate": 1, "wake": 1}, "require": ["objective"], **changes}
    return complete(n=1, seconds_of_steps=1.0, objectives=list(objectives), **stated)


def slow(made: Made, count: int, seconds: float) -> None:
    for submit in made.commands("step")[:count]:
        made.find(Answer, lambda e, cmd=submit.cmd: e.cmd == cmd)[0].hi = submit.lo + int(seconds * 1e9)


def test_a_quantile_of_latencies_that_keeps_its_limit_is_evidence():
    made = run(FAST)
    slow(made, 1, 3.0)
    found = objective(made)
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 10, [])


def test_a_quantile_of_latencies_beyond_its_limit_is_missed_and_names_the_slowest():
    made = run(FAST)
    slow(made, 2, 3.0)
    found = objective(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].say == (
        "fast steps: quantile 0.9 of step to its answer (of 10) is 3, and must be at most 0.05 s"
    )
    assert [moment.what[-7:] for moment in found.witnesses[0].moments] == ["3.000 s", "3.000 s"]


@pytest.mark.parametrize(("late", "value"), [(0, "unknown"), (1, "unknown"), (2, "false")])
def test_a_quantile_that_nothing_lies_beyond_is_unknown_unless_the_rest_would_not_matter(late: int, value: str):
    made = run(Objective(name="most steps", latency="answer", op="step", quantile=0.95, max=0.05))
    slow(made, late, 3.0)
    found = objective(made)
    assert (found.value, found.count) == (value, (0, 1) if value == "unknown" else (1, 1))
    if value == "unknown":
        assert found.scope[0].why == (
            "quantile 0.95 of step to its answer is of 10, and only of 20 does one lie beyond it"
        )


@pytest.mark.parametrize(("quantile", "need"), [(0.5, 2), (0.9, 10), (0.95, 20), (0.99, 100), (1.0, 1), (None, 1)])
def test_so_many_are_needed_that_one_lies_beyond_a_quantile(quantile: float | None, need: int):
    assert figures.needed(quantile) == need
    assert quantile in (None, 1.0) or math.ceil(quantile * need) < need <= math.ceil(quantile * (need - 1)) + 1


BACK = Objective(name="a stream is back", latency="stream", op="wake", max=5.0)
WOKEN = "s-a2-hib0"


def woken(state: str | None = "open", after: float = 1.0, outcome: str = "ok") -> checker.Finding:
    """A session whose stream was asked for when it had woken, so long after it was reported to run; None: that was not done."""
    made = run(BACK)
    wake = next(one for one in made.commands("wake") if one.session == WOKEN)
    made.find(Answer, lambda e: e.cmd == wake.cmd)[0].outcome = outcome
    ran = next(one for one in made.find(Report, lambda e: e.id == WOKEN and e.state == "running") if one.hi > wake.lo)
    at = ran.hi + int(after * 1e9)
    if state is not None:
        made.add(Stream(lo=at, hi=at, stream="stream-again", state=state, session=WOKEN, cmd=wake.cmd))
    if state == "open":
        made.add(Stream(lo=at, hi=at, stream="stream-again", state="closed", session=WOKEN))
    return objective(made)


@pytest.mark.parametrize(
    ("scene", "value"),
    [
        ({}, "true"),
        ({"after": 5.01}, "false"),
        ({"after": 4.99}, "unknown"),  # it ran at some moment between two looks
        ({"state": "refused", "after": 10.0}, "false"),
        ({"state": "refused", "after": 3.0}, "unknown"),
        ({"state": None}, "unknown"),
        ({"outcome": "info", "after": 9.0}, "unknown"),
    ],
)
def test_how_soon_a_stream_is_back_counts_from_when_its_session_ran(scene: dict, value: str):
    assert woken(**scene).value == value


def test_a_stream_that_never_came_back_is_named_with_its_wake():
    assert "stream-again" in woken("refused", 10.0).witnesses[0].moments[0].what
    assert woken(None).scope[0].why == "there is no wake with a stream that counts in this run"


def test_time_in_which_the_load_stood_still_is_not_held_against_a_stream():
    made = run(BACK)
    wake = next(one for one in made.commands("wake") if one.session == WOKEN)
    ran = next(one for one in made.find(Report, lambda e: e.id == WOKEN and e.state == "running") if one.hi > wake.lo)
    at = ran.hi + 6 * 10**9
    made.add(Stream(lo=at, hi=at, stream="stream-again", state="open", session=WOKEN, cmd=wake.cmd))
    made.add(Stream(lo=at, hi=at, stream="stream-again", state="closed", session=WOKEN))
    made.add(Observe(lo=ran.hi, hi=at - 10**9, source="load", signal="stalled", value=5.0))
    assert objective(made).value == "unknown"


RATE = Objective(name="enough steps", rate="step", phase="baseline", min=9.0)


def rated(made: Made, unanswered: int = 0, held_up: int = 0, sent: int = 10) -> checker.Finding:
    """A baseline of a second with so many steps."""
    steps = made.commands("step")
    begin = steps[0].lo
    for phase in made.find(Phase, lambda e: e.name == "baseline"):
        phase.lo = phase.hi = begin - 1 if phase.edge == "begin" else begin + 10**9
    for number, submit in enumerate(steps):
        submit.lo = submit.hi = begin + (number * 10**8 if number < sent else 2 * 10**9)
        answer = made.find(Answer, lambda e, cmd=submit.cmd: e.cmd == cmd)[0]
        answer.lo = answer.hi = submit.hi + (10**7 if number >= unanswered else 5 * 10**9)
    at = begin + 5 * 10**8
    made.events += [Observe(lo=at, hi=at, source="load", signal="held_up", value="step")] * held_up
    return objective(made)


@pytest.mark.parametrize(
    ("scene", "value"),
    [
        ({}, "true"),
        ({"unanswered": 2}, "false"),
        ({"sent": 5}, "unknown"),
        ({"sent": 5, "held_up": 5}, "false"),
    ],
    ids=["enough", "answered too late", "too few asked for", "not sent since too many were unanswered"],
)
def test_a_rate_is_missed_only_where_as_many_were_asked_for(scene: dict[str, int], value: str):
    assert rated(run(RATE), **scene).value == value


def test_without_a_quantile_each_one_must_keep_the_limit():
    made = run(Objective(name="all steps", latency="answer", op="step", max=0.05))
    assert objective(made).count == (0, 0)
    slow(made, 1, 0.06)
    assert objective(made).count == (1, 1)


def test_only_what_was_submitted_in_the_phase_counts():
    baseline = Objective(name="fast at first", latency="answer", op="step", max=0.05, phase="baseline")
    made = run(baseline)
    slow(made, 1, 3.0)
    found = objective(made)
    assert (found.count, found.baseline) == ((1, 1), 1)
    quiet = Objective(name="fast again", latency="answer", op="step", max=0.05, phase="quiet")
    made = run(quiet)
    slow(made, 1, 3.0)
    found = objective(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert found.scope[0].why == "there is no step that counts in the phase 'quiet'"


def test_a_phase_that_did_not_take_place_is_unknown():
    made = run(Objective(name="never", latency="answer", op="step", max=1, phase="method"))
    made.events = [event for event in made.events if getattr(event, "name", "") != "method"]
    assert objective(made).scope[0].why == "the phase 'method' did not take place"


def test_refused_commands_count_as_nothing():
    made = run(FAST)
    for number in range(20):
        made.step("s-a1-stepper", 3.0 + number / 10, outcome="fail", marks="")
    slow(made, 2, 3.0)
    assert objective(made).count == (1, 1)


def test_a_call_without_a_clear_answer_is_slower_than_any_other():
    made = run(FAST)
    for number in range(2):
        made.answer(made.submit("step", "s-a1-stepper", 3.0 + number), 3.01 + number, "info")
    found = objective(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    for number in range(2):
        made.answer(made.submit("step", "s-a1-stepper", 3.2 + number), 6.0 + number, "info")
    assert objective(made).count == (1, 1)


def test_a_call_without_any_answer_has_waited_until_the_load_ended():
    made = run(Objective(name="all steps", latency="answer", op="step", max=5))
    made.submit("step", "s-a1-stepper", 3.0)
    assert objective(made).count == (1, 1)


def test_a_latency_to_the_effect_is_judged_by_the_ledger():
    made = run(Objective(name="starts", latency="effect", op="start", max=0.06))
    assert objective(made).count == (0, 0)
    made.command("start", "s-slow", 9.0, effect=0.07)
    assert objective(made).count == (1, 1)


def test_while_the_load_stood_still_it_waited_for_nothing():
    made = run(Objective(name="all steps", latency="answer", op="step", max=1))
    slow(made, 1, 3.0)
    assert objective(made).count == (1, 1)
    first = made.commands("step")[0].cmd
    answer = made.find(Answer, lambda e: e.cmd == first)[0]
    stall = Observe(lo=answer.hi - 1_900_000_000, hi=answer.hi, source="load", signal="stalled", value=1.9)
    made.add(stall)
    assert objective(made).count == (1, 1), "1.1 s are left"
    stall.lo = answer.hi - 2_100_000_000
    found = objective(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_an_effect_that_may_have_come_in_time_is_unknown():
    made = run(Objective(name="starts", latency="effect", op="start", max=0.06))
    made.command("start", "s-slow", 9.0, effect=0.05)
    for effect in made.find(Effect, lambda e: e.session == "s-slow"):
        effect.hi = ns(9.1)
    assert (objective(made).value, objective(made).count) == ("unknown", (0, 1))


def test_an_effect_that_never_came_was_waited_for_until_it_was_settled():
    made = run(Objective(name="starts", latency="effect", op="start", max=1))
    made.command("start", "s-slow", 9.0, effect=None)
    assert objective(made).count == (1, 1)
    made.gap("slots", 10.0, 10.1)
    assert objective(made).count == (0, 1)


def sampled(made: Made, *values, since: float = 9.0, on: bool = True) -> Made:
    if on:
        made.cover("guard", 0.1)
        made.cover("guard", 19.2, on=False)
    for number, value in enumerate(values):
        at = ns(since + number / 100)
        made.add(Observe(lo=at, hi=at, source="guard", signal="errors", value=value))
    return made


ERRORS = Objective(name="few errors", signal="guard.errors", max=0.1)


def test_each_sample_of_a_signal_must_keep_the_limits():
    assert objective(sampled(run(ERRORS), 0.0, 0.1)).value == "true"
    found = objective(sampled(run(ERRORS), 0.0, 0.2))
    assert (found.value, found.count) == ("false", (1, 1))
    assert found.witnesses[0].say == "few errors: guard.errors is 0.2, and must be at most 0.1"
    assert found.witnesses[0].moments[0].what == "guard.errors = 0.2"


def test_a_signal_has_a_minimum_and_a_quantile_too():
    half = Objective(name="half", signal="guard.errors", quantile=0.5, min=0.1)
    assert objective(sampled(run(half), 0.0, 0.2, 0.3)).count == (0, 0)
    assert objective(sampled(run(half), 0.0, 0.0, 0.3)).count == (1, 1)


def test_an_absent_series_is_unknown_and_never_0():
    found = objective(sampled(run(ERRORS)))
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert found.scope[0].why == "there is no sample of guard.errors in this run"


def test_a_source_that_was_not_watched_is_unknown():
    made = sampled(run(ERRORS), 0.0)
    made.gap("guard", 6.0, 6.5, why="it did not answer")
    found = objective(made)
    assert found.value == "unknown"
    assert "it did not answer" in found.scope[0].why
    assert objective(sampled(run(ERRORS), 0.0, on=False)).value == "unknown"


def test_a_value_that_is_no_number_is_unknown():
    found = objective(sampled(run(ERRORS), "many"))
    assert found.value == "unknown"
    assert "no number" in found.scope[0].why


NOTICED = Objective(name="noticed soon", recovery="noticed_s", max=1.0)
DRAINED = Objective(name="drained soon", recovery="drained_s", max=1.0)


def test_a_recovery_is_an_objective_too():
    found = objective(run(NOTICED, DRAINED))
    assert (found.value, found.evidence) == ("true", 2)
    made = run(msg(NOTICED, max=0.01), msg(DRAINED, max=0.1))
    made.contract.offline_ns = 1
    found = objective(made)
    assert found.count == (2, 2)
    assert "agents/a2: noticed after" in found.witnesses[0].moments[0].what


def test_nobody_is_to_be_noticed_before_silence_shows_and_that_is_told():
    made = run(msg(NOTICED, max=0.01))
    assert objective(made).value == "true"
    [told] = recovery.measure(made.history())
    assert told.limits == {"noticed": 1.0}
    assert told.notes["noticed"] == "0.01 s were stated, silence shows here within 1 s"
    assert recovery.measure(run(NOTICED).history())[0].notes == {}


def msg(stated: Objective, **changes) -> Objective:
    return Objective(**{**{name: getattr(stated, name) for name in stated.__struct_fields__}, **changes})


def test_an_agent_that_is_never_noticed_was_not_noticed_in_time():
    made = run(NOTICED)
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    assert objective(made).count == (1, 1)
    made.gap("rows", 6.0, 6.1)
    assert (objective(made).value, objective(made).count) == ("unknown", (0, 0))


@pytest.mark.parametrize("by", ["lease", "keeper"])
def test_an_agent_that_was_back_by_itself_at_nobody_knows_when_may_have_been_noticed_in_time(by):
    made = run(NOTICED)
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.find(Fault, lambda e: e.state == "undone")[0].by = by
    found = objective(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "agents/a2: a2 was never reported as gone" in found.scope[0].why


def test_of_an_agent_that_could_not_be_undone_nobody_knows_how_long_it_was_gone():
    made = run(NOTICED)
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.drop(Fault, lambda e: e.state == "undone")
    made.find(Fault, lambda e: e.state == "clean")[0].state = "leaked"
    assert (objective(made).value, objective(made).count) == ("unknown", (0, 0))


def test_an_agent_that_another_one_undid_was_there_until_then():
    made = run(NOTICED)
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.find(Fault, lambda e: e.state == "undone")[0].by = "guard"
    assert objective(made).count == (1, 1)


def test_what_was_not_seen_of_a_recovery_is_unknown():
    made = run(DRAINED)
    made.drop(Effect, lambda e: e.lo > ns(UNDONE) and e.session.startswith("s-a2-hib"))
    found = objective(made)
    assert found.value == "unknown"
    assert "never took effect" in found.scope[0].why


def test_a_recovery_without_a_fault_is_unknown():
    made = run(NOTICED)
    made.events = [event for event in made.events if not hasattr(event, "component")]
    assert "no proven fault has this figure" in objective(made).scope[0].why


def test_without_a_stated_objective_nothing_is_true():
    assert objective(run()).value == "unknown"


def test_a_source_that_ends_with_the_run_is_not_held_against_it_before():
    lag = Objective(name="punctual", signal="load.lag_ms", max=20)
    made = run(lag)
    assert objective(made).value == "true"
    made.drop(Observe)
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    assert objective(made, "clean").value == "true"


@pytest.mark.parametrize("stage", ["baseline", "during"])
def test_it_is_judged_at_the_end_only(stage):
    assert checker.judge(run(FAST).history(), stage).checks == {}
    assert checker.judge(run(FAST).history(), stage).value == "true"


def test_an_effect_that_a_gap_may_make_a_half_of_another_one_has_no_known_latency():
    made = run(Objective(name="hibernations", latency="effect", op="hibernate", max=4))
    made.command("start", "s-half", 8.3, agent="a1")
    made.command("hibernate", "s-half", 8.5, effect=0.1)
    assert objective(made).value == "true"
    made.gap("slots", 8.59, 8.61)
    found = objective(made)
    assert (found.count, found.value) == ((0, 1), "unknown")
