"""agent-failover on the lab: passes when nothing is wrong, whatever the seed, and leaves nothing behind."""

import json
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest
from runs import CHAOS, CLEAN, EXPERIMENT, SHORT, Begin, Ran, Running, unproven

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper


@pytest.fixture(
    scope="module",
    params=[0, *(pytest.param(seed, marks=[pytest.mark.long, pytest.mark.thorough]) for seed in (1, 2))],
    ids=lambda seed: f"seed {seed}",
)
def ran(lab: starter.Stack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Ran:
    """One short run a seed, at which each test below looks."""
    return Running(lab.platform_file, tmp_path_factory.mktemp("run"), EXPERIMENT, SHORT, _seed(request.param)).finish()


def _seed(seed: int) -> dict[str, str]:
    return {"REPRISE_SEED": str(seed)}


def test_it_passes_and_was_exposed_whatever_the_seed(ran: Ran) -> None:
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true"
    stated = json.loads(EXPERIMENT.read_text())["controls"][0]["provider"]["arguments"]
    asked = [*stated["require"], *stated["optional"]]
    assert {name: check["count"] for name, check in verdict["checks"].items()} == {name: [0, 0] for name in asked}
    assert all(verdict["exposure"][kind]["during"] >= 2 for kind in ("stop", "hibernate", "wake"))
    assert verdict["recovery"][0]["noticed"] is not None
    assert verdict["recovery"][0]["elsewhere"] is not None
    assert verdict["recovery"][0]["drained"] is not None
    assert unproven("agent-failover", verdict) == set(), ran.told()


def test_it_leaves_the_lab_as_it_was_and_no_session(ran: Ran, lab: starter.Stack) -> None:
    assert ran.code == 0, ran.told()
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert all(component.state == "up" and component.held_by is None for component in status.components)
    assert [slot.slot for slot in status.slots if slot.processes] == []


def test_every_file_of_it_is_there_and_recheck_needs_the_history_alone(ran: Ran, tmp_path: pathlib.Path) -> None:
    names = {path.name for path in ran.directory.iterdir()}
    assert {
        "plan.json",
        "history",
        "faults.jsonl",
        "journal.json",
        "verdict.json",
        "report.html",
        "report.md",
        "junit.xml",
        "metrics.prom",
        "logs",
    } <= names
    assert {path.name for path in (ran.directory / "history").iterdir()} == {
        "owner.jsonl",
        "load.jsonl",
        "recorder.jsonl",
        "warden.jsonl",
    }
    assert ET.parse(ran.directory / "junit.xml").getroot().get("failures") == "0"
    kept = {path.name for path in (ran.directory / "logs" / "platform").iterdir()}
    assert {"control-plane.log", "agents-a1.log", "agents-a2.log", "database.log"} <= kept
    assert all(name in (ran.directory / "report.md").read_text() for name in kept)
    copy = tmp_path / "elsewhere"
    shutil.copytree(ran.directory / "history", copy / "history")
    again = subprocess.run([CHAOS, "reprise", "recheck", str(copy)], env=CLEAN, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert "PASS" in again.stdout
    said = subprocess.run([CHAOS, "reprise", "verdict", str(ran.directory)], env=CLEAN, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "true\n")


def test_the_same_seed_draws_the_same_victim_again(ran: Ran, lab: starter.Stack) -> None:
    plan = json.loads((ran.directory / "plan.json").read_text())
    ((victim,),) = [fault["components"] for fault in plan["faults"]]
    environment = {**CLEAN, **_seed(ran.verdict()["seed"]), "REPRISE_PLATFORM": str(lab.platform_file)}
    again = subprocess.run([CHAOS, "reprise", "plan", str(EXPERIMENT)], env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert re.search(rf"would take away +{victim}, pid ", again.stdout)


@pytest.mark.long
@pytest.mark.thorough
def test_two_runs_with_platforms_of_their_own_go_side_by_side(begin: Begin, tmp_path: pathlib.Path) -> None:
    platform = tmp_path / "lab.toml"
    platform.write_text(
        'version = 1\nkind = "embedded"\nname = "embedded"\n[lab]\nheartbeat_s = 0.2\nreconcile_s = 0.05\n'
    )
    runs = [begin(platform, folder=name) for name in ("one", "two")]
    for run in runs:
        ran = run.finish()
        assert ran.code == 0, ran.told()


def test_a_second_run_on_one_platform_is_refused_and_the_first_is_not_disturbed(
    lab: starter.Stack, begin: Begin
) -> None:
    first = begin(lab.platform_file, folder="first")
    first.until("owner", lambda event: event.get("name") == "baseline")
    second = begin(lab.platform_file, folder="second").finish()
    assert second.code == 1
    assert "another run" in second.output
    assert first.finish().code == 0
