"""A run that somebody ended before its time is never true, even if nothing else is missing; what is surely wrong stays false."""

import pytest
from histories import PROVEN, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Effect, Observe


def interrupted(made: Made, at: float = PROVEN + 0.1) -> Made:
    made.add(Observe(lo=ns(at), hi=ns(at), source="owner", signal="interrupted", value="SIGTERM"))
    return made


def halted(made: Made, why: str = "") -> Made:
    value = {"by": "guard", "why": why}
    made.add(Observe(lo=ns(PROVEN), hi=ns(PROVEN), source="warden", signal="halt", value=value))
    return made


@pytest.mark.parametrize("stage", ["baseline", "during", "clean", "end"])
def test_a_run_that_was_interrupted_is_unknown_at_each_stage(stage: checker.Stage) -> None:
    verdict = checker.judge(interrupted(complete()).history(), stage)
    assert verdict.value == "unknown"
    assert verdict.why[0] == "run: it was interrupted by SIGTERM, in the phase 'method'"


def test_before_the_baseline_it_was_interrupted_while_it_was_opened() -> None:
    verdict = checker.judge(interrupted(complete(), at=0.0).history(), "end")
    assert verdict.why == ["run: it was interrupted by SIGTERM, while it was opened"]


def test_without_a_contract_yet_it_is_told_as_well() -> None:
    made = interrupted(complete(), at=0.0)
    made.contract = None
    assert checker.judge(made.history(), "end").why == ["run: it was interrupted by SIGTERM, while it was opened"]


def test_a_halt_tells_who_and_why_and_the_signal_that_followed_is_not_told_as_well() -> None:
    verdict = checker.judge(interrupted(halted(complete(), "7 of 10 failed")).history(), "end")
    assert verdict.value == "unknown"
    assert verdict.why == ["run: it was halted by the guard: 7 of 10 failed, in the phase 'method'"]


def test_what_follows_from_the_interruption_is_not_listed_beside_it() -> None:
    made = interrupted(complete())
    made.events = [event for event in made.events if getattr(event, "name", "") not in ("drain", "clean", "close")]
    assert [doubt.what for doubt in checker.judge(made.history(), "end").doubts] == ["run"]


def test_a_violation_that_is_certain_stays_one() -> None:
    made = interrupted(complete())
    effect = next(event for event in made.events if isinstance(event, Effect) and event.mark == "b")
    made.events += [effect]
    assert checker.judge(made.history(), "end").value == "false"
