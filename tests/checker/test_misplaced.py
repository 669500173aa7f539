"""misplaced: who must get what was asked for, who gets it if that can be, and what nobody knows."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import PROMISES, Tiny
from chaosreprise.history.statements import Allowed, Situation

AGENTS = {"a1": ("c1", "north", "docker"), "a2": ("c1", "south", "vm"), "a3": ("c2", "north", "vm")}
REFUSED = Situation(
    name="none fits", when="no-agent-fits", ops=["start"], allow=[Allowed(status=503, body="No agents")], within_s=1
)


def world(**stated) -> Tiny:
    made = Tiny(require=["misplaced"], promises=PROMISES | {"placement": True}, **stated)
    for agent, (cluster, region, platform) in AGENTS.items():
        made.says(0.1, "agent", agent, "offline", agent)
        made.says(0.2, "agent", agent, "online", agent, cluster=cluster, region=region, platform=platform)
    made.settled(6.0)
    return made


def start(made: Tiny, at: float, agent: str, **asks: str) -> None:
    name = f"s{at}"
    cmd = made.send(at, "start", None, made=name, asks=asks)
    made.says(at + 0.2, "session", name, "pending", agent, key=cmd)


def misplaced(made: Tiny, stage="end"):
    return checker.judge(made.history(), stage).checks["misplaced"]


def said(found) -> str:
    """What the check itself says, whatever else is lacking in so small a history."""
    return "false" if found.count[0] else "unknown" if found.scope or found.count[1] else "true"


@pytest.mark.parametrize(
    ("agent", "asks", "value"),
    [
        ("a1", {"cluster": "c1"}, "true"),
        ("a3", {"cluster": "c1"}, "false"),
        ("a1", {"cluster": "c3"}, "false"),
        ("a2", {"platform": "vm"}, "true"),
        ("a1", {"platform": "vm"}, "false"),
        ("a1", {"region": "north"}, "true"),
        ("a2", {"region": "north"}, "false"),
        ("a2", {"region": "east"}, "unknown"),  # nobody is there, so it was no wish to be met
        ("a2", {"region": "north", "platform": "vm"}, "false"),  # a3 is both
        (
            "a1",
            {"region": "south", "platform": "docker"},
            "unknown",
        ),  # a1 alone is a docker: of the region nothing is known
    ],
)
def test_a_session_is_where_it_was_asked_for_or_else_misplaced(agent, asks, value):
    made = world()
    start(made, 2.5, agent, **asks)
    assert said(misplaced(made)) == value


def test_who_must_have_something_must_have_it_while_its_agents_are_away_too():
    made = world()
    made.broken("agents/a3", 2.0, 5.0)
    start(made, 3.0, "a1", cluster="c2")
    found = misplaced(made)
    assert (found.value, found.count) == ("false", (1, 1))
    assert found.witnesses[0].say == (
        "c1 start of session s3.0: asked for cluster c2, and placed on a1 of cluster c1 at 3.200 s"
    )


@pytest.mark.parametrize(
    ("spoil", "value"),
    [
        (lambda made: made.broken("agents/a1", 2.0, 5.0), "unknown"),
        (lambda made: made.broken("links/agents/a1", 3.5, 5.0, "links.freeze"), "unknown"),  # within the margin
        (lambda made: made.broken("control-plane", 2.0, 5.0, "control-plane.pause"), "unknown"),
        (lambda made: made.says(2.9, "agent", "a1", "offline", "a1"), "unknown"),
        (lambda made: made.gap("rows", 3.5, 3.6), "unknown"),
        (lambda made: made.broken("agents/a2", 2.0, 5.0), "false"),  # another one
        (lambda made: made.broken("agents/a1", 4.5, 5.0), "false"),  # later
    ],
)
def test_a_region_is_missed_only_if_an_agent_there_was_surely_online(spoil, value):
    made = world()
    made.broken("agents/a3", 1.9, 5.5)
    start(made, 3.0, "a2", region="north")
    spoil(made)
    assert said(misplaced(made)) == value


def test_what_no_row_says_of_an_agent_is_not_held_against_the_platform():
    made = world()
    made.says(0.3, "agent", "a4", "online", "a4")
    made.says(1.0, "agent", "a3", "online", "a3", cluster="c9")  # which was of c2
    start(made, 2.0, "a4", cluster="c1")
    start(made, 2.5, "a3", cluster="c1")
    found = misplaced(made)
    assert (found.value, found.evidence) == ("unknown", 0)
    assert "of 2 creates that asked for a cluster none could be judged" in found.scope[0].why


def test_without_a_create_that_asks_nothing_was_tested():
    made = world()
    start(made, 2.0, "a1")
    found = misplaced(made)
    assert (found.value, found.scope[0].why) == ("unknown", "no create asked for a cluster, a region or a platform")


def test_who_does_not_promise_it_can_not_break_it():
    made = world()
    made._stated["promises"] = PROMISES
    start(made, 2.5, "a3", cluster="c1")
    verdict = checker.judge(made.history(), "end")
    assert (verdict.checks["misplaced"].promised, verdict.value) == (False, "unknown")


@pytest.mark.parametrize(
    ("asks", "status", "value"),
    [
        ({"cluster": "c2"}, 503, "true"),
        ({"cluster": "c2"}, 403, "false"),
        ({"cluster": "c2"}, None, "false"),
        ({"cluster": "c3"}, 503, "true"),
        ({"cluster": "c1"}, 403, "unknown"),  # others of it are there
        ({"region": "south"}, 403, "unknown"),  # which it need not have
        ({}, 403, "unknown"),
    ],
)
def test_a_start_is_refused_where_nobody_is_what_it_must_have(asks, status, value):
    made = world(situations=[REFUSED])
    made._stated["require"] = ["refusal"]
    made.broken("agents/a3", 1.0, 5.0)
    if status is None:
        start(made, 3.0, "a1", **asks)
    else:
        made.send(3.0, "start", None, outcome="fail", status=status, error="No agents available", asks=asks)
    assert said(checker.judge(made.history(), "end").checks["refusal"]) == value
