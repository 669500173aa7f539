"""The plan of a load: pure, reproducible, inside the budget."""

import pytest

from chaosreprise.errors import BadInput
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
