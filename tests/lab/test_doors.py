"""Which control plane an agent tries next."""

import time

from chaosreprise.lab.doors import Doors
from chaosreprise.lab.settings import Settings

SETTINGS = Settings(
    id="lab",
    agents=["a1", "a2", "a3"],
    users=["user01"],
    heartbeat_s=1.0,
    reconcile_s=0.5,
    backoff_s=0.2,
    control_port=1000,
    database_port=1002,
    links={f"agents/{agent}": [1001, 1003] for agent in ("a1", "a2", "a3")},
    agent_ports={},
    more_control_ports=[1004],
)


def doors_of(agent):
    return Doors(SETTINGS.doors_of(agent), 3.0)


def test_agents_begin_at_different_control_planes():
    begin = [doors_of(agent).here for agent in SETTINGS.agents]
    assert begin == [f"http://127.0.0.1:{port}/api/v1/agents" for port in (1001, 1003, 1001)]


def test_one_that_was_there_and_is_gone_is_left_for_the_next():
    doors = doors_of("a2")
    doors.reached()
    doors.turn()
    assert doors.here == "http://127.0.0.1:1001/api/v1/agents"
    doors.turn()
    assert doors.here == "http://127.0.0.1:1003/api/v1/agents"


def test_one_that_never_was_there_is_waited_for_a_while(monkeypatch):
    doors = doors_of("a2")
    doors.turn()
    assert doors.here == "http://127.0.0.1:1003/api/v1/agents"
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 6)
    doors.turn()
    assert doors.here == "http://127.0.0.1:1001/api/v1/agents"


def test_who_has_nowhere_else_to_go_stays_and_waits_for_ever():
    alone = Doors([1001], 3.0)
    alone.reached()
    alone.turn()
    assert (alone.here, alone.silence_s) == ("http://127.0.0.1:1001/api/v1/agents", None)
    assert doors_of("a1").silence_s == 3.0
