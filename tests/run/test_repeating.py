"""`chaos reprise repeat` where it can't run anything: one clear sentence, exit 3, and nothing is taken for a result."""

import json
import pathlib
import subprocess

import pytest
from runs import CHAOS, CLEAN, EXPERIMENT


def repeat(folder: pathlib.Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CHAOS, "reprise", "repeat", *arguments], cwd=folder, env={**CLEAN, **env}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("0", str(EXPERIMENT)), "Invalid value for 'N': 0 is not in the range x>=1"),
        (("two", str(EXPERIMENT)), "Invalid value for 'N': 'two' is not a valid integer"),
        (("2",), "Missing argument 'EXPERIMENT'"),
        (("2", "nowhere.json"), "nowhere.json: the experiment can't be read (No such file or directory)"),
        (("2", str(EXPERIMENT), "--seed", str(2**63 - 1)), "expected a whole number from 0"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_runs(arguments: tuple[str, ...], says: str, tmp_path: pathlib.Path):
    done = repeat(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_that_can_not_be_opened_ends_it_and_is_no_result(tmp_path: pathlib.Path):
    done = repeat(tmp_path, "3", str(EXPERIMENT), "--seed", "5", "--json", REPRISE_PLATFORM="nowhere.toml")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert (found["times"], found["verdict"], found["figures"], len(found["runs"])) == (3, "not judged", {}, 1)
    assert found["runs"][0]["seed"] == 5
    assert "(exit 1): nowhere.toml: the platform file can't be read" in found["runs"][0]["why"]
    assert done.stderr.startswith("1/3   seed 5   not judged   it could not be opened")
    written = next((tmp_path / "runs" / "agent-failover").glob("repeat-*.json"))
    assert json.loads(written.read_text()) == found


def test_what_a_run_says_is_shown_where_that_is_asked_for_and_the_code_is_the_verdicts(tmp_path: pathlib.Path):
    done = repeat(tmp_path, "1", str(EXPERIMENT), "--verbose", REPRISE_PLATFORM="nowhere.toml")
    assert done.returncode == 3
    assert "nowhere.toml: the platform file can't be read" in done.stderr
    assert "not judged   it could not be opened (exit 1): see above" in done.stdout
    assert not [*(tmp_path / "runs").rglob("*.log")]
