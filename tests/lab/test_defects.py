"""Each planted defect really acts. What the lab does without one in the same scene stands in test_commands."""

import asyncio
import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections import Counter

import pytest

from chaosreprise.checker.registry import checks
from chaosreprise.clock import boottime
from chaosreprise.errors import BadInput
from chaosreprise.lab import (
    agent,
    database,
    defects,
    delivery,
    frames,
    hands,
    lane,
    others,
    outbox,
    roster,
    sockets,
    steps,
    store,
    streams,
)
from chaosreprise.lab.defects.catalogue import ALL
from chaosreprise.lab.sandbox import defects as sandbox
from chaosreprise.procs import myself
from chaosreprise.stack.client import Keeper

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long
START = ["made", "up"]
SEAMS = {
    seam.__name__: seam
    for seam in (
        agent.Agent,
        database.Database,
        delivery.Delivery,
        frames.Frames,
        hands.Hands,
        lane.Lane,
        others.Others,
        outbox.Outbox,
        roster.Roster,
        sockets.Switchboard,
        steps.Steps,
        store.Store,
        streams.Streams,
    )
}


def scene(lab, until):
    """Two sessions of one agent that is away for a while: one gets a hibernate meanwhile, the other a wake."""
    awake, asleep = [name for name in (lab.running(f"user0{n}") for n in range(1, 5)) if lab.agent_of(name) == "a1"][:2]
    lab.change(asleep, "hibernate")
    lab.wait(asleep, "hibernated")
    with lab.away("agents/a1"):
        until(lambda: lab.call("GET", "/admin/agents/a1").json()["status"] == "offline", "a1 is offline")
        commands = [lab.change(awake, "hibernate"), lab.change(asleep, "wake")]
    fresh = next(name for name in (lab.running(f"user0{n}") for n in range(7, 10)) if lab.agent_of(name) == "a1")
    return awake, asleep, commands, fresh


def statuses(lab, commands):
    return [lab.command(number)["status"] for number in commands]


@pytest.mark.thorough
def test_drop_queue_leaves_commands_pending_for_ever(new_lab, until):
    lab = new_lab("drop-queue", agents=2)
    awake, asleep, commands, fresh = scene(lab, until)
    assert statuses(lab, commands) == ["pending"] * 2
    assert [lab.marks(name) for name in (awake, asleep, fresh)] == [START, [*START, "down"], START]
    lab.kill("agents/a1")
    until(
        lambda: lab.component("agents/a1").restarts == 2 and lab.component("agents/a1").state == "up",
        "a1 is back again",
    )
    lab.running("user11")
    assert statuses(lab, commands) == ["pending"] * 2


@pytest.mark.thorough
def test_fail_when_away_closes_commands_as_failed(new_lab, until):
    lab = new_lab("fail-when-away", agents=2)
    awake, asleep, commands, _ = scene(lab, until)
    assert statuses(lab, commands) == ["failed"] * 2
    assert [lab.command(number)["error_message"] for number in commands] == ["agent a1 is not connected"] * 2
    assert [lab.marks(name) for name in (awake, asleep)] == [START, [*START, "down"]]


def test_replay_twice_starts_a_second_interpreter(new_lab, until):
    lab = new_lab("replay-twice", agents=2)
    awake, asleep, commands, fresh = scene(lab, until)
    until(lambda: statuses(lab, commands) == ["completed"] * 2, "both are said to be done")
    until(lambda: lab.marks(asleep) == [*START, "down", "up", "up"], "the wake acted twice")
    assert len(lab.slot(asleep).processes) == 2
    assert [lab.marks(name) for name in (awake, fresh)] == [[*START, "down"], START]


@pytest.mark.thorough
def test_replay_completed_makes_slots_again(new_lab, until):
    lab = new_lab("replay-completed", agents=2)
    awake, asleep, commands, _ = scene(lab, until)
    until(lambda: statuses(lab, commands) == ["completed"] * 2, "both are done")
    assert lab.marks(awake) == [*START, *START, "down", "down"]  # the first `up` and the second: two interpreters ended
    assert lab.marks(asleep) == [*START, "down", *START, "down", "up"]


