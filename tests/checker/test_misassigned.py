"""misassigned: what was given to an agent that was gone, what only waits for it, and what nobody can know."""

import pytest
from histories import Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Coverage, Fault, Report

REQUIRE = ["lost", "duplicate", "misassigned"]
GONE, BACK = 6.02, 8.0  # a2 is broken at 5.02 s, the bound is a second, and its undo begins at 8 s


def run(**changes) -> Made:
    return complete(**{"require": REQUIRE, **changes})


def misassigned(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["misassigned"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def waiting(made: Made):
    """A wake that waits for the agent that is away, from 5.35 s to 8.35 s."""
    return made.commands("wake", 5.1, 8.0, "a2")[0]


def sent(made: Made, at: float, width: float = 0.02, agent: str = "a2") -> None:
    cmd = waiting(made)
    made.row(f"p-{cmd.cmd}", cmd.session, "wake", "sent", at)
    report = made.find(Report, lambda e: e.id == f"p-{cmd.cmd}" and e.state == "sent")[-1]
    report.lo, report.owner = ns(at - width), agent


def placed(made: Made, at: float, agent: str = "a2", since: float | None = None) -> str:
    """A start that goes to this agent; its row is first seen at `at`."""
    made.owner["s-x"] = agent
    cmd = made.submit("start", None, at - 0.02 if since is None else since, key="key-s-x")
    made.answer(cmd, at + 0.1, session="s-x")
    made.session("s-x", "pending", at, key="key-s-x")
    made.effect("start", "s-x", at + 0.2, key="key-s-x")
    made.command("stop", "s-x", at + 0.5)
    return cmd


def test_a_clean_run_has_none_and_says_how_much_had_to_wait():
    found = misassigned(run())
    assert (found.value, found.count, found.scope, found.evidence) == ("true", (0, 0), [], 20)


def test_a_start_that_is_placed_on_an_agent_that_is_gone_is_seen():
    made = run()
    cmd = placed(made, 7.0)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["misassigned"]
    assert (verdict.value, found.count, found.baseline, found.promised) == ("false", (1, 1), 0, True)
    assert found.witnesses[0].say == (
        f"{cmd} start of session s-x: placed on a2 at 7.000 s, which had been gone since 5.020 s"
    )
    told = [moment.what for moment in found.witnesses[0].moments]
    assert told.index("a2 had been gone for 1 s") < told.index("placed on a2")


def test_a_start_that_is_placed_elsewhere_is_what_should_happen_and_counts_as_evidence():
    made = run()
    placed(made, 7.0, "a3")
    found = misassigned(made)
    assert (found.value, found.evidence) == ("true", 21)


def test_a_command_that_is_sent_to_an_agent_that_is_gone_is_seen():
    made = run()
    sent(made, 7.0)
    found = misassigned(made)
    assert (found.value, found.count, found.witnesses[0].cmd) == ("false", (1, 1), waiting(made).cmd)
    assert "marked as sent to a2 at 7.000 s" in found.witnesses[0].say


def test_a_start_that_is_placed_and_sent_there_is_one_violation():
    made = run()
    cmd = placed(made, 7.0)
    made.row(f"p-{cmd}", "s-x", "start", "sent", 7.1)
    assert misassigned(made).count == (1, 1)


def test_what_waits_as_pending_for_the_agent_of_its_session_is_given_to_nobody():
    made = run()
    assert made.find(Report, lambda e: e.about == "command" and e.owner == "a2" and e.state == "pending")
    assert value(made) == "true"


def test_within_the_bound_the_platform_need_not_know():
    made = run()
    sent(made, 5.9)
    assert value(made) == "true"
    made = run()
    placed(made, 5.9)
    assert value(made) == "true"


def test_what_is_sent_to_it_once_it_is_back_is_legal():
    made = run()
    sent(made, 8.2)
    assert value(made) == "true"


def test_what_was_sent_before_it_broke_and_is_still_so_is_not_given_again():
    made = run()
    cmd = waiting(made)
    for at in (5.0, 6.5, 7.0):
        made.row(f"p-{cmd.cmd}", cmd.session, "wake", "sent", at)
    made.drop(Report, lambda e: e.id == f"p-{cmd.cmd}" and e.state == "pending")
    assert misassigned(made).count == (0, 0)


@pytest.mark.parametrize("at", [6.03, 8.01])
def test_what_may_have_been_given_outside_is_possible(at):
    made = run()
    sent(made, at)
    found = misassigned(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "may have been given to an agent that was gone" in found.scope[0].why


def test_what_waited_until_the_look_that_shows_its_agent_back_was_given_then():
    made = run()
    back = made.find(Report, lambda e: e.id == "a2" and e.state == "online")[-1]
    sent(made, 8.01)
    back.lo, back.hi = ns(7.99), ns(8.01)
    assert value(made) == "true"
    back.lo, back.hi = ns(8.01) + 1, ns(8.03)
    assert value(made) == "unknown", "it was given a look before"


def test_what_is_first_seen_in_the_look_that_shows_its_agent_back_was_given_then():
    made = run()
    back = made.find(Report, lambda e: e.id == "a2" and e.state == "online")[-1]
    back.lo, back.hi = ns(7.5), ns(8.01)
    cmd = waiting(made)
    made.drop(Report, lambda e: e.id == f"p-{cmd.cmd}" and e.state == "pending")
    sent(made, 8.01, width=0.51)
    assert value(made) == "true"
    back.lo, back.hi = ns(8.01) + 1, ns(8.03)
    assert value(made) == "unknown", "it was given a look before"


def test_a_start_that_is_placed_in_the_look_that_shows_its_agent_back_did_not_wait():
    made = run()
    back = made.find(Report, lambda e: e.id == "a2" and e.state == "online")[-1]
    back.lo, back.hi = ns(7.99), ns(8.01)
    placed(made, 8.01, since=7.985)
    assert value(made) == "unknown"


def test_a_start_can_not_have_been_placed_before_it_was_sent():
    made = run()
    placed(made, 6.5, since=6.1)
    made.find(Report, lambda e: e.id == "s-x")[0].lo = ns(5.5)
    assert misassigned(made).count == (1, 1)


def test_a_platform_that_calls_it_online_all_the_same_changes_nothing():
    made = run()
    made.agent("a2", "online", 5.5)
    placed(made, 7.0)
    assert misassigned(made).count == (1, 1)


def test_an_agent_that_crashes_and_comes_back_by_itself_is_not_surely_gone():
    made = run()
    for event in made.find(Fault):
        event.kind = "agents.crash"
    placed(made, 7.0)
    found = misassigned(made)
    assert found.count[0] == 0
    assert found.value == "unknown"


def test_what_only_the_platform_calls_offline_may_have_been_there():
    made = run()
    made.agent("a3", "offline", 5.2)
    made.agent("a3", "online", 8.5)
    placed(made, 7.0, "a3")
    found = misassigned(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_an_agent_that_is_called_away_for_less_than_the_bound_or_drains_is_there():
    made = run()
    made.agent("a3", "offline", 6.5)
    made.agent("a3", "online", 7.2)
    made.agent("a1", "draining", 5.2)
    made.agent("a1", "online", 8.5)
    placed(made, 7.0, "a3")
    assert value(made) == "true"


def test_a_fault_that_leaked_says_nothing_about_when_the_agent_was_gone():
    made = run()
    made.find(Fault, lambda e: e.state == "clean")[0].state = "leaked"
    placed(made, 7.0)
    assert misassigned(made).count == (0, 1), "only the platform still says that it was away"


def test_where_nothing_was_to_be_given_meanwhile_nothing_is_shown():
    for changes in ({"offline_ns": 10**10}, {"exposure": {"wake": 1}}):
        made = run(**changes)
        made.drop(Report, lambda e: e.about == "command")
        found = misassigned(made)
        assert (found.value, found.evidence) == ("unknown", 0)
        assert "nothing was to be given while an agent had surely been gone" in found.scope[0].why


def test_before_anything_was_broken_nobody_is_surely_gone():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(5.0)]
    verdict = checker.judge(made.history(), "baseline")
    assert (verdict.value, "misassigned" in verdict.checks) == ("true", False)


def test_it_is_seen_while_the_run_lives():
    made = run()
    placed(made, 7.0)
    made.events = [event for event in made.events if event.hi < ns(9.0)]
    assert misassigned(made, "during").value == "false"


def test_rows_that_were_not_read_meanwhile_leave_it_unknown():
    made = run()
    made.gap("rows", 6.5, 6.8, why="the database was away")
    found = misassigned(made)
    assert found.value == "unknown"
    assert "source rows" in found.scope[0].what


def test_a_gap_while_every_agent_was_there_does_not_matter():
    made = run()
    made.gap("rows", 10.0, 10.5)
    assert misassigned(made).value == "true"


def test_rows_that_nobody_read_are_no_evidence():
    made = run()
    made.drop(Report)
    made.drop(Coverage, lambda e: e.of == "rows")
    assert misassigned(made).value == "unknown"


def test_a_session_that_no_command_of_ours_made_is_told_without_one():
    made = run()
    made.owner["s-z"] = "a2"
    made.session("s-z", "pending", 7.0)
    found = misassigned(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), "")
    assert found.witnesses[0].say.startswith("session s-z: placed on a2 at 7.000 s")
