"""Two control planes share one database: what either accepts is done once, by an agent of either, whoever of them dies."""

import signal
import statistics
import time

import httpx
import labtraffic
import pytest

pytestmark = pytest.mark.long
LAB = {"control_planes": 2, "agents": 4}
FIRST, SECOND = "control-plane", "control-plane/2"
OFFLINE_S = 0.6  # three heartbeats of these labs
SLOW_ROUND_S = 5.0  # of a lab whose control planes look by themselves so seldom that it shows who was told


def have(lab):
    """Who has which agent, as the rows say."""
    rows = lab.sql("select agent_id, control_plane from agents where status = 'online' order by agent_id")
    return {row["agent_id"]: row["control_plane"] for row in rows}


def spread(lab, until):
    """Each agent back where it begins: those that have moved are started again."""
    wanted = {"a1": FIRST, "a2": SECOND, "a3": FIRST, "a4": SECOND}
    for agent, where in wanted.items():
        if have(lab).get(agent) != where:
            lab.back(f"agents/{agent}", lab.kill(f"agents/{agent}"))
    until(lambda: have(lab) == wanted, f"agents are spread, but {have(lab)}")


def test_agents_are_spread_and_sessions_are_placed_on_all_of_them(lab, until):
    spread(lab, until)
    names = [lab.running(f"user{number:02d}") for number in range(1, 9)]
    assert {lab.agent_of(name) for name in names} == {"a1", "a2", "a3", "a4"}


def test_each_of_them_shows_what_the_other_one_was_told(lab):
    name = lab.running()
    other = httpx.Client(base_url=lab.urls[1], headers=lab.http.headers, trust_env=False)
    with other:
        assert other.get(f"/api/v1/sessions/{name}").json()["state"] == "running"
        assert other.delete(f"/api/v1/sessions/{name}").status_code == 202
        assert other.put(f"/api/v1/sessions/{name}/hibernate").status_code == 409
        assert lab.call("DELETE", f"/sessions/{name}").status_code == 409
    lab.wait(name, "terminated")


def test_an_agent_of_the_other_one_is_told_at_once(new_lab, until):
    lab = new_lab(control_planes=2, agents=2, reconcile_s=SLOW_ROUND_S)
    assert have(lab) == {"a1": FIRST, "a2": SECOND}
    took = []
    for user in range(1, 9):
        began = time.monotonic()
        name = lab.running(f"user{user:02d}")
        took += [time.monotonic() - began] if lab.agent_of(name) == "a2" else []
    assert len(took) == 4
    assert statistics.median(took) < SLOW_ROUND_S / 5


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        (FIRST, signal.SIGKILL),
        pytest.param(SECOND, signal.SIGTERM, marks=pytest.mark.thorough),
        pytest.param(FIRST, signal.SIGTERM, marks=pytest.mark.thorough),
        pytest.param(SECOND, signal.SIGKILL, marks=pytest.mark.thorough),
    ],
)
def test_what_either_accepts_is_done_once_when_one_of_them_ends(lab, until, victim, number):
    spread(lab, until)
    with labtraffic.Traffic(lab, seed=number, clients=9, pause_s=0.05) as traffic:
        for _ in range(3):
            traffic.more(10)
            lab.back(victim, lab.kill(victim, number))
            traffic.more(10)
        until(lambda: len(have(lab)) == 4, "the agents are back")
    labtraffic.judge(lab, traffic, until)


def test_the_agents_of_one_that_dies_go_to_the_other_and_nobody_else_is_called_offline(lab, until):
    spread(lab, until)
    was = lab.kill(SECOND)
    until(lambda: have(lab) == dict.fromkeys(("a1", "a2", "a3", "a4"), FIRST), "all are at the first one")
    lab.back(SECOND, was)
    end = time.monotonic() + 2 * OFFLINE_S
    while time.monotonic() < end:
        assert have(lab) == dict.fromkeys(("a1", "a2", "a3", "a4"), FIRST)


@pytest.mark.parametrize("victim", [FIRST, pytest.param(SECOND, marks=pytest.mark.thorough)])
def test_one_that_was_frozen_does_not_speak_for_agents_that_have_left_it(lab, until, victim):
    spread(lab, until)
    other = SECOND if victim == FIRST else FIRST
    with labtraffic.Traffic(lab, seed=5, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        with lab.paused(victim):
            moved = dict.fromkeys(("a1", "a2", "a3", "a4"), other)
            until(lambda: have(lab) == moved, f"all agents are at {other}")
        traffic.more(20)
        assert have(lab) == moved
    labtraffic.judge(lab, traffic, until)


@pytest.mark.thorough
def test_both_of_them_and_agents_of_either_that_die_at_once_come_back(lab, until):
    spread(lab, until)
    with labtraffic.Traffic(lab, seed=6, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        for name in ("agents/a1", FIRST, "agents/a2", SECOND):
            lab.kill(name)
        traffic.more(10)
        until(lambda: len(have(lab)) == 4, "the agents are back")
    labtraffic.judge(lab, traffic, until)
