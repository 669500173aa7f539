"""No pass by blindness of what a contract states: each source absent, late, ending early or with a gap, and each process killed."""

import pytest
from histories import Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Coverage, Effect, Fault, Observe, Phase, Report
from chaosreprise.history.statements import Allowed, Objective, Situation
from chaosreprise.platform.streamspace_states import STATES

CHECKS = ["late", "lifecycle", "objective", "refusal"]
OBJECTIVES = [
    Objective(name="steps", latency="answer", op="step", quantile=0.99, max=1),
    Objective(name="wakes", latency="effect", op="wake", max=5),
    Objective(name="noticed", recovery="noticed_s", max=1),
    Objective(name="drained", recovery="drained_s", max=5),
    Objective(name="punctual", signal="load.lag_ms", max=20),
]
SITUATION = Situation(
    name="absent agent", when="agent-broken", ops=["stop"], allow=[Allowed(status=0)], within_s=1
)  # the answers of these histories have no status


def run(check: str) -> Made:
    exposure = {"stop": 1, "hibernate": 1, "wake": 1}
    return complete(
        n=1,
        seconds_of_steps=0.5,
        exposure=exposure,
        require=[check],
        states=STATES,
        objectives=OBJECTIVES,
        situations=[SITUATION],
    )


def absent(made: Made, of: str) -> None:
    made.events = [e for e in made.events if not belongs(e, of)]
    made.events = [e for e in made.events if not (isinstance(e, Coverage) and e.of == of)]


def stops(made: Made, of: str) -> None:
    made.events = [e for e in made.events if not (belongs(e, of) and e.hi > ns(6.0))]
    made.drop(Coverage, lambda e: e.of == of and not e.on)
    made.cover(of, 6.0, on=False, why="it was truncated")


def begins_late(made: Made, of: str) -> None:
    made.events = [e for e in made.events if not (belongs(e, of) and e.hi < ns(7.0))]
    made.drop(Coverage, lambda e: e.of == of and e.on)
    made.cover(of, 7.0)


def resumes(made: Made, of: str) -> None:
    made.events = [e for e in made.events if not (belongs(e, of) and ns(5.5) < e.hi < ns(8.7))]
    made.gap(of, 5.5, 8.7)


def killed(made: Made, of: str) -> None:
    made.drop(Coverage, lambda e: e.of == of and not e.on)


def belongs(event, of: str) -> bool:
    if isinstance(event, Effect):
        return event.ledger == of
    if isinstance(event, Observe):
        return event.source == of
    return isinstance(event, Report) and event.source == of


@pytest.mark.parametrize("check", CHECKS)
def test_the_run_that_is_spoiled_below_passes(check):
    verdict = checker.judge(run(check).history(), "end")
    assert verdict.value == "true", verdict.why


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("of", ["rows", "slots"])
@pytest.mark.parametrize("spoil", [absent, stops, begins_late, resumes])
def test_a_source_that_is_not_there_throughout_never_passes_where_it_is_needed(check, of, spoil):
    made = run(check)
    spoil(made, of)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks[check]
    assert found.value != "false", found.witnesses
    if verdict.value == "true":  # then every figure and every effect that was judged was seen all the same
        assert (check, of) in [("refusal", "slots"), ("lifecycle", "slots")]
        return
    assert all(doubt.why and doubt.do for doubt in [*verdict.doubts, *found.scope])
    assert verdict.why


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("of", ["load", "recorder"])
@pytest.mark.parametrize("spoil", [absent, killed])
def test_a_process_of_the_run_that_died_never_passes(check, of, spoil):
    made = run(check)
    spoil(made, of)
    assert checker.judge(made.history(), "end").value == "unknown"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("state", ["proven", "undone"])
def test_a_fault_that_is_not_proven_or_not_undone_never_passes(check, state):
    made = run(check)
    made.drop(Fault, lambda e: e.state == state)
    assert checker.judge(made.history(), "end").value == "unknown"


@pytest.mark.parametrize("check", CHECKS)
def test_a_drain_that_was_cut_short_never_passes(check):
    made = run(check)
    made.find(Phase, lambda e: e.name == "drain" and e.edge == "end")[0].lo = ns(9.6)
    assert checker.judge(made.history(), "end").value == "unknown"


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_crashes_is_unknown(check):
    made = run(check)
    made.contract.bounds = made.contract.states = made.contract.objectives = made.contract.situations = 1
    found = checker.judge(made.history(), "end").checks[check]
    assert found.value == "unknown"
    assert "crashed" in found.scope[0].why
