"""Where sessions and their commands go: evenly over the agents, and each command to the agent of its session."""

import concurrent.futures
from collections import Counter

import psycopg
import pytest

AGENTS = 3
VERBS = {"hibernate": "hibernated", "wake": "running", "stop": "terminated"}


def at_once(lab, count):
    """The names of so many sessions that are asked for at once."""
    users = [lab.settings["users"][number % len(lab.settings["users"])] for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lab.create, users))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["name"] for answer in answers]


@pytest.mark.parametrize("count", [10, 15])
def test_creates_at_once_are_spread_and_each_command_goes_to_the_agent_of_its_session(lab, count):
    names = at_once(lab, count)
    spread = Counter(lab.agent_of(name) for name in names)
    assert len(spread) == AGENTS
    assert max(spread.values()) - min(spread.values()) <= 1
    for name in names:
        lab.wait(name, "running")
    for verb, state in VERBS.items():
        for name in names:
            lab.change(name, verb)
        for name in names:
            lab.wait(name, state)
    commands = lab.sql(
        "select c.action, c.status, c.agent_id = s.agent_id as own from agent_commands c "
        "join sessions s on s.id = c.session_id where s.id = any(%s)",
        names,
    )
    actions = ("start_session", "hibernate_session", "wake_session", "stop_session")
    assert Counter(command["action"] for command in commands) == dict.fromkeys(actions, count)
    assert {(command["status"], command["own"]) for command in commands} == {("completed", True)}


def test_ten_creates_at_once_on_one_agent_are_ten_sessions_wherever_they_are_counted(new_lab):
    lab = new_lab(agents=1)
    names = at_once(lab, 10)
    for name in names:
        lab.wait(name, "running")
    rows = lab.sql("select id, agent_id from sessions where state = 'running'")
    assert {(row["id"], row["agent_id"]) for row in rows} == {(name, "a1") for name in names}
    listed = lab.call("GET", "/sessions").json()
    assert (listed["total"], {session["name"] for session in listed["sessions"]}) == (10, set(names))
    assert {name for name in names if lab.slot(name).processes} == set(names)


def test_a_session_without_an_agent_is_listed_and_read_and_can_not_be_stopped(lab):
    name = lab.running()
    agent = lab.agent_of(name)
    with psycopg.connect(lab.secret("control.dsn"), autocommit=True) as rows:
        rows.execute("update sessions set agent_id = null where id = %s", (name,))
        try:
            assert name in [session["name"] for session in lab.call("GET", "/sessions").json()["sessions"]]
            assert lab.call("GET", f"/sessions/{name}").status_code == 200
            refused = lab.call("DELETE", f"/sessions/{name}")
            assert (refused.status_code, refused.json()["error"]) == (409, "Session not ready")
            assert lab.state(name) == "running"
        finally:
            rows.execute("update sessions set agent_id = %s where id = %s", (agent, name))
