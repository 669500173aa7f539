"""residue: what is left at the end, what may be, and what was never told to go."""

import pytest
from histories import BOOT, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Answer, Coverage, Effect, Report, Submit

REQUIRE = ["lost", "duplicate", "residue"]
SESSION = "s-a1-run0"


def run(**changes) -> Made:
    return complete(**{"require": REQUIRE, **changes})


def residue(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["residue"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def stop_of(made: Made, session: str) -> Submit:
    return made.find(Submit, lambda e: e.op == "stop" and e.session == session)[-1]


def stay(made: Made, session: str = SESSION, *kinds: str) -> None:
    """Leave these parts of a session behind, although its stop was accepted."""
    stop = stop_of(made, session)
    if "session" in kinds:
        made.find(Report, lambda e: e.id == session and e.state == "terminated")[-1].state = "terminating"
    if "object" in kinds:
        made.drop(Effect, lambda e: e.session == session and e.mark == "gone")
    if "process" in kinds:
        made.drop(Effect, lambda e: e.session == session and e.mark == "down" and e.lo > stop.lo)
    if "command" in kinds:
        made.drop(Report, lambda e: e.id == f"p-{stop.cmd}" and e.state == "completed")


def test_a_clean_run_leaves_nothing_and_says_how_many_sessions_were_seen_to_end():
    made = run()
    found = residue(made)
    assert (found.value, found.count, found.scope, found.exempt) == ("true", (0, 0), [], 0)
    assert found.evidence == len(made.find(Submit, lambda e: e.op == "start")) == 40


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("session", "the session, which the platform calls terminating"),
        ("object", f"the object {SESSION} in slots"),
        ("process", "the process pid 10"),
        ("command", "the command p-cmd-"),
    ],
)
def test_each_kind_of_thing_that_is_left_is_seen(kind, says):
    made = run(require=["residue"])
    stay(made, SESSION, kind)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["residue"]
    assert (verdict.value, found.count, found.labels, found.promised) == ("false", (1, 1), {kind: 1}, True)
    witness = found.witnesses[0]
    assert witness.cmd == stop_of(made, SESSION).cmd
    assert "accepted; at the end, at" in witness.say
    assert says in witness.say
    assert next(moment.what for moment in witness.moments if moment.bad).startswith(says)


def test_one_session_is_one_violation_whatever_is_left_of_it():
    made = run()
    stay(made, SESSION, "session", "object", "process", "command")
    found = residue(made)
    assert (found.count, found.labels) == ((1, 1), {"session": 1, "object": 1, "process": 1, "command": 1})


def test_a_session_that_failed_has_ended():
    made = run(require=["residue"])
    made.find(Report, lambda e: e.id == SESSION and e.state == "terminated")[-1].state = "failed"
    assert value(made) == "true"


def test_an_end_that_names_no_process_ends_those_of_a_ledger_that_never_names_them():
    made = run(require=["residue"])
    for down in made.find(Effect, lambda e: e.mark == "down"):
        down.inc = None
    assert value(made) == "true"


def test_an_object_that_was_made_again_is_there():
    made = run(require=["residue"])
    made.effect("start", SESSION, 13.5)
    found = residue(made)
    assert (found.count, found.labels) == ((1, 1), {"object": 1, "process": 1})


def test_a_process_that_crashed_is_none():
    made = run(require=["residue"])
    stay(made, SESSION, "process")
    [inc] = [e.inc for e in made.find(Effect, lambda e: e.session == SESSION and e.mark == "up")]
    made.add(Effect(lo=ns(6), hi=ns(6), ledger="slots", object=SESSION, session=SESSION, mark="crash", inc=inc, gen=1))
    assert value(made) == "true"


def test_canaries_stay_until_the_control_has_removed_them():
    made = run()
    canary = stop_of(made, "s-a1-canary")
    stay(made, "s-a1-canary", "session", "object", "process", "command")
    clean = made.copy()
    clean.events = [event for event in clean.events if event.hi < ns(15.95)]
    found = residue(clean, "clean")
    assert (found.value, found.count, found.exempt) == ("true", (0, 0), 3)
    assert residue(made).witnesses[0].cmd == canary.cmd


def test_what_was_told_to_stop_must_be_gone_when_clean_has_ended():
    made = run()
    stay(made, SESSION, "session", "object", "process")
    made.events = [event for event in made.events if event.hi < ns(15.95)]
    assert residue(made, "clean").count == (1, 1)


def test_a_recorder_that_died_in_clean_has_not_seen_what_became_of_it():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(15.95)]
    made.drop(Effect, lambda e: e.hi > ns(12.5))
    made.drop(Report, lambda e: e.hi > ns(12.5))
    assert residue(made, "clean").count[0] == 0


def test_before_the_end_nothing_is_left_over():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(5.0)]
    for stage in ("baseline", "during"):
        verdict = checker.judge(made.history(), stage)
        assert (verdict.value, "residue" in verdict.checks) == ("true", False)


def test_a_session_whose_stop_the_platform_refuses_for_ever_is_left():
    made = run(require=["residue"])
    answer = made.find(Answer, lambda e: e.cmd == stop_of(made, SESSION).cmd)[0]
    answer.outcome, answer.rule, answer.id = "fail", "wrong-state", None
    made.drop(Report, lambda e: e.about == "command" and e.id == f"p-{answer.cmd}")
    stay(made, SESSION, "session", "object", "process")
    found = residue(made)
    assert (found.count, "refused; at the end" in found.witnesses[0].say) == ((1, 1), True)


