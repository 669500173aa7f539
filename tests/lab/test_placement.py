"""Where sessions and their commands go: evenly over the agents, and each command to the agent of its session."""

import concurrent.futures
import itertools
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


def asked_for(lab, user, **where):
    """The agent of a session that asks for this."""
    answer = lab.create(user, **where)
    assert answer.status_code == 202, answer.text
    return lab.agent_of(answer.json()["name"])


def test_a_create_gets_the_cluster_and_the_platform_that_it_asks_for_and_the_region_where_that_can_be(new_lab):
    lab = new_lab(agents=4, regions=2, clusters=2, agent_platforms=2)
    rows = lab.sql("select agent_id, cluster_id, region, platform from agents order by agent_id")
    assert [tuple(row.values()) for row in rows] == [
        ("a1", "c1", "r1", "docker"),
        ("a2", "c1", "r2", "kubernetes"),
        ("a3", "c2", "r1", "kubernetes"),
        ("a4", "c2", "r2", "docker"),
    ]
    users = itertools.cycle(lab.settings["users"])
    for key, column in (("cluster", "cluster_id"), ("region", "region"), ("platform", "platform")):
        for value in sorted({row[column] for row in rows}):
            fit = {row["agent_id"] for row in rows if row[column] == value}
            assert {asked_for(lab, next(users), **{key: value}) for _ in range(3)} == fit, "and both of them"
    assert asked_for(lab, next(users), cluster="c1", platform="kubernetes") == "a2"
    assert asked_for(lab, next(users), cluster="c1", region="r1") == "a1"
    with lab.away("agents/a1", "agents/a2"):
        for asked in ({"cluster": "c1"}, {"cluster": "c3"}, {"cluster": "c2", "platform": "vm"}):
            refused = lab.create(next(users), **asked)
            assert (refused.status_code, refused.json()["error"]) == (503, "No agents available")
        assert asked_for(lab, next(users), cluster="c2", region="r3") in ("a3", "a4"), "a region is a wish"


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
