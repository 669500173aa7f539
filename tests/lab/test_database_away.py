"""Without its database the control plane says so, soon, and never that something does not exist; then it goes on by itself."""

import concurrent.futures
import os
import signal
import time

import labtraffic
import pytest

from chaosreprise.procs import send_signal

LIMIT_S = 4.0


@pytest.fixture
def session(lab):
    name = lab.running()
    lab.step(name, "x = 1")
    return name


def calls(lab, name):
    """Every call that needs the database."""
    return {
        "login": lambda: lab.call("POST", "/auth/login", {"username": "admin", "password": lab.secret("admin")}),
        "list": lambda: lab.call("GET", "/sessions"),
        "get": lambda: lab.call("GET", f"/sessions/{name}"),
        "get unknown": lambda: lab.call("GET", "/sessions/user01-python-00000000"),
        "create": lambda: lab.create("user02"),
        "create for a stranger": lambda: lab.create("stranger"),
        "hibernate": lambda: lab.call("PUT", f"/sessions/{name}/hibernate"),
        "wake": lambda: lab.call("PUT", f"/sessions/{name}/wake"),
        "stop": lambda: lab.call("DELETE", f"/sessions/{name}"),
        "step": lambda: lab.step(name, "x += 1"),
        "agents": lambda: lab.call("GET", "/admin/agents"),
        "agent": lambda: lab.call("GET", "/admin/agents/a1"),
    }


def test_without_the_database_every_call_fails_soon_and_works_again_when_it_is_back(lab, session, until):
    with lab.away("database"):
        for what, call in calls(lab, session).items():
            begin = time.monotonic()
            answer = call()
            assert answer.status_code == 503, what
            assert "Database unavailable" in answer.text
            assert time.monotonic() - begin < LIMIT_S, what
        assert lab.http.get("/health").status_code == 200
    begin = time.monotonic()
    until(lambda: lab.state(session) == "running", "the control plane has its database again")
    assert time.monotonic() - begin < 1
    assert lab.step(session, "print(x)").json()["stdout"] == "1\n"
    until(lambda: lab.call("GET", "/admin/agents?status=online").json()["total"] == 3, "the agents are back")
    lab.change(session, "hibernate")
    lab.wait(session, "hibernated")
    assert lab.marks(session) == ["made", "up", "down"]


def test_a_database_that_hangs_is_given_up_in_time(lab, session, until):
    postgres = lab.component("database").inc.pid
    with open(f"/proc/{postgres}/task/{postgres}/children") as children:
        tree = [postgres, *map(int, children.read().split())]
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda call: call(), calls(lab, session).values()))
        assert {answer.status_code for answer in answers} == {503}
        assert time.monotonic() - begin < LIMIT_S
    finally:
        for pid in tree:
            os.kill(pid, signal.SIGCONT)
    until(
        lambda: lab.state(session) in ("running", "terminating", "terminated"),
        "the control plane has its database again",
    )


def test_commands_that_were_accepted_survive_the_kill_of_the_database(lab, session, until):
    agent = f"agents/{lab.agent_of(session)}"
    with lab.away(agent):
        number = lab.change(session, "hibernate")
        send_signal(lab.component("database").inc, signal.SIGKILL)
        until(lambda: lab.component("database").state == "up" and lab.component("database").restarts, "it is back")
    until(lambda: lab.command(number)["status"] == "completed", "the command is done")
    assert lab.marks(session) == ["made", "up", "down"]


@pytest.mark.thorough
@pytest.mark.long
def test_nothing_is_lost_or_doubled_although_the_database_is_killed_and_restarted(lab, until):
    with labtraffic.Traffic(lab, seed=21, clients=9, pause_s=0.05) as traffic:
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            traffic.more(10)
            was = lab.kill("database", number)
            lab.back("database", was)
            traffic.more(10)
        until(lambda: lab.online() == 3, "the agents are back")
    labtraffic.judge(lab, traffic, until)
    assert {one.status for one in traffic.tries} <= {202, 409, 500, 503}
    assert max(one.took_s for one in traffic.tries) < LIMIT_S


@pytest.mark.long
def test_a_control_plane_and_a_database_that_are_killed_at_once_come_back(lab, until):
    with labtraffic.Traffic(lab, seed=22, clients=9, pause_s=0.05) as traffic:
        traffic.more(10)
        lab.kill("database")
        lab.kill("control-plane")
        traffic.more(10)
        until(lambda: lab.online() == 3, "the agents are back")
    labtraffic.judge(lab, traffic, until)
