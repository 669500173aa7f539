"""Agents that freeze and come back as zombies, die again and again, or are all away: nothing is lost, nothing is done twice."""

import time
from collections import Counter

import labtraffic
import pytest

pytestmark = pytest.mark.long


def declared_away(lab, agent):
    return lab.call("GET", f"/admin/agents/{agent}").json().get("status") == "offline"


def replayed(lab, since):
    """How many commands have been sent more than once."""
    sent = Counter(line["command"] for line in lab.log() if line["event"] == "command-sent" and line["t"] > since)
    return sum(times > 1 for times in sent.values())


@pytest.mark.thorough
def test_a_zombie_acts_once_on_what_it_was_sent_and_in_the_order_of_all_that_was_accepted(lab, until):
    first, second, third, fourth = lab.running_on("a1", 4)
    lab.change(fourth, "hibernate")
    lab.wait(fourth, "hibernated")
    begin = time.monotonic_ns()
    with lab.paused("agents/a1"):
        commands = [lab.change(fourth, "wake"), lab.change(first, "hibernate"), lab.change(second, "stop")]
        until(lambda: declared_away(lab, "a1"), "a1 is declared away")
        commands += [lab.change(fourth, "stop"), lab.change(first, "stop")]
        commands += [lab.change(third, "hibernate"), lab.change(third, "stop")]
        assert {lab.agent_of(lab.running(f"user1{number}")) for number in range(3)} == {"a2", "a3"}
        assert lab.statuses(commands).keys() <= {"pending", "sent"}
    lab.wait_done(commands)
    assert any(line["event"] == "agent-offline" and line["t"] > begin for line in lab.log())
    assert lab.marks(fourth) == ["made", "up", "down", "up", "down", "gone"]
    assert [lab.marks(name) for name in (first, second, third)] == [["made", "up", "down", "gone"]] * 3
    until(lambda: lab.online() == 3, "a1 is online again")


@pytest.mark.thorough
def test_zombies_lose_nothing_and_repeat_nothing_whenever_they_freeze(lab, until):
    begin = time.monotonic_ns()
    with labtraffic.Traffic(lab, seed=11, clients=9, pause_s=0.05) as traffic:
        for agent in ("a1", "a2", "a3"):
            traffic.more(10)
            with lab.paused(f"agents/{agent}"):
                until(lambda agent=agent: declared_away(lab, agent), f"{agent} is declared away")
                traffic.more(5)
        until(lambda: lab.online() == 3, "all agents are online again")
    labtraffic.judge(lab, traffic, until)
    assert replayed(lab, begin) >= 3, "too few were replayed for this to mean anything"


def test_an_agent_that_dies_each_time_it_comes_back_loses_nothing(lab, until):
    with labtraffic.Traffic(lab, seed=12, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        was = lab.kill("agents/a2")
        for _ in range(4):
            lab.back("agents/a2", was)
            was = lab.kill("agents/a2")
        lab.back("agents/a2", was)
        traffic.more(5)
    labtraffic.judge(lab, traffic, until)


def test_without_any_agent_starts_are_refused_and_commands_wait(lab, until):
    agents = [f"agents/{agent}" for agent in lab.settings["agents"]]
    with labtraffic.Traffic(lab, seed=13, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        with lab.away(*agents):
            until(lambda: lab.online() == 0, "nobody is online")
            answer = lab.create("user01")
            assert (answer.status_code, answer.json()["error"]) == (503, "No agents available")
            seen = len(traffic.tries)
            until(lambda: len(traffic.tries) > seen + 12, "each client has tried something")
            assert lab.sql("select 1 from agent_commands where status <> 'completed'")
        traffic.more(10)
    labtraffic.judge(lab, traffic, until)


@pytest.mark.thorough
def test_an_agent_without_file_descriptors_recovers_when_it_has_some_again(lab, until):
    with labtraffic.Traffic(lab, seed=14, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        with lab.starved("agents/a3"):
            until(lambda: waiting_for(lab, "a3"), "a start or wake of a3 waits")
            time.sleep(0.3)
            assert waiting_for(lab, "a3")
        until(lambda: not waiting_for(lab, "a3"), "it goes on")
        traffic.more(5)
    labtraffic.judge(lab, traffic, until)


def waiting_for(lab, agent):
    """What an agent has acknowledged and can't say to be done, since it can't reach the session's interpreter."""
    return lab.sql(
        "select 1 from agent_commands where agent_id = %s and status = 'ack' and action in ('start_session', 'wake_session') "
        "and acknowledged_at < (now() at time zone 'utc') - interval '0.2 s'",
        agent,
    )
