"""dishonest: a signal may call what is away there for as long as its bound, and no longer."""

import pytest
from histories import AWAY, BACK, PROVEN, UNDOING, VICTIM, Made, complete, ns, outage, thorough

from chaosreprise import checker
from chaosreprise.history import Fault, Observe, Report
from chaosreprise.history.statements import Claim

HEALTH = Claim(name="health", signal="health.up", says=[True, "ok"], within_s=0.1, component="database")


def dishonest(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["dishonest"]


def agents() -> Made:
    return thorough("dishonest", seconds_of_steps=0.2)


def health(*looks: tuple[float, object], **changes) -> Made:
    """The database is away from 8.6 s to 9.0 s, and the health page says this of it."""
    made = complete(
        n=1, require=["dishonest"], claims=[HEALTH], exposure={"stop": 1, "hibernate": 1, "wake": 1}, **changes
    )
    outage(made)
    made.cover("health", 0.01)
    made.cover("health", 19.2, on=False)
    for at, value in looks:
        made.add(Observe(lo=ns(at), hi=ns(at), source="health", signal="up", value=value))
    return made


def test_a_platform_that_notices_in_time_is_honest():
    found = dishonest(agents())
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 1, [])


def test_an_agent_that_is_called_online_for_too_long_is_one():
    made = agents()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    found = dishonest(made)
    assert (found.value, found.count) == ("false", (1, 1))
    assert found.witnesses[0].agent == VICTIM
    assert (
        f"until {UNDOING:.3f} s, though it was away from {PROVEN:.3f} s on, and 1 s are allowed"
        in found.witnesses[0].say
    )


def test_of_an_agent_that_came_back_by_itself_nobody_knows_for_how_long_that_was_a_lie():
    made = agents()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.find(Fault, lambda e: e.state == "undone")[0].by = "lease"
    found = dishonest(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_what_it_said_of_nobody_is_no_crash():
    made = agents()
    made.drop(Report, lambda e: e.about == "agent" and e.id == VICTIM)
    found = dishonest(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert not any("crashed" in doubt.why for doubt in found.scope)


@pytest.mark.parametrize(("lo", "hi", "count"), [(5.9, 6.0, (0, 0)), (6.1, 6.2, (1, 1)), (5.9, 6.2, (0, 1))])
def test_what_lies_on_both_sides_of_the_bound_is_possible_only(lo: float, hi: float, count: tuple[int, int]):
    made = agents()
    (away,) = made.find(Report, lambda e: e.about == "agent" and e.state == "offline")
    away.lo, away.hi = ns(lo), ns(hi)
    assert dishonest(made).count == count


def test_an_agent_that_is_called_online_again_too_early_is_one_only_if_for_too_long():
    made = agents()
    made.agent(VICTIM, "online", 7.2)
    assert dishonest(made).count == (0, 0)
    made.find(Report, lambda e: e.about == "agent" and e.hi == ns(7.2))[0].hi = ns(6.0)
    made.find(Report, lambda e: e.about == "agent" and e.hi == ns(6.0))[0].lo = ns(5.99)
    assert dishonest(made).count == (1, 1)


def test_the_other_agents_may_be_called_online():
    made = agents()
    made.agent("a1", "online", 6.0)
    assert dishonest(made).count == (0, 0)


def test_gaps_in_what_is_reported_that_leave_no_time_longer_than_the_bound_make_it_possible_only():
    made = agents()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    for lo, hi in ((5.9, 6.0), (6.9, 7.0), (7.9, 8.2)):
        made.gap("rows", lo, hi)
    found = dishonest(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_what_was_not_reported_otherwise_after_a_gap_is_said_still():
    made = agents()
    made.drop(Report, lambda e: e.about == "agent" and e.state == "offline")
    made.gap("rows", 5.0, 6.5)
    assert dishonest(made).count == (1, 1)


def test_a_gap_that_is_longer_than_the_bound_hides_a_lie_and_a_shorter_one_none():
    short, long = agents(), agents()
    short.gap("rows", 6.0, 6.9)
    long.gap("rows", 6.0, 7.1)
    assert dishonest(short).value == "true"
    assert dishonest(long).value == "unknown"


def test_a_health_page_that_notices_is_honest():
    found = dishonest(health((8.5, True), (AWAY + 0.05, "ok"), (AWAY + 0.15, False), (BACK - 0.1, "down"), (9.1, True)))
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])


@pytest.mark.parametrize("value", [True, "ok", 1])
def test_a_health_page_that_does_not_notice_is_not(value: object):
    found = dishonest(health((8.5, value), (AWAY + 0.05, value), (AWAY + 0.25, value), (9.1, value)))
    assert found.count == (1, 1)
    assert found.witnesses[0].say.startswith("health: health.up says that database is there until 8.850 s")


def test_what_is_said_between_two_looks_that_differ_is_not_held_against_it():
    found = dishonest(
        health((AWAY + 0.05, True), (AWAY + 0.11, False), (AWAY + 0.2, True), (AWAY + 0.25, True), (AWAY + 0.3, False))
    )
    assert found.count == (0, 0)


def test_looks_before_and_after_alone_say_nothing():
    found = dishonest(health((8.5, True), (9.1, True)))
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "health.up was not looked at" in found.scope[0].why


def test_a_signal_that_never_says_what_is_claimed_of_it_is_unknown():
    found = dishonest(health((8.5, "UP"), (AWAY + 0.05, "UP"), (AWAY + 0.3, "UP")))
    assert (found.value, found.count) == ("unknown", (0, 0))


def test_a_signal_that_was_not_watched_throughout_is_unknown():
    made = health((8.5, True), (AWAY + 0.05, False), (AWAY + 0.3, False))
    made.gap("health", AWAY + 0.1, AWAY + 0.2)
    assert dishonest(made).value == "unknown"
    made = health((8.5, True), (AWAY + 0.05, True), (AWAY + 0.3, True))
    made.gap("health", AWAY + 0.1, AWAY + 0.2)
    assert dishonest(made).count == (0, 1)


def test_a_signal_that_is_absent_is_unknown():
    assert dishonest(health()).value == "unknown"


def test_that_it_calls_away_what_is_there_is_not_judged():
    found = dishonest(health((1.0, True), (2.0, False), (AWAY + 0.2, False), (12.0, False)))
    assert (found.value, found.count) == ("true", (0, 0))


def test_a_crash_that_comes_back_by_itself_contradicts_nothing():
    made = complete(
        n=1,
        seconds_of_steps=0.2,
        require=["dishonest"],
        claims=[HEALTH],
        exposure={"stop": 1, "hibernate": 1, "wake": 1},
    )
    outage(made, "database.crash")
    made.cover("health", 0.01)
    made.add(Observe(lo=ns(8.9), hi=ns(8.9), source="health", signal="up", value=True))
    assert dishonest(made).count == (0, 0)


def test_each_claim_must_be_judged():
    made = agents()
    made.contract.claims = [*made.contract.claims, HEALTH]
    found = dishonest(made)
    assert found.value == "unknown"
    assert {doubt.what for doubt in found.scope} >= {"health"}


def test_it_is_seen_while_the_method_still_runs():
    made = health((8.5, True), (AWAY + 0.05, True), (AWAY + 0.25, True))
    made.events = [event for event in made.events if event.hi <= ns(9.4)]
    assert dishonest(made, "during").value == "false"
