"""Whom a fault hits follows from the seed alone."""

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.run import method, plan

AGENTS = ["a1", "a2", "a3"]


def chosen(seed: int, **given: object) -> list[str]:
    return plan.choose(method.wanted("agents.take_away", given), AGENTS, seed)


def test_the_seed_draws_the_victims_in_one_order_for_all_faults_of_a_run() -> None:
    assert {chosen(seed)[0] for seed in range(30)} == set(AGENTS)
    for seed in range(30):
        everybody = chosen(seed, count="all")
        assert sorted(everybody) == AGENTS
        assert [chosen(seed, count=n) for n in (1, 2)] == [everybody[:1], everybody[:2]]
        assert chosen(seed, agent="a2", count=2)[0] == "a2"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"agent": "a9"}, "agents.take_away: agent = 'a9': expected one of a1, a2, a3"),
        ({"count": 4}, "agents.take_away: count = 4: there are 3 of them: ask for fewer"),
    ],
)
def test_who_is_not_there_is_not_hit(given: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        chosen(1, **given)
