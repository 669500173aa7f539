"""quota: how many sessions of one user were surely there at once, and whether anybody pressed."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import Tiny


def world(**stated) -> Tiny:
    made = Tiny(**{"require": ["quota"], "quota": 2} | stated)
    made.settled(6.0)
    return made


def start(made: Tiny, at: float, user: str = "ann", state: str = "pending") -> str:
    name = f"{user}-{at}"
    cmd = made.send(at, "start", None, made=name, user=user)
    made.says(at + 0.2, "session", name, state, "a1", key=cmd, user=user)
    return name


def refused(made: Tiny, at: float, user: str = "ann", rule: str = "quota") -> None:
    made.send(at, "start", None, outcome="fail", status=403, rule=rule, user=user)


def quota(made: Tiny):
    return checker.judge(made.history(), "end").checks["quota"]


def said(made: Tiny) -> str:
    """What the check itself says, whatever else is lacking in so small a history."""
    found = quota(made)
    return "false" if found.count[0] else "unknown" if found.scope else "true"


def test_a_user_who_has_all_and_is_refused_another_one_has_what_is_allowed():
    made = world()
    start(made, 2.0)
    start(made, 2.1)
    refused(made, 2.5)
    start(made, 2.6, "bob")
    assert said(made) == "true"


def test_one_too_many_is_named_with_the_others():
    made = world()
    names = [start(made, at) for at in (2.0, 2.1, 2.2)]
    found = quota(made)
    assert (found.value, found.count) == ("false", (1, 1))
    assert found.witnesses[0].say == f"user ann had 3 sessions at 2.400 s, where 2 are allowed: {', '.join(names)}"


@pytest.mark.parametrize("state", ["terminating", "hibernated", "terminated"])
def test_a_session_that_may_take_no_place_any_more_is_not_counted(state):
    made = world()
    first = start(made, 2.0)
    start(made, 2.1)
    made.says(2.5, "session", first, state, "a1")
    start(made, 2.4)  # whose row may be older than what is said of the first one, or younger
    start(made, 2.9, "bob")
    refused(made, 3.0)
    assert said(made) == "true"


def test_a_session_whose_rows_were_not_read_for_a_while_may_have_ended():
    made = world()
    start(made, 2.0)
    made.gap("rows", 2.5, 3.0)
    start(made, 3.1)
    start(made, 3.2)
    assert said(made) == "unknown"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda made: start(made, 2.1), "was refused another one"),
        (lambda made: refused(made, 2.5), "no user had 2 sessions"),
        (lambda made: (start(made, 2.1), refused(made, 2.5, "bob")), "was refused another one"),
        (lambda made: (start(made, 2.1), refused(made, 2.5, rule="no-agents")), "was refused another one"),
    ],
)
def test_where_nobody_pressed_nothing_was_tested(spoil, why):
    made = world()
    start(made, 2.0)
    spoil(made)
    found = quota(made)
    assert (found.value, found.evidence) == ("unknown", 0)
    assert why in found.scope[0].why


def test_without_a_stated_quota_there_is_nothing_to_judge():
    made = world(quota=0)
    start(made, 2.0)
    assert quota(made).scope[0].do == "set budget.sessions_a_user in the platform file"
