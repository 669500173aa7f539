"""What a method would break is known, and what is wrong with it is said, before anything is touched."""

from typing import Any

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.run import method


def step(action: str, arguments: Any) -> dict[str, Any]:
    module, _, func = action.partition(".")
    return {"provider": {"module": f"chaosreprise.actions.{module}", "func": func, "arguments": arguments}}


@pytest.mark.parametrize(
    ("action", "arguments", "says"),
    [
        (
            "agents.crash",
            {"count": "many"},
            'agents.crash: count = "many": expected a whole number from 1 to 1000, or "all"',
        ),
        ("agents.crash", {"count": 0}, "agents.crash: count = 0: expected a whole number from 1 to 1000"),
        ("agents.take_away", {"hold_s": float("nan")}, "agents.take_away: hold_s = NaN: expected seconds from above 0"),
        ("agents.take_away", ["a1"], 'agents.take_away: arguments = ["a1"]: expected an object'),
        ("load.quiet", {"seconds": "${quiet}"}, 'load.quiet: seconds = "${quiet}": expected seconds from 0 to 86400'),
        ("commands.send", {"seconds": -1}, "commands.send: seconds = -1: expected seconds from 0 to 86400"),
        ("commands.send", {"share": 0}, "commands.send: share = 0: expected a share from above 0 to 1"),
        ("agents.crash", {"share": 1.5}, "agents.crash: share = 1.5: expected a share from above 0 to 1"),
        ("agents.pause", {"one_by_one": True}, "agents.pause: one_by_one = true: it does not end by itself"),
        ("agents.clock_skew", {"skew_s": "an hour"}, 'agents.clock_skew: skew_s = "an hour": expected seconds'),
        ("database.disk_slow", {"delay_ms": 0}, "database.disk_slow: delay_ms = 0: expected milliseconds"),
    ],
)
def test_a_wrong_argument_of_a_step_is_refused_with_its_value(action: str, arguments: Any, says: str) -> None:
    with pytest.raises(BadInput) as error:
        method.faults_of([step("agents.crash", {}), step(action, arguments)])
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    "stated", [None, {}, "method", [None, 3, {}, {"provider": None}, {"provider": {"module": ["x"]}}]]
)
def test_what_is_no_step_of_ours_is_left_to_chaos_toolkit(stated: Any) -> None:
    assert method.faults_of(stated) == []


def test_an_action_of_the_load_is_no_fault_whatever_it_is_called() -> None:
    found = method.faults_of([step("agents.crash", {}), step("load.crash", {})])
    assert [one.kind for one in found] == ["agents.crash"]


def test_what_a_fault_needs_may_be_a_variable_and_what_is_not_given_is_missing() -> None:
    method.check_raw([step("control_plane.interpose", {"service": "${service}", "proxy": "app=p"})])
    with pytest.raises(BadInput, match=r"control-plane\.interpose: service is missing: expected a name"):
        method.check_raw([step("control_plane.interpose", {"proxy": "app=p"})])


def beside(*steps: tuple[str, bool]) -> list[tuple[int, ...]]:
    method_of = [step(action, {}) | {"background": background} for action, background in steps]
    return [one.beside for one in method.faults_of(method_of)]


def test_what_is_held_is_on_until_its_group_is_undone_and_what_is_in_the_background_is_not_known_to_be() -> None:
    held, other, once = ("agents.pause", False), ("database.hang", False), ("control_plane.crash", False)
    assert beside(held, other, once) == [(), (0,), (0, 1)]
    assert beside(once, held, ("agents.resume", False), other, ("database.relieve", False), once) == [(), (), (), ()]
    assert beside(held, ("database.relieve", False), once) == [(), (0,)]
    assert beside(("agents.pause", True), other, ("control_plane.crash", True)) == [(), (), ()]
