"""What `prepare` makes and says. That it runs is what every other test here shows."""

import json
import os
import subprocess
import sys

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA, Options, prepare


def test_a_folder_is_filled_and_its_processes_are_told(tmp_path):
    made = prepare(tmp_path / "it", Options(authentication=True, registry="file", defect="shared-id"))
    assert [process.name for process in made.processes] == [AGENT, DATA, CONTROL]
    assert len({process.port for process in made.processes}) == 3
    assert {process.env["REPRISE_LAB_DEFECT"] for process in made.processes} == {"shared-id"}
    assert made.process(DATA).env["SESSION_AGENT_ENDPOINT"] == made.session_agent
    assert made.process(CONTROL).env["DATA_PLANE_URL"] == made.data_plane
    assert made.process(CONTROL).env["DATABASE_URL"] == made.database
    assert made.process(DATA).env["WORKSPACE_ROOT"] == made.workspaces == str(tmp_path / "it" / "workspaces")
    assert made.token
    assert (tmp_path / "it").stat().st_mode & 0o777 == 0o700


def test_its_command_line_says_the_same_as_json(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "chaosreprise.lab.sandbox", "prepare", str(tmp_path / "it"), "--runtime", "node"],
        env=os.environ | {"REPRISE_LAB_DEFECT": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert (said["runtime"], said["driver"], said["token"], said["registry"]) == ("node", "sqlite", "", "")
    assert [sorted(process) for process in said["processes"]] == [
        ["command", "env", "health", "log", "name", "port", "stop_signal"]
    ] * 3


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(BadInput, match="is not empty"):
        prepare(tmp_path, Options())
    with pytest.raises(BadInput, match="no such defect"):
        prepare(tmp_path / "it", Options(defect="x"))
    with pytest.raises(BadInput, match="can't be made"):
        prepare(tmp_path / "mine" / "it", Options())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_two_sandboxes_draw_different_ports_while_the_first_one_runs(sandbox, tmp_path):
    here = {process.port for process in sandbox.made.processes}
    there = {process.port for process in prepare(tmp_path / "it", Options()).processes}
    assert not here & there