@pytest.mark.parametrize(
    ("defect", "polite", "status", "acted"),
    [
        pytest.param("", signal.SIGTERM, "completed", True, marks=pytest.mark.thorough),
        ("done-at-the-end", signal.SIGTERM, "completed", False),
        pytest.param("goodbye-is-the-end", signal.SIGTERM, "ack", False, marks=pytest.mark.thorough),
        pytest.param("done-at-the-end", signal.SIGKILL, "completed", True, marks=pytest.mark.thorough),
        pytest.param("goodbye-is-the-end", signal.SIGKILL, "completed", True, marks=pytest.mark.thorough),
    ],
)
def test_what_an_agent_has_in_its_hands_at_a_polite_end(new_lab, until, defect, polite, status, acted):
    lab = new_lab(defect, agents=1, users=2)
    first, second = lab.running("user01"), lab.running("user02")
    with slow(lab, "agents/a1"):
        command = lab.change(first, "hibernate")
        until(lambda: statuses(lab, [command]) == ["ack"], "it is in the agent's hands")
        lab.back("agents/a1", lab.kill("agents/a1", polite))
    lab.change(second, "stop")
    lab.wait(second, "terminated")  # of one agent, in order: what was before that is through
    assert statuses(lab, [command]) == [status]
    assert lab.marks(first) == ([*START, "down"] if acted else START)


@contextlib.contextmanager
def slow(lab, name):
    """An agent has each command in its hands for a minute before it acts."""
    with Keeper(lab.stack.address) as keeper:
        was, how = lab.component(name).inc, {"owners": [myself()], "lease_end": boottime() + 600 * 10**9}
        keeper.hold(name, was, "slow", down=False, env={agent.WORK_S: "60"}, **how)
        lab.kill(name)
        lab.back(name, was)
        yield
        was = lab.component(name).inc
        keeper.release(name, "slow")
        lab.back(name, was)


@pytest.mark.parametrize("told", ["soon", "-1", "61", "nan"])
def test_a_time_for_work_that_is_none_is_refused(monkeypatch, told):
    monkeypatch.setenv(agent.WORK_S, told)
    with pytest.raises(BadInput, match=f"{agent.WORK_S} = '{told}': expected seconds from 0 to 60"):
        agent.work_s()


def test_a_name_that_is_not_known_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(BadInput, match=r"did you mean replay-twice\?.*chaos reprise lab defects"):
        defects.named("replay-twize")
    done = subprocess.run(
        [sys.executable, "-m", "chaosreprise.lab", "prepare", str(tmp_path / "lab")],
        env=os.environ | {"REPRISE_LAB_DEFECT": "x"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_defects_are_listed_for_people_and_for_programs():
    def listed(*how):
        return subprocess.run(
            [sys.executable, "-m", "chaosreprise.lab", "defects", *how], capture_output=True, text=True, check=True
        ).stdout

    assert listed("--names").split() == list(defects.DEFECTS)
    told = {entry["name"]: (entry["check"], entry["experiment"]) for entry in json.loads(listed("--json"))}
    assert told == {name: (defect.check, defect.experiment) for name, defect in defects.DEFECTS.items()}
    assert len(listed().splitlines()) == len(defects.DEFECTS)


def test_each_check_has_two_defects_at_least_and_there_are_twenty():
    assert len(defects.DEFECTS) == len(ALL) >= 20, "names are used once"
    planted = Counter(defect.check for defect in [*ALL, *sandbox.ALL] if defect.experiment)
    assert [check for check in checks() if planted[check] < 2] == []
    assert planted.keys() | {check for defect in ALL for check in defect.also} <= checks().keys()


@pytest.mark.parametrize(
    "defect", [one for one in (*ALL, *sandbox.ALL) if one.experiment], ids=lambda defect: defect.name
)
def test_the_experiment_of_a_defect_asks_for_each_check_that_it_violates(defect):
    stated = json.loads((ROOT / "experiments" / f"{defect.experiment}.json").read_text())
    asked = stated["controls"][0]["provider"]["arguments"]
    assert {defect.check, *defect.also} <= {*asked["require"], *asked["optional"]}
    assert defect.check not in defect.also


def test_each_class_of_a_defect_replaces_the_seam_that_it_is_made_for_and_each_is_used():
    assert all(defect.parts.keys() <= SEAMS.keys() for defect in ALL)
    used = {defect.of(SEAMS[name]) for defect in ALL for name in defect.parts}
    folder = pathlib.Path(defects.__file__).parent
    modules = [importlib.import_module(f"{defects.__name__}.{path.stem}") for path in folder.glob("*.py")]
    made = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, tuple(SEAMS.values())) and found not in SEAMS.values()
    }
    bases = {base for found in used for base in found.__mro__[1:]}
    assert made - bases == used - bases


