"""unrecorded: what was accepted has its row by the time when everything has settled."""

from typing import Any

from histories import UNDONE, Made, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Report


def unrecorded(made: Made, stage: Any = "end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["unrecorded"]


def world() -> Made:
    return thorough("unrecorded", seconds_of_steps=0.2)


def forget(made: Made, op: str, since: float) -> str:
    cmd = made.commands(op, since)[0].cmd
    made.drop(Report, lambda e: e.about == "command" and e.id == f"p-{cmd}")
    return cmd


def test_what_has_its_row_is_evidence():
    found = unrecorded(world())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence > 30
    assert [one.what for one in found.untested] == ["step without a row"], "of which this platform keeps none"


def test_not_one_row_of_a_kind_that_is_surely_kept_is_false():
    made = world()
    made.contract.records = ["step"]
    found = unrecorded(made)
    assert (found.value, found.untested) == ("false", [])
    assert found.count[0] == len([cmd for cmd in made.commands("step") if cmd])
    made.drop(Report, lambda e: e.about == "command")
    assert unrecorded(made).value == "unknown", "then nothing says that these are its rows"


def test_an_accepted_command_without_a_row_is_false():
    made = world()
    cmd = forget(made, "wake", UNDONE)
    found = unrecorded(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].cmd == cmd


def test_before_anything_was_broken_it_is_the_baseline():
    made = world()
    forget(made, "hibernate", 1.5)
    assert unrecorded(made).baseline == 1


def test_a_session_that_was_given_out_and_stands_nowhere_is_false():
    made = world()
    starts = [cmd for cmd in made.commands("start") if cmd.user is None]  # which were accepted
    for cmd in starts:
        made.find(Answer, lambda e, cmd=cmd.cmd: e.cmd == cmd)[0].id = None
    last = made.find(Answer, lambda e: e.cmd == starts[-1].cmd)[0]
    last.session = "s-nowhere"
    found = unrecorded(made)
    assert (found.value, found.count) == ("false", (1, 1))
    assert "accepted at" in found.witnesses[0].say


def test_rows_that_were_not_read_meanwhile_decide_nothing():
    made = world()
    forget(made, "wake", UNDONE)
    made.gap("rows", 16.5, 16.6)
    found = unrecorded(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_what_was_not_accepted_needs_no_row():
    made = world()
    cmd = forget(made, "wake", UNDONE)
    answer = made.find(Answer, lambda e: e.cmd == cmd)[0]
    answer.outcome = "info"
    assert unrecorded(made).count == (0, 0)


def test_a_row_of_its_id_that_names_another_session_is_not_its_own():
    made = world()
    cmd = made.commands("stop", UNDONE)[0]
    for report in made.find(Report, lambda e: e.about == "command" and e.id == f"p-{cmd.cmd}"):
        report.fields = report.fields | {"session": "s-another"}
    assert (unrecorded(made).value, unrecorded(made).count) == ("false", (1, 1))
    for report in made.find(Report, lambda e: e.about == "command" and e.id == f"p-{cmd.cmd}"):
        report.fields = report.fields | {"session": ""}
    assert unrecorded(made).value == "true"
