"""interrupted: a held connection breaks with what it crosses, or when its session ends, and else never."""

import pytest
from histories import AWAY, BACK, BOOT, PROVEN, UNDONE, VICTIM, Made, ns, thorough

from chaosreprise import checker
from chaosreprise.history import Effect, Stream

OTHER = "s-a3-canary"


def interrupted(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["interrupted"]


def world(until: float = 16.05, state: str = "broke", session: str = OTHER, since: float = 1.4, **more) -> Made:
    """One stream that is held throughout, and this one."""
    made = thorough("interrupted", seconds_of_steps=0.2)
    made.stream(session, since, until, state, **more)
    return made


def test_streams_that_are_held_throughout_are_evidence():
    found = interrupted(world(state="closed"))
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 2, [])


@pytest.mark.parametrize("at", [2.5, 6.0, AWAY + 0.2, 10.0])
def test_one_that_breaks_for_no_reason_is_false(at: float):
    found = interrupted(world(at))
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), int(at < 5))
    assert found.witnesses[0].session == OTHER
    assert (
        f"open since 1.400 s over control-plane and sessions/{OTHER}, broke between {at:.3f} s"
        in found.witnesses[0].say
    )


@pytest.mark.parametrize("component", [f"agents/{VICTIM}", "database"])
def test_one_that_crosses_what_is_broken_may_break(component: str):
    at = PROVEN + 1 if component != "database" else AWAY + 0.2
    found = interrupted(world(at, path=["control-plane", component]))
    assert (found.count, found.exempt) == ((0, 0), 1)


def test_it_may_still_break_for_as_long_as_a_platform_may_take_to_notice():
    path = [f"agents/{VICTIM}"]
    assert interrupted(world(UNDONE + 0.9, path=path)).count == (0, 0)
    assert interrupted(world(UNDONE + 1.1, path=path)).count == (1, 1)


def test_a_break_that_may_lie_outside_of_the_fault_is_possible_only():
    found = interrupted(world(PROVEN + 0.1, path=[f"agents/{VICTIM}"], wide=0.5))
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "may explain it" in found.scope[0].why


@pytest.mark.parametrize("op", ["stop", "hibernate"])
def test_one_whose_session_was_told_to_end_may_break(op: str):
    made = world(10.0)
    made.command(op, OTHER, 9.9)
    found = interrupted(made)
    assert (found.count, found.exempt) == ((0, 0), 1)


def test_a_command_that_was_surely_refused_ends_nothing():
    made = world(10.0)
    made.answer(made.submit("stop", OTHER, 9.9), 9.95, "fail")
    assert interrupted(made).count == (1, 1)


def test_a_command_that_nobody_answered_may_have_ended_it():
    made = world(10.0)
    made.submit("stop", OTHER, 15.4)
    assert interrupted(made).count == (1, 1), "it came later"
    made = world(10.0)
    made.submit("stop", OTHER, 9.9)
    made.gap("slots", 10.5, 10.6)  # so that nobody knows whether it happened
    assert interrupted(made).count == (0, 1)


def test_a_hibernation_before_the_stream_was_opened_explains_nothing():
    made = world(10.0, since=4.0)
    made.command("hibernate", OTHER, 2.0)
    made.command("wake", OTHER, 3.0)
    assert interrupted(made).count == (1, 1)


def test_one_whose_session_is_reported_as_ended_may_break():
    made = world(10.0)
    made.session(OTHER, "failed", 9.9)
    assert interrupted(made).count == (0, 0)


def test_one_whose_process_had_died_by_itself_is_possible_only():
    made = world(10.0)
    died = Effect(
        lo=ns(9.9), hi=ns(9.9), ledger="slots", object=OTHER, session=OTHER, mark="crash", inc=[BOOT, 1, 9, 9], gen=1
    )
    made.add(died)
    assert interrupted(made).count == (0, 1)


def test_without_the_ledger_nobody_knows_whether_a_process_had_died():
    made = world(10.0)
    made.gap("slots", 9.0, 9.5)
    assert interrupted(made).count == (0, 1)


def test_without_any_ledger_of_processes_nobody_knows_that_either():
    made = world(10.0)
    made.contract.attribution = [entry for entry in made.contract.attribution if entry.ledger != "slots"]
    assert interrupted(made).count == (0, 1)


def test_one_of_which_nothing_says_how_it_ended_is_unknown():
    found = interrupted(world(None))
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "nothing says what became of 1 streams (stream-s-a3-canary)" in found.scope[0].why


def test_an_end_without_a_beginning_is_unknown():
    made = world(10.0)
    made.drop(Stream, lambda e: e.session == OTHER and e.state == "open")
    found = interrupted(made)
    assert (found.value, found.count) == ("unknown", (0, 0))


def test_without_a_path_nobody_knows_what_broke_it():
    found = interrupted(world(10.0, path=[]))
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_a_name_that_was_used_twice_is_unknown():
    made = world(10.0, state="closed")
    made.stream(OTHER, 10.5, 12.0, "closed")
    assert interrupted(made).value == "unknown"


def test_without_a_stream_that_is_off_the_path_of_what_is_broken_it_is_unknown():
    made = thorough("interrupted", seconds_of_steps=0.2)
    for event in made.find(Stream, lambda e: e.state == "open"):
        event.path = ["database", f"agents/{VICTIM}"]
    found = interrupted(made)
    assert (found.value, found.evidence) == ("unknown", 0)
    assert "no stream was held all the while" in found.scope[0].why


def test_one_that_was_opened_meanwhile_proves_nothing():
    made = thorough("interrupted", seconds_of_steps=0.2)
    made.drop(Stream)
    made.stream(OTHER, AWAY + 0.1, BACK + 3)
    assert interrupted(made).evidence == 0


def test_where_streams_are_not_promised_a_break_is_told_only():
    made = world(10.0)
    made.contract.promises = {**made.contract.promises, "streams": False}
    made.contract.require, made.contract.optional = ["denied"], ["interrupted"]
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["interrupted"].value) == ("true", "false")
    assert any("not promised, so only told" in why for why in verdict.why)


def test_it_is_judged_in_the_baseline_and_during_the_method():
    assert interrupted(world(2.5), "baseline").value == "false"
    made = world(6.0)
    made.events = [event for event in made.events if event.hi <= ns(9.0)]
    assert interrupted(made, "during").value == "false"