def test_a_lab_without_a_defect_has_its_own_parts():
    assert [defects.NONE.of(seam) for seam in SEAMS.values()] == list(SEAMS.values())


def test_an_agent_does_not_load_the_libraries_of_the_control_plane():
    code = "import sys, chaosreprise.lab.agent; print([name for name in ('psycopg', 'aiohttp.web') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_on_detection_names_each_defect_with_its_check_and_each_experiment():
    page = (ROOT / "docs" / "detection.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    told = {row[0]: (row[1].split()[0], row[2]) for row in rows if len(row) == 6 and row[0] != "defect"}
    elsewhere = {"sandbox-pods", "agent-rollout", "agent-evicted", "agent-container-killed"}
    planted = [one for one in (*ALL, *sandbox.ALL) if one.experiment and one.experiment not in elsewhere]
    assert told == {one.name: (one.check, one.experiment) for one in planted}
    clean = [row[0] for row in rows if len(row) == 4 and row[0] != "experiment"]
    assert clean == sorted({path.stem for path in (ROOT / "experiments").glob("*.json")} - elsewhere)
    assert all(f"`{name}`" in page for name in elsewhere | {one.name for one in ALL if one.experiment in elsewhere})


class Queue:
    """The commands of one agent, as an outbox shows them to a delivery."""

    def __init__(self, *actions):
        self.commands = [store.Command(f"c{n}", "a1", "s1", action, {}) for n, action in enumerate(actions, 1)]

    async def unfinished(self, agent):
        return [command for command in self.commands if command.status != "completed"]

    async def pending(self, agent):
        return [command for command in self.commands if command.status == "pending"]

    def mark(self, delivered, status):
        names = {command.id for command in delivered}
        self.commands = [one._replace(status=status) if one.id in names else one for one in self.commands]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("StopsFirst", [["c2", "c4"], ["c1", "c3"], ["c5"]]),
        ("NewestFirst", [["c4"], ["c3"], ["c2"], ["c1"], ["c5"]]),
        ("Trickle", [["c1"], ["c2"], ["c3"], ["c4"], ["c5"]]),
    ],
)
def test_a_backlog_delivers_each_command_once_in_its_own_order_and_then_what_is_new(kind, parts, monkeypatch):
    planted = importlib.import_module("chaosreprise.lab.defects.delivery")
    monkeypatch.setattr(planted, "PAUSE_S", 0.0)
    queue = Queue("hibernate_session", "stop_session", "wake_session", "stop_session")

    async def deliver():
        delivered = []
        behind = getattr(planted, kind)(queue)
        look = behind.on_connect
        queue.commands[0] = queue.commands[0]._replace(status="sent")  # on its way when the agent went
        for _ in range(3 * len(parts)):
            part = await look("a1")
            look = behind.afterwards
            delivered += [[command.id for command in part]] if part else []
            queue.mark(part, "sent")
            queue.mark(part, "completed")
            if len(delivered) == 1 and len(queue.commands) == 4:
                queue.commands.append(store.Command("c5", "a1", "s2", "stop_session", {}))
        return delivered

    assert asyncio.run(deliver()) == parts


def test_what_was_handed_over_once_and_not_acknowledged_is_not_given_to_the_next_connection():
    planted = importlib.import_module("chaosreprise.lab.defects.delivery")
    queue = Queue("wake_session", "hibernate_session", "stop_session")

    async def connections():
        behind = planted.HandedOverOnce(queue)
        first = await behind.on_connect("a1")
        queue.mark(first, "sent")
        queue.mark(first[:1], "ack")
        queue.commands.append(store.Command("c4", "a1", "s2", "stop_session", {}, "sent"))
        return first, await behind.on_connect("a1")

    first, second = asyncio.run(connections())
    assert [[command.id for command in part] for part in (first, second)] == [["c1", "c2", "c3"], ["c1", "c4"]]
