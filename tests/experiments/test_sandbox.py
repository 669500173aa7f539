"""Every experiment on sandboxes runs on one of our own, is exposed to its fault, and passes; with a defect that it is there for, it fails."""

import json
import pathlib
from collections.abc import Iterator

import pytest
from runs import ROOT, VARIABLES, Begin, Ran, start_lab

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
KINDS = {
    "sandbox-agent-crash": {"agents.crash"},
    "sandbox-agent-freeze": {"agents.pause"},
    "sandbox-control-plane-crash": {"control-plane.crash"},
    "sandbox-data-plane-crash": {"data-plane.crash"},
    "sandbox-database-refuses": {"database.refuse"},
    "sandbox-latency": {"links.latency"},
}
HOLD_S = {"sandbox-agent-freeze": 12.0}  # longer than one attempt of the data plane
FOUND = [
    ("no-step-row", "sandbox-database-refuses", "unrecorded"),
    ("registers-anew", "sandbox-agent-crash", "state-loss"),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[starter.Stack]:
    stack = start_lab(serves="sandbox")
    try:
        yield stack
    finally:
        stack.end()


def run(name: str, platform: pathlib.Path, begin: Begin, **env: str) -> Ran:
    hold = ["--var", f"hold_s:float={HOLD_S[name]}"] if name in HOLD_S else []
    return begin(platform, *hold, experiment=ROOT / "experiments" / f"{name}.json", **env).finish()


def test_every_experiment_on_sandboxes_is_run_by_these_tests() -> None:
    assert {path.stem for path in (ROOT / "experiments").glob("sandbox-*.json")} == {*KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_an_experiment_passes_on_a_correct_sandbox_and_is_exposed_to_its_fault(
    name: str, sandbox: starter.Stack, begin: Begin
) -> None:
    ran = run(name, sandbox.platform_file, begin)
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert {fault["kind"] for fault in verdict["faults"]} == KINDS[name]
    told = verdict["exposure"]["step"]
    assert told[told["measure"]] >= told["need"] == VARIABLES["exposure"], told
    with Keeper(sandbox.address) as keeper:
        status = keeper.status()
    assert [(one.state, one.held_by) for one in status.components] == [("up", None)] * len(status.components)


@pytest.mark.parametrize(("defect", "name", "check"), FOUND)
def test_a_defect_is_found_by_its_check(
    defect: str, name: str, check: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "lab.toml").write_text('version = 1\nkind = "embedded"\nname = "made"\n')
    ran = run(name, tmp_path / "lab.toml", begin, REPRISE_LAB_DEFECT=defect)
    assert ran.code == 1, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "false", ran.told()
    assert verdict["checks"][check]["verdict"] == "false", json.dumps(verdict["checks"][check])
