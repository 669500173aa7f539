"""No pass by blindness of who acted, in which order, in which process, and what stayed: each source spoiled for each check."""

import pytest
from histories import Made, complete, ns
from test_blindness_of_statements import absent, begins_late, killed, resumes, stops

from chaosreprise import checker
from chaosreprise.history import Effect, Fault, Phase, Report

PROMISES = {"durable": True, "at_most_once": True, "order": True}
LEDGERS = ("slots", "workspaces")
NEEDED = {
    "phantom": LEDGERS,
    "reorder": LEDGERS,
    "split-brain": LEDGERS,
    "residue": ("slots",),
    "misassigned": ("rows",),
}
SPOILED = [(check, of) for check, sources in NEEDED.items() for of in sources]


def run(check: str) -> Made:
    exposure = {"stop": 1, "hibernate": 1, "wake": 1}
    return complete(n=1, seconds_of_steps=4.0, exposure=exposure, require=[check], promises=PROMISES)


def judged(made: Made) -> checker.Verdict:
    return checker.judge(made.history(), "end")


@pytest.mark.parametrize("check", NEEDED)
def test_the_run_that_is_spoiled_below_passes(check):
    verdict = judged(run(check))
    assert verdict.value == "true", verdict.why
    assert verdict.checks[check].evidence > 0


@pytest.mark.parametrize(("check", "of"), SPOILED)
@pytest.mark.parametrize("spoil", [absent, stops, begins_late, resumes])
def test_a_source_that_is_not_there_throughout_leaves_it_unknown(check, of, spoil):
    made = run(check)
    spoil(made, of)
    verdict = judged(made)
    assert (verdict.value, verdict.checks[check].value) == ("unknown", "unknown"), verdict.why
    assert of in " ".join(verdict.why)
    assert all(doubt.why and doubt.do for doubt in verdict.checks[check].scope)


@pytest.mark.parametrize("spoil", [absent, stops])
def test_rows_that_say_nothing_of_the_end_leave_residue_unknown(spoil):
    made = run("residue")
    spoil(made, "rows")
    assert judged(made).value == "unknown"


@pytest.mark.parametrize("check", NEEDED)
@pytest.mark.parametrize("of", ["load", "recorder"])
def test_a_process_that_was_killed_leaves_it_unknown(check, of):
    made = run(check)
    killed(made, of)
    assert judged(made).value == "unknown"


@pytest.mark.parametrize("check", NEEDED)
@pytest.mark.parametrize("until", [4.0, 7.0, 12.0, 15.0, 18.0])
def test_a_run_that_broke_off_is_unknown_and_accuses_nobody(check, until):
    made = run(check)
    made.events = [event for event in made.events if event.hi <= ns(until)]
    verdict = judged(made)
    assert (verdict.value, verdict.checks[check].count[0]) == ("unknown", 0)


@pytest.mark.parametrize("check", NEEDED)
def test_a_drain_cut_short_leaves_it_unknown(check):
    made = run(check)
    for phase in made.find(Phase, lambda e: e.name == "close" and e.edge == "end"):
        phase.lo = phase.hi = ns(16.5)
    assert judged(made).value == "unknown"


def test_a_fault_that_was_not_proven_takes_nobody_away():
    made = run("misassigned")
    made.drop(Fault, lambda e: e.state == "proven")
    found = judged(made).checks["misassigned"]
    assert (found.value, found.evidence) == ("unknown", 0)


@pytest.mark.parametrize("check", ["phantom", "reorder", "split-brain"])
def test_without_any_effect_there_is_no_evidence(check):
    made = run(check)
    made.drop(Effect)
    found = judged(made).checks[check]
    assert (found.value, found.evidence) == ("unknown", 0)


@pytest.mark.parametrize("check", NEEDED)
def test_without_any_report_there_is_no_pass(check):
    made = run(check)
    made.drop(Report)
    assert judged(made).value == "unknown"
