"""The block on the terminal: what it lets the reader know without asking."""

import pathlib
import re

import pytest
from histories import Made, complete

from chaosreprise import checker, recovery, report
from chaosreprise.history import Coverage, Effect, Fault, Report
from chaosreprise.history.statements import Objective


def shown(made: Made, where: str | None = "runs/latest", **options) -> str:
    history = made.history()
    return report.console(recovery.add(checker.judge(history, "end"), history), where, **options)


def failed() -> Made:
    made = complete()
    made.effect("wake", "s-a2-hib0", 8.9)
    return made


def unknown() -> Made:
    made = complete()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    return made


def test_a_pass_says_on_what_evidence_and_with_what_power():
    text = shown(complete())
    assert "  PASS  agent-failover" in text
    assert "177 sent   177 accepted   0 refused   0 undecided" in text
    assert "stop 10 (excludes loss above 26 %), hibernate 5 (45 %), wake 5 (45 %), at 95 %" in re.sub(r"\s+", " ", text)
    assert "lost 0   duplicate 0   within 4.4 s after heal" in text
    assert "a2: noticed 0.05 s · next start elsewhere 0.63 s after it broke · first success 0.30 s ·" in text
    assert "; hibernate, stop acting twice" in re.sub(r"\s+", " ", text), "after the checks that it does not ask for"
    assert "runs/latest/report.html" in text
    assert "isolation 0" not in text, "a check that was not asked for has no line"


def test_the_recovery_says_how_exact_it_is_and_what_an_objective_allows():
    made = complete(seconds_of_steps=7.9, objectives=[Objective(name="soon", recovery="normal_s", max=30)])
    text = " ".join(shown(made).split())
    assert (
        "drained 0.67 s · normal latency 0.00 s (it never left normal, objective 30 s) after its undo began (±10 ms)"
        in text
    )
    made.gap("rows", 4.9, 9.0)
    made.find(Report, lambda e: e.about == "agent" and e.state == "offline")[0].hi += 4 * 10**9
    assert "noticed 2.05 s · next start elsewhere 0.63 s after it broke" in " ".join(shown(made).split())
    assert "(±2.1 s)" in shown(made)


def test_a_fail_says_what_where_when_and_how_to_see_it_again():
    text = shown(failed())
    lines = text.splitlines()
    assert "  FAIL  agent-failover" in text
    assert "  duplicate 1   a command took effect twice" in lines
    assert re.search(
        r"cmd-\d+ wake of session s-a2-hib0: took effect at 8\.350 s \(a2, pid \d+\) and at 8\.900 s \(a2, pid \d+\)",
        text,
    )
    assert "8.350 effect 8.350..8.370 reported as completed 8.900 effect again (not legal)" in " ".join(text.split())
    assert "      the platform's own row says: completed" in lines
    assert "REPRISE_SEED=7" in text


def test_an_unknown_says_which_evidence_is_missing_and_what_to_do():
    lines = shown(unknown()).splitlines()
    assert "  UNKNOWN  agent-failover" in lines[1]
    assert lines[2] == "  load: the load has no orderly end: it died or was killed"
    assert lines[3] == "    -> see logs/load.log for what ended it, and run the experiment again"
    assert any("as far as anything was seen" in line for line in lines)


def test_what_is_unknown_beside_a_violation_is_said_too():
    made = failed()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    made.find(Coverage, lambda e: e.of == "recorder")[0].why = "x"
    text = shown(made)
    assert "FAIL" in text or "UNKNOWN" in text


def test_a_baseline_violation_is_called_one():
    made = complete()
    made.effect("wake", "s-a1-cycle", 2.3)
    assert "all in the baseline, before anything was broken" in shown(made)


def test_labels_and_the_rest_of_many_witnesses_are_counted():
    made = complete()
    for name in [f"s-a2-hib{i}" for i in range(5)]:
        made.drop(Effect, lambda e, name=name: e.session == name and e.mark == "up" and e.lo > 1005 * 10**9)
    text = shown(made)
    assert "lost 5   accepted commands never took effect: silent 5" in text
    assert "and 2 more, in verdict.json and report.html" in text
    assert "drained: no, 5 of 20 exposed commands never took effect" in " ".join(text.split())


def test_what_is_only_told_is_told_in_a_pass():
    made = complete(promises={"at_most_once": True}, require=["duplicate"], optional=["lost"])
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > 1005 * 10**9)
    text = shown(made)
    assert "PASS" in text
    assert "lost 1" in text


@pytest.mark.parametrize("make", [complete, failed, unknown, Made])
def test_no_line_is_wider_than_110_and_colours_come_only_on_request(make):
    text = shown(make(), "/a/long/place/" + "x" * 70)
    assert max(map(len, text.splitlines())) <= 110
    assert "\033" not in text
    assert "\033[" in shown(make(), colour=True)


def test_what_the_platform_says_neither_breaks_the_lines_nor_reaches_the_terminal_raw():
    made = failed()
    for row in made.find(Report, lambda e: e.about == "command"):
        row.fields = {**row.fields, "error": "\033[2J" + "no\nlonger " * 60}
        row.state = "failed"
    text = shown(made)
    assert "\033" not in text
    assert max(map(len, text.splitlines())) <= 110


def test_a_place_is_not_needed():
    assert "report.html" not in shown(complete(), None)


def test_a_path_is_taken_as_well():
    text = report.console(checker.judge(complete().history(), "end"), pathlib.Path("runs/x"))
    assert "runs/x/report.html" in text


def test_a_fault_that_was_not_proven_is_shown_as_such():
    made = complete()
    made.drop(Fault, lambda e: e.state == "proven")
    text = shown(made)
    assert "did not bite" in text
    assert "agents/a2 (agents.take_away): not proven, clean" in text


def test_without_a_history_to_speak_of_it_still_says_what_is_missing():
    made = Made()
    made.contract = None
    assert "the history has no contract" in shown(made)
