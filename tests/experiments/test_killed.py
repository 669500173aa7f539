"""SIGKILL of the tool at any moment of a run on a lab of its own leaves no fault and no process.

On a kept lab, at each state of a fault, and of the warden and the keeper too: `scripts/torture`.
"""

import os
import pathlib
import signal
import subprocess
import time

import pytest
from runs import CHAOS, CLEAN, Begin, Running, processes_of

pytestmark = pytest.mark.long
GONE_S = 15.0


def wait_for(running: Running, moment: str) -> None:
    if moment == "proven":
        running.until_fault(moment)
    else:
        running.until("owner", lambda event: moment in (event["type"], event.get("name")))


@pytest.mark.parametrize(
    "moment",
    [pytest.param("contract", marks=pytest.mark.thorough), "proven", pytest.param("close", marks=pytest.mark.thorough)],
)
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
