"""unfinished: each accepted command comes to its one good end in the platform's rows."""

import copy
from typing import Any

from histories import UNDONE, Made, thorough

from chaosreprise import checker
from chaosreprise.checker import exposure
from chaosreprise.checker.case import Case
from chaosreprise.checker.tiny import Tiny
from chaosreprise.history import Answer, Report


def unfinished(made: Made, stage: Any = "end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["unfinished"]


def world(**changes: Any) -> Made:
    return thorough("unfinished", seconds_of_steps=0.2, **changes)


def rows(made: Made, op: str, since: float) -> list[Report]:
    cmd = made.commands(op, since)[0].cmd
    return made.find(Report, lambda e: e.about == "command" and e.id == f"p-{cmd}")


def end_as(made: Made, op: str, since: float, state: str) -> str:
    """The last word on the first such command."""
    last = rows(made, op, since)[-1]
    last.state = state
    return last.id.removeprefix("p-")


def test_rows_that_say_completed_are_evidence():
    found = unfinished(world())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence > 30


def test_a_row_that_says_failed_is_reported_and_one_that_stays_open_is_stuck():
    made = world()
    failed, stuck = end_as(made, "wake", 5.0, "failed"), end_as(made, "hibernate", 5.0, "sent")
    found = unfinished(made)
    assert (found.value, found.count, found.baseline) == ("false", (2, 2), 0)
    assert found.labels == {"reported": 1, "stuck": 1}
    assert {one.cmd for one in found.witnesses} == {failed, stuck}


def test_a_row_that_is_still_open_is_judged_when_all_is_over():
    made = world()
    end_as(made, "hibernate", 1.5, "sent")
    assert (unfinished(made, "baseline").count, unfinished(made).labels) == ((0, 0), {"stuck": 1})


def test_a_state_that_nobody_knows_is_a_doubt_and_no_violation():
    made = world()
    end_as(made, "wake", 5.0, "done")
    found = unfinished(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "the state 'done'" in found.scope[0].why


def test_what_failed_before_anything_was_broken_is_the_baseline():
    made = world()
    end_as(made, "hibernate", 1.5, "failed")
    assert unfinished(made).baseline == 1


def test_two_rows_of_one_command_are_twice_and_as_many_as_were_sent_are_not():
    made = world()
    for row in rows(made, "wake", 5.0):
        made.add(copy.copy(row)).id = "p-again"
    found = unfinished(made)
    assert (found.value, found.labels) == ("false", {"twice": 1})


def test_two_sessions_of_one_create_are_twice():
    made = world()
    first = made.find(Report, lambda e: e.about == "session")[0]
    first.fields = {**first.fields, "key": made.commands("start")[0].key}
    made.add(copy.copy(first)).id = "s-twin"
    assert unfinished(made).labels == {"twice": 1}


def test_a_row_that_comes_when_all_is_over_is_of_who_tidies_up():
    made = world()
    late = copy.copy(rows(made, "stop", 12.0)[-1])
    late.id, late.lo, late.hi = "p-late", late.lo + 10**11, late.hi + 10**11
    made.add(late)
    assert unfinished(made).labels == {}


def test_rows_that_were_not_read_to_the_end_decide_nothing():
    made = world()
    end_as(made, "wake", UNDONE, "sent")
    made.gap("rows", 16.5, 16.6)
    found = unfinished(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_a_command_without_a_row_keeps_it_from_being_true():
    made = world()
    gone = {row.id for row in rows(made, "wake", UNDONE)}
    made.drop(Report, lambda e: e.id in gone)
    found = unfinished(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "no row was seen" in found.scope[0].why


def test_without_ids_in_answers_rows_are_told_by_their_session_and_kind():
    made = world()
    for answer in made.find(Answer):
        answer.id = None
    assert unfinished(made).value == "true"
    end_as(made, "wake", UNDONE, "failed")
    assert unfinished(made).labels == {"reported": 1}


def test_what_the_platform_may_drop_for_a_later_command_is_exempt():
    promises = {"durable": True, "at_most_once": True, "order": True, "coalesce": True}
    made = world(promises=promises)
    end_as(made, "hibernate", 5.0, "failed")
    found = unfinished(made)
    assert (found.count, found.exempt) == ((0, 0), 1)


def test_without_a_ledger_of_effects_it_says_what_rows_can_not_show_and_the_others_why_they_are_blind():
    made = thorough("unfinished", "lost", seconds_of_steps=0.2, attribution=[])
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["unfinished"].value == "true"
    assert "really ran, and ran exactly once" in verdict.checks["unfinished"].untested[0].what
    assert [(one.why, one.do[:22]) for one in verdict.checks["lost"].scope] == [
        ("no evidence of kind slots: no ledger shows what commands really did", "add [evidence.slots], ")
    ]
    assert verdict.value == "unknown"


def test_without_a_ledger_only_what_its_row_called_unfinished_was_in_flight():
    made = Tiny(attribution=[])
    made.says(0.2, "session", "s1", "running", "a1")
    made.send(0.5, "hibernate", "s1", agent="a1")
    made.says(0.8, "command", "p1", "completed", session="s1", action="hibernate_session")
    made.send(0.85, "wake", "s1", agent="a1")
    made.says(1.0, "command", "p2", "sent", session="s1", action="wake_session")
    made.send(1.05, "stop", "s1", agent="a1")
    made.broken("agents/a1", 1.2, 1.4, kind="agents.crash")
    made.says(2.0, "command", "p2", "completed", session="s1", action="wake_session")
    made.settled(6.0)
    history = made.history()
    assert history.contract is not None
    case = Case(history, history.contract, "end")
    [life] = case.lives
    assert [case.commands.op[row] for row in exposure.rows_in_flight(case, life)] == ["wake"]