@pytest.mark.parametrize(("outcome", "rule"), [("fail", "unconnected"), ("info", None)])
def test_one_that_nobody_surely_told_to_stop_may_be_left(outcome, rule):
    made = run(require=["residue"])
    answer = made.find(Answer, lambda e: e.cmd == stop_of(made, SESSION).cmd)[0]
    answer.outcome, answer.rule, answer.id = outcome, rule, None
    made.drop(Report, lambda e: e.about == "command" and e.id == f"p-{answer.cmd}")
    stay(made, SESSION, "session", "object", "process")
    found = residue(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert f"1 sessions may be left ({SESSION})" in found.scope[0].why


def test_a_session_that_the_load_forgot_to_stop_may_be_left():
    made = run(require=["residue"])
    stay(made, SESSION, "session", "object", "process")
    stop = stop_of(made, SESSION).cmd
    made.drop(Answer, lambda e: e.cmd == stop)
    made.drop(Submit, lambda e: e.cmd == stop)
    made.drop(Report, lambda e: e.id == f"p-{stop}")
    assert (residue(made).value, residue(made).count) == ("unknown", (0, 1))


def started(made: Made, outcome: str) -> str:
    """A session that is there although its start had no success, and that nobody stopped."""
    cmd = made.submit("start", None, 6.5, key="key-s-x")
    made.answer(cmd, 6.6, outcome)
    made.effect("start", "s-x", 6.7, key="key-s-x")
    made.session("s-x", "running", 6.8, key="key-s-x")
    return cmd


def test_what_a_refused_start_has_made_all_the_same_is_left():
    made = run(require=["residue"])
    cmd = started(made, "fail")
    found = residue(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), cmd)


def test_what_the_load_never_knew_of_is_told_and_no_violation():
    made = run(require=["residue"])
    started(made, "info")
    found = residue(made)
    assert (found.value, found.count, found.exempt) == ("true", (0, 0), 1)
    assert "the load did not know" in found.untested[0].why


def test_the_second_session_of_one_start_is_left():
    made = run(require=["residue"])
    made.effect("start", "s-twin", 6.5, key="key-s-new")
    made.session("s-twin", "running", 6.6, key="key-s-new")
    found = residue(made)
    assert (found.count, found.witnesses[0].op) == ((1, 1), "start")


def test_sessions_of_others_are_not_ours_and_reported_ones_may_be():
    made = run(require=["residue"])
    made.effect("start", "somebody-elses", 6.5)
    assert value(made) == "true"
    made.session("somebody-elses", "running", 6.6)
    found = residue(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "no start of this run made" in found.scope[0].why


def test_a_command_that_never_ends_is_left_also_where_its_session_has_ended():
    made = run(require=["residue"])
    hibernate = made.commands("hibernate", 5.1, 8.0, "a2")[0]
    made.drop(Report, lambda e: e.id == f"p-{hibernate.cmd}" and e.state == "completed")
    found = residue(made)
    assert (found.count, found.labels) == ((1, 1), {"command": 1})


def test_what_was_due_before_the_first_fault_is_a_baseline_violation():
    made = run(require=["residue"])
    stay(made, "s-a1-cycle", "session", "object", "process")
    found = residue(made)
    assert (found.count, found.baseline) == ((1, 1), 1)


@pytest.mark.parametrize("of", ["slots", "slots/s-a1-run0"])
def test_an_end_that_a_gap_may_hide_may_have_come(of):
    made = run(require=["residue"])
    stay(made, SESSION, "object", "process")
    made.gap(of, 13.0, 13.2)
    found = residue(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_rows_that_were_not_read_at_the_end_leave_the_last_word_open():
    made = run(require=["residue"])
    stay(made, SESSION, "session")
    made.drop(Coverage, lambda e: e.of == "rows" and not e.on)
    made.cover("rows", 14.0, on=False, why="the database was away")
    assert (residue(made).value, residue(made).count) == ("unknown", (0, 1))


def test_an_end_may_hide_in_a_gap_in_which_its_beginning_may_lie():
    made = run()
    stay(made, SESSION, "process")
    (begun,) = made.find(Effect, lambda e: e.session == SESSION and e.mark == "up")
    begun.lo, begun.hi = ns(0.1), ns(0.4)
    assert residue(made).count == (1, 1)
    made.gap("slots", 0.2, 0.3)
    assert (residue(made).value, residue(made).count) == ("unknown", (0, 1))


def test_what_began_in_a_gap_nobody_saw():
    made = run(require=["residue"])
    made.gap("slots", 6.0, 6.2)
    assert residue(made).value == "unknown"


def test_a_run_that_did_not_come_to_its_end_is_unknown_and_accuses_nobody():
    made = run(require=["residue"])
    made.events = [event for event in made.events if event.hi < ns(12.0)]
    found = residue(made)
    assert (found.value, found.count[0]) == ("unknown", 0)


def test_without_the_ledgers_and_rows_there_is_no_evidence():
    made = run(require=["residue"])
    made.drop(Effect)
    made.drop(Report, lambda e: e.about == "session")
    found = residue(made)
    assert (found.value, found.evidence) == ("unknown", 0)


def test_a_process_of_another_life_of_the_machine_is_named_by_all_of_its_name():
    made = run(require=["residue"])
    made.add(
        Effect(lo=ns(6), hi=ns(6), ledger="slots", object=SESSION, session=SESSION, mark="up",
               inc=[BOOT, 2, 1001, 7], gen=2)
    )  # fmt: skip
    assert residue(made).labels == {"process": 1}
