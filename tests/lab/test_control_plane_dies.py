"""The control plane is killed, asked to end, frozen and starved in the middle of its work: what it accepted is done once."""

import errno
import signal
import socket
import time

import httpx
import labtraffic
import pytest

pytestmark = pytest.mark.long
OFFLINE_S = 0.6  # three heartbeats of these labs


@pytest.mark.thorough
def test_commands_survive_the_end_of_the_control_plane(lab, until):
    with labtraffic.Traffic(lab, seed=1, clients=9, pause_s=0.05) as traffic:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            traffic.more(10)
            was = lab.kill("control-plane", number)
            lab.back("control-plane", was)
            traffic.more(5)  # with the token of before
        until(lambda: lab.online() == 3, "the agents are back")
    labtraffic.judge(lab, traffic, until)
    assert {one.status for one in traffic.tries} <= {0, 202, 409, 500, 503}


def test_who_calls_while_the_control_plane_is_down_has_no_connection(lab):
    was, seen = lab.kill("control-plane"), []
    while (now := lab.component("control-plane")).inc in (None, was):
        with socket.socket() as client:
            connected = client.connect_ex(("127.0.0.1", lab.settings["control_port"]))
        if now.inc is None and lab.component("control-plane").inc is None:
            seen.append(connected)
    assert set(seen) == {errno.ECONNREFUSED}
    lab.back("control-plane", was)


def test_commands_for_an_agent_that_is_away_survive_the_end_of_the_control_plane_in_their_order(lab, until):
    names = lab.running_on("a2", 3)
    with lab.away("agents/a2"):
        commands = [lab.change(name, verb) for name in names for verb in ("hibernate", "stop")]
        for number in (signal.SIGKILL, signal.SIGTERM):
            lab.back("control-plane", lab.kill("control-plane", number))
        until(lambda: lab.online() == 2, "the other agents are back")
        assert lab.statuses(commands) == {"pending": len(commands)}
    lab.wait_done(commands)
    assert {tuple(lab.marks(name)) for name in names} == {("made", "up", "down", "gone")}
    done = [lab.command(number)["completed_at"] for number in commands]
    assert done == sorted(done)


def test_a_control_plane_and_all_agents_that_are_killed_at_once_come_back(lab, until):
    with labtraffic.Traffic(lab, seed=2, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        for name in ("agents/a1", "control-plane", "agents/a2", "agents/a3"):
            lab.kill(name)
        traffic.more(10)
        until(lambda: lab.online() == 3, "the agents are back")
    labtraffic.judge(lab, traffic, until)


def test_a_control_plane_that_was_frozen_goes_on(lab, until):
    with labtraffic.Traffic(lab, seed=3, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        with lab.paused("control-plane"):
            time.sleep(2 * OFFLINE_S)
        traffic.more(5)
        until(lambda: lab.online() == 3, "the agents are online")
    labtraffic.judge(lab, traffic, until)
    assert {one.status for one in traffic.tries} <= {202, 409, 503}


@pytest.mark.thorough
def test_a_control_plane_without_file_descriptors_recovers_when_it_has_some_again(lab, until):
    name = lab.running()  # the connection that this took is kept
    with labtraffic.Traffic(lab, seed=4, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        with lab.starved("control-plane"):
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(f"{lab.url}/health", trust_env=False, timeout=0.5)
            assert lab.step(name, "1").status_code == 500
            lab.kill("agents/a1")
            time.sleep(0.5)
        assert httpx.get(f"{lab.url}/health", trust_env=False, timeout=20).status_code == 200
        until(lambda: lab.online() == 3, "the agents are online")
    labtraffic.judge(lab, traffic, until)
