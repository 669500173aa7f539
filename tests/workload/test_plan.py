"""The plan of a load: pure, reproducible, inside the budget."""

from collections import Counter

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.workload.asks import Asks
from chaosreprise.workload.plan import Plan, Workload, make

EXPOSURE = {"stop": 5, "hibernate": 5, "wake": 5}
AGENTS = ["a1", "a2", "a3"]
USERS = [f"u{n}" for n in range(12)]


def plan(
    workload: Workload | None = None,
    exposure: dict[str, int] | None = None,
    seed: int = 1,
    sessions: int = 48,
    rps: float = 200,
) -> Plan:
    return make(workload or Workload(), EXPOSURE if exposure is None else exposure, AGENTS, USERS, sessions, rps, seed)


def test_the_default_load_makes_48_sessions_with_n_plus_1_of_each_in_reserve_on_every_agent() -> None:
    made = plan()
    assert (made.starts, made.reserve, made.per_agent) == (48, 6, 14)
    assert made.queue == 4 * 6


def test_more_sessions_than_its_users_may_have_are_refused_before_anything_is_made() -> None:
    assert make(Workload(), EXPOSURE, AGENTS, USERS, 48, 200, 1, a_user=4).starts == 48
    with pytest.raises(
        BadInput, match=r"48 sessions are needed: budget.users names 12 for them, of whom each may have 3"
    ):
        make(Workload(), EXPOSURE, AGENTS, USERS, 48, 200, 1, a_user=3)


def test_a_crowd_comes_for_a_user_who_has_no_other_sessions() -> None:
    made = make(Workload(sessions=60, crowd=12), EXPOSURE, AGENTS, USERS, 60, 200, 1, a_user=5)
    assert (made.starts, made.crowd, made.crowded, made.users) == (60, 12, "u11", USERS[:-1])
    with pytest.raises(BadInput, match=r"name two in budget\.users"):
        make(Workload(sessions=60, crowd=12), EXPOSURE, AGENTS, USERS[:1], 60, 200, 1)


def test_creates_ask_in_the_shares_that_are_stated_and_for_each_value_in_its_turn() -> None:
    asks = Asks({"cluster": 0.2, "region": 0.4}, {"cluster": {"c1", "c2"}, "region": {"r1"}, "platform": {"vm"}})
    asked = Counter(tuple(asks.next().items()) for _ in range(40))
    assert asked == {(): 16, (("cluster", "c1"),): 4, (("cluster", "c2"),): 4, (("region", "r1"),): 16}
    nowhere = Asks({"cluster": 1.0}, {"cluster": set(), "region": set(), "platform": set()})
    assert nowhere.next() == {}, "what no agent has nobody asks for"


def test_sleepers_and_creates_count_among_the_sessions_and_in_the_queue() -> None:
    made = plan(Workload(sessions=100, reserve=1, sleepers=4, creates=20), sessions=100)
    assert (made.per_agent, made.starts) == (2 + 2 + 4, 3 * (8 + 2) + 2 * 20)
    assert made.queue == 2 * (3 + 20)


@pytest.mark.parametrize("more", [{"sleepers": 1}, {"creates": 1}])
def test_where_sessions_can_not_be_hibernated_neither_goes(more: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=f"workload.{next(iter(more))} = 1: goes only where sessions can be hibernated"):
        make(Workload(**more), {"step": 1}, ["a1"], [], 48, 200, 1, hibernates=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workload": Workload(asks={"cluster": 0.7, "region": 0.7})}, "1.4 in all: one create asks for one thing"),
        ({"workload": Workload(sleepers=1, creates=2)}, "6 in reserve . 1 that sleep . 2 cycles. . 2 x 2 creates"),
        ({"sessions": 47}, "48 sessions are needed"),
        ({"workload": Workload(sessions=40)}, "workload.sessions = 40"),
        ({"rps": 40}, "45 requests per second: budget.max_rps = 40"),
        ({"workload": Workload(mix={"stop": 1})}, "workload.mix.stop: not an open-loop operation"),
        (
            {"exposure": {"start": 5}},
            "exposure.start: this platform can't be exposed to a fault by it: known are stop, hibernate, wake",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sum(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        plan(**arguments)  # type: ignore[arg-type]
