"""contradicted: what is answered of a session at rest is what its row says."""

from typing import Any

from histories import Made, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Report


def contradicted(made: Made, stage: Any = "end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["contradicted"]


def world() -> Made:
    return thorough("contradicted", seconds_of_steps=0.2)


def read_as(made: Made, state: str, before: str = "hibernated") -> None:
    made.find(Answer, lambda e: e.result == before)[0].result = state


def test_answers_that_say_what_rows_say_are_evidence():
    found = contradicted(world())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence >= 3


def test_an_old_answer_is_false_and_before_anything_was_broken_the_baseline():
    made = world()
    read_as(made, "running")
    found = contradicted(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 1)
    assert "answered running, and its row had said hibernated" in found.witnesses[0].say


def test_a_read_while_the_session_changes_is_not_judged():
    made = world()
    made.read("s-a3-hib0", 0.515, result="running")  # its row says so a moment later
    assert contradicted(made).value == "true"


def test_rows_that_lag_behind_accuse_nobody():
    """They still say what was there before the last command: the answer is ahead of them."""
    made = world()
    for report in made.find(Report, lambda e: e.about == "session" and e.id == "s-a3-hib0" and e.state != "running"):
        if report.hi < made.find(Answer, lambda e: e.result == "hibernated")[0].hi:
            report.lo, report.hi = report.lo + 4 * 10**9, report.hi + 4 * 10**9
    assert contradicted(made).count == (0, 0)


def test_a_gap_in_the_rows_accuses_nobody():
    made = world()
    read_as(made, "running")
    made.gap("rows", 2.8, 2.95)
    assert contradicted(made).count == (0, 0)


def test_who_only_reads_what_runs_has_shown_nothing():
    made = world()
    made.drop(Answer, lambda e: e.result == "hibernated")
    found = contradicted(made)
    assert found.value == "unknown"
    assert "read in 1 states" in found.scope[0].why


def test_a_state_that_nobody_stated_is_a_doubt_and_no_violation():
    made = world()
    read_as(made, "Hibernated")
    found = contradicted(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "call a session 'Hibernated'" in found.scope[0].why
