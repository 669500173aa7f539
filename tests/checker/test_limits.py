"""limits: who may take another amount than was asked for, and what nobody knows."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import PROMISES, Tiny

ASKED = {"memory": 134217729, "cpu": 101}
BOTH = ["memory", "cpu"]


def world(promised=BOTH, **stated) -> Tiny:
    made = Tiny(require=["limits"], promises=PROMISES | {"limits": promised}, **stated)
    made.settled(6.0)
    return made


def start(made: Tiny, name: str, limits, at: float = 1.0, asked=ASKED) -> None:
    made.send(at, "start", None, made=name, resources=asked)
    made.effect(at + 0.2, name, "up", gen=1, pid=round(at * 10), limits=limits)


def limits(made: Tiny, stage="end"):
    return checker.judge(made.history(), stage).checks["limits"]


def said(found) -> str:
    """What the check itself says, whatever else is lacking in so small a history."""
    return "false" if found.count[0] else "unknown" if found.scope or found.count[1] else "true"


@pytest.mark.parametrize(
    ("has", "value", "labels"),
    [
        (ASKED, "true", {}),
        ({"memory": 134217728, "cpu": 101}, "false", {"memory": 1}),  # a byte less
        ({"memory": 134217730, "cpu": 101}, "false", {"memory": 1}),  # that of another one
        ({"memory": 2**31, "cpu": 1000}, "false", {"memory": 1, "cpu": 1}),  # the usual ones
        ({"memory": None, "cpu": 101}, "false", {"memory": 1}),
        ({"memory": None, "cpu": None}, "false", {"memory": 1, "cpu": 1}),
        ({"memory": 134217729}, "unknown", {}),
        ({"cpu": 101}, "unknown", {}),
        ({}, "unknown", {}),
    ],
)
def test_a_session_may_take_what_was_asked_for_it_and_nothing_else(has, value, labels):
    made = world()
    start(made, "s1", has)
    found = limits(made)
    assert (said(found), found.labels) == (value, labels)


def test_what_is_wrong_is_said_with_what_was_asked_for():
    made = world()
    start(made, "s1", ASKED)
    start(made, "s2", {"memory": None, "cpu": 101}, at=2.0)
    found = limits(made, "during")
    assert (found.count, found.evidence) == ((1, 1), 2)
    assert found.witnesses[0].say == (
        "c2 start of session s2: asked for 134217729 bytes of memory, and pid 20, begun at 2.200 s, may take as much as there is"
    )


def test_each_process_of_a_session_is_looked_at_and_a_session_counts_once():
    made = world()
    start(made, "s1", ASKED)
    made.send(2.0, "wake", "s1")
    made.effect(2.2, "s1", "up", gen=3, pid=12, limits={"memory": None, "cpu": 101})
    made.effect(2.5, "s1", "back", gen=3, pid=13, limits={"memory": None, "cpu": 101})
    found = limits(made)
    assert (found.count, found.labels) == ((1, 1), {"memory": 1})
    assert "pid 12" in found.witnesses[0].say


@pytest.mark.parametrize(
    ("promised", "value", "missing"),
    [(["memory"], "true", "cpu of sessions"), (["cpu"], "false", "memory of sessions"), ([], "unknown", ""), (None, "unknown", "")],
)  # fmt: skip
def test_only_what_is_promised_is_judged_and_the_rest_is_told(promised, value, missing):
    made = world(promised)
    start(made, "s1", {"memory": 134217729, "cpu": None})
    found = limits(made)
    assert said(found) == value
    assert missing in " ".join(told.what for told in found.untested)
    if not promised:
        assert "does not promise" in found.scope[0].why


def test_an_installation_that_shows_no_limits_says_what_is_missing_for_each():
    made = world()
    start(made, "s1", {})
    assert [doubt.why for doubt in limits(made).scope] == [
        "of no process of a session it was seen how much memory it may take",
        "of no process of a session it was seen how much of a processor it may take",
    ]


def test_a_start_that_does_not_say_what_it_asks_for_proves_nothing():
    made = world()
    start(made, "s1", ASKED, asked={})
    found = limits(made)
    assert (said(found), found.scope[0].why) == ("unknown", "no start says how much it asks for")


@pytest.mark.parametrize(("gap", "value"), [((1.9, 2.5), "unknown"), ((0.1, 0.5), "true")])
def test_what_may_have_begun_where_nobody_looked_is_not_known(gap, value):
    made = world()
    start(made, "s1", ASKED)
    made.send(2.0, "start", None, made="s2", resources=ASKED)
    made.gap("slots", *gap)
    assert said(limits(made)) == value


def test_a_process_that_had_ended_before_anybody_looked_is_told():
    made = world()
    start(made, "s1", ASKED)
    start(made, "s2", {}, at=2.0)
    found = limits(made)
    assert (said(found), found.evidence) == ("true", 1)
    assert [told.what for told in found.untested] == ["memory of 1 of 2 sessions", "cpu of 1 of 2 sessions"]
