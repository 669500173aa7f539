"""denied: what exists is found, during an outage and after it, and no list shrinks."""

import pytest
from histories import AGENTS, AWAY, BACK, CLEAN, HELD, METHOD, UNDONE, Made, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Report, Submit

CANARIES = [f"s-{agent}-canary" for agent in AGENTS]


def denied(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["denied"]


def world() -> Made:
    return thorough("denied", seconds_of_steps=0.2)


def test_reads_that_find_what_is_there_are_evidence():
    found = denied(world())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence == 7


@pytest.mark.parametrize("at", [2.0, 6.0, 9.2])
def test_a_read_that_denies_what_is_there_before_and_after_is_false(at: float):
    made = world()
    cmd = made.read(HELD, at, "fail", status=404)
    found = denied(made)
    assert (found.value, found.count, found.labels) == ("false", (1, 1), {"denied": 1})
    assert (found.witnesses[0].cmd, found.baseline) == (cmd, int(at < METHOD))


@pytest.mark.parametrize("op", ["wake", "stop", "step"])
def test_a_command_may_deny_as_well(op: str):
    made = world()
    made.answer(made.submit(op, HELD, 9.2), 9.21, "fail", status=404).rule = "not-found"
    assert denied(made).count == (1, 1)


def test_another_refusal_denies_nothing():
    made = world()
    made.answer(made.submit("wake", HELD, 9.2), 9.21, "fail", status=409)
    made.read(HELD, 9.2, "info", status=500)
    made.answer(made.submit("read", HELD, 9.3), 9.31, "fail").rule = "unconnected"
    assert denied(made).count == (0, 0)


def test_what_was_told_to_stop_may_be_gone():
    made = world()
    stop = made.commands("stop", CLEAN)[0]
    at = (stop.lo - 1_000_000_000_000) / 1e9
    made.read(stop.session, at + 0.001, "fail", status=404)
    assert denied(made).count == (0, 0)


def test_what_may_have_been_told_to_stop_may_be_gone():
    made = world()
    made.submit("stop", HELD, 9.1)
    made.read(HELD, 9.2, "fail", status=404)
    assert denied(made).count == (0, 0)


def test_a_stop_that_was_surely_refused_ends_nothing():
    made = world()
    made.answer(made.submit("stop", HELD, 9.1), 9.15, "fail", status=409)
    made.read(HELD, 9.2, "fail", status=404)
    assert denied(made).count == (1, 1)


def test_what_the_platform_reports_as_ended_may_be_gone():
    made = world()
    made.session(HELD, "failed", 9.15)
    made.read(HELD, 9.2, "fail", status=404)
    assert denied(made).count == (0, 0)


def test_what_nobody_has_seen_yet_may_be_unknown():
    made = world()
    started = made.find(Report, lambda e: e.about == "session" and e.id == "s-a1-cycle")[0]
    made.read("s-a1-cycle", (started.lo - 1_000_000_000_000) / 1e9 - 0.001, "fail", took=0.0005, status=404)
    assert denied(made).count == (0, 0)


def test_what_is_never_shown_again_is_possible_only():
    made = world()
    made.read(HELD, 9.8, "fail", status=404)
    after = {one.cmd for one in made.find(Submit, lambda e: e.session == HELD and e.lo > 1_009_800_000_000)}
    made.drop(Answer, lambda e: e.cmd in after)
    made.drop(Submit, lambda e: e.cmd in after)
    made.drop(Report, lambda e: e.id == HELD and e.lo > 1_009_800_000_000)
    found = denied(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "nothing shows whether it still did" in found.scope[0].why


@pytest.mark.parametrize("at", [2.0, 6.0, AWAY + 0.3, 9.35])
def test_a_list_that_has_lost_a_session_is_false(at: float):
    made = world()
    made.read(None, at, listed=CANARIES[1:])
    found = denied(made)
    assert (found.count, found.labels, found.witnesses[0].session) == ((1, 1), {"shrunk": 1}, CANARIES[0])
    assert f"list: answered at {at + 0.01:.3f} s without session {CANARIES[0]}" in found.witnesses[0].say


def test_each_session_that_a_list_has_lost_is_one():
    made = world()
    made.read(None, 9.35, listed=[])
    assert denied(made).count == (3, 3)


def test_a_list_may_lack_what_no_earlier_list_has_held():
    made = world()
    made.read(None, 1.1, listed=CANARIES[1:])
    assert denied(made).count == (0, 0)


def test_a_list_may_lack_what_another_user_may_see():
    made = world()
    cmd = made.read(None, 9.35, listed=[])
    made.find(Submit, lambda e: e.cmd == cmd)[0].user = "u9"
    assert denied(made).count == (0, 0)


def test_a_list_that_may_not_be_whole_is_none():
    made = world()
    made.read(None, 9.35)
    assert denied(made).count == (0, 0)


def test_sessions_of_others_may_come_and_go():
    made = world()
    made.read(None, 1.25, listed=[*CANARIES, "s-foreign"])
    made.read(None, 9.35, listed=CANARIES)
    assert denied(made).count == (0, 0)


def test_what_is_answered_while_the_store_is_broken_shows_nothing():
    """A platform that says yes to all is no witness that a session is there."""
    made = world()
    made.read("s-guessed", AWAY + 0.1, result="running")
    made.read("s-guessed", AWAY + 0.2, "fail", status=404)
    made.read("s-guessed", BACK - 0.05, result="running")
    assert denied(made).count == (0, 0)


def test_without_a_read_while_something_was_broken_it_is_unknown():
    made = world()
    during = [e.cmd for e in made.find(Submit, lambda e: e.op == "read" and METHOD < e.lo / 1e9 - 1000 < BACK)]
    made.drop(Answer, lambda e: e.cmd in during)
    made.drop(Submit, lambda e: e.cmd in during)
    assert "no read was sent while something was broken" in denied(made).scope[0].why


def test_without_a_read_that_finds_anything_afterwards_it_is_unknown():
    made = world()
    late = [e.cmd for e in made.find(Submit, lambda e: e.op == "read" and e.lo / 1e9 - 1000 > UNDONE)]
    made.drop(Answer, lambda e: e.cmd in late)
    assert "after all was healed no read found what it asked for" in denied(made).scope[0].why


def test_an_empty_list_finds_nothing():
    made = world()
    for answer in made.find(Answer, lambda e: e.hi / 1e9 - 1000 > BACK and (e.listed is not None or e.result)):
        answer.listed, answer.result = [], None
    for cmd in made.find(Submit, lambda e: e.op == "read" and e.lo / 1e9 - 1000 > BACK):
        cmd.session, cmd.user = None, "somebody"
    assert "after all was healed no read found what it asked for" in denied(made).scope[0].why


def test_without_a_list_that_is_said_to_be_untested():
    made = world()
    for answer in made.find(Answer, lambda e: e.listed is not None):
        answer.listed = None
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["denied"].value == "true"
    assert "lists that shrink" in [one.what for one in verdict.not_tested]


def told(made: Made) -> list[str]:
    return [one.what for one in checker.judge(made.history(), "end").not_tested]


def test_without_a_list_after_the_fault_that_is_said_to_be_untested():
    made = world()
    assert "lists that shrink" not in told(made)
    for answer in made.find(Answer, lambda e: e.listed is not None and e.hi / 1e9 - 1000 > METHOD):
        answer.listed = None
    assert "lists that shrink" in told(made)


def test_a_first_list_has_nothing_to_lose():
    made = world()
    for answer in made.find(Answer, lambda e: e.listed is not None and e.hi / 1e9 - 1000 < METHOD):
        answer.listed = None
    assert "lists that shrink" in told(made)


def test_that_nobody_answered_a_read_while_something_was_broken_is_told():
    made = world()
    assert "reads while something is broken" not in told(made)
    during = {e.cmd for e in made.find(Submit, lambda e: e.op == "read" and METHOD < e.lo / 1e9 - 1000 < BACK)}
    for answer in made.find(Answer, lambda e: e.cmd in during):
        answer.outcome, answer.rule, answer.result, answer.listed = "fail", "unconnected", None, None
    assert "reads while something is broken" in told(made)
    assert denied(made).value == "true"


def test_a_fault_on_the_way_to_the_store_breaks_it_as_well():
    made = world()
    for event in made.events:
        if getattr(event, "component", "") == "database":
            event.component, event.kind = "links/database", "links.latency"
    made.read("s-guessed", AWAY + 0.1, result="running")
    made.read("s-guessed", AWAY + 0.2, "fail", status=404)
    made.read("s-guessed", BACK - 0.05, result="running")
    assert denied(made).count == (0, 0)


def test_it_is_judged_in_the_baseline_already():
    made = world()
    made.read(HELD, 2.0, "fail", status=404)
    assert denied(made, "baseline").value == "false"
