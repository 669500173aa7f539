"""SIGKILL of the tool at any moment leaves no fault and no process."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from runs import CHAOS, CLEAN, Begin, Running, processes_of

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
MOMENTS = [
    "segment",
    "contract",
    "baseline",
    "armed",
    "injected",
    "proven",
    "undoing",
    "undone",
    "drain",
    "clean",
    "close",
]
GONE_S = 15.0


def wait_for(running: Running, moment: str) -> None:
    if moment in ("armed", "injected", "proven", "undoing", "undone"):
        running.until_fault(moment)
    else:
        running.until("owner", lambda event: moment in (event["type"], event.get("name")))


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment_of_a_run_on_its_own_lab_nothing_is_left(
    moment: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    state = tmp_path / "state"
    platform = tmp_path / "lab.toml"
    platform.write_text(
        'version = 1\nkind = "embedded"\nname = "embedded"\n[lab]\nheartbeat_s = 0.2\nreconcile_s = 0.05\n'
    )
    running = begin(platform, XDG_STATE_HOME=str(state))
    wait_for(running, moment)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + GONE_S
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(tmp_path) == {}
    healed = subprocess.run(
        [CHAOS, "reprise", "heal"], env={**CLEAN, "XDG_STATE_HOME": str(state)}, capture_output=True, text=True
    )
    assert (healed.returncode, healed.stdout.splitlines()[-1:]) == (0, ["clean"]), healed
    assert list((state / "reprise" / "stacks").iterdir()) == []


@pytest.mark.parametrize("moment", ["armed", "injected", "proven", "undoing"])
def test_killed_while_an_agent_of_a_kept_lab_is_away_it_comes_back_and_the_next_run_passes(
    moment: str, lab: starter.Stack, begin: Begin
) -> None:
    running = begin(lab.platform_file, folder="killed")
    victim = wait_for_victim(running, moment)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        with Keeper(lab.address) as keeper:
            component = next(component for component in keeper.status().components if component.name == victim)
        if component.state == "up" and component.held_by is None:
            break
        time.sleep(0.05)
    assert (component.state, component.held_by) == ("up", None)
    ran = begin(lab.platform_file, folder="next").finish()
    assert ran.code == 0, ran


def wait_for_victim(running: Running, moment: str) -> str:
    wait_for(running, moment)
    plan = json.loads((running.folder / "runs" / "latest" / "plan.json").read_text())
    return str(plan["target"]["name"])
