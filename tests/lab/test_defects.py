"""Each planted defect really acts. What the lab does without one in the same scene stands in test_commands."""

import json
import os
import subprocess
import sys

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.lab import defects

pytestmark = pytest.mark.long
START = ["made", "up"]


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


def test_replay_completed_makes_slots_again(new_lab, until):
    lab = new_lab("replay-completed", agents=2)
    awake, asleep, commands, _ = scene(lab, until)
    until(lambda: statuses(lab, commands) == ["completed"] * 2, "both are done")
    assert lab.marks(awake) == [*START, *START, "down", "down"]  # the first `up` and the second: two interpreters ended
    assert lab.marks(asleep) == [*START, "down", *START, "down", "up"]


def test_a_name_that_is_not_known_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(
        BadInput, match=r"did you mean replay-twice.*drop-queue, fail-when-away, replay-twice, replay-completed"
    ):
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
    assert {entry["name"]: entry["check"] for entry in json.loads(listed("--json"))} == {
        "drop-queue": "lost",
        "fail-when-away": "lost",
        "replay-twice": "duplicate",
        "replay-completed": "duplicate",
    }
    assert len(listed().splitlines()) == 4
