"""Every experiment on sandboxes runs on one of our own, is exposed to its fault, and passes; with a defect that it is there for, it fails."""

import json
import pathlib
from collections.abc import Iterator

import pytest
from runs import ROOT, VARIABLES, Begin, Ran, start_lab, unproven

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
KINDS = {
    "sandbox-agent-crash": {"agents.crash"},
    "sandbox-agent-freeze": {"agents.pause"},
    "sandbox-answer-lost": {"links.reset", "links.flap"},
    "sandbox-control-plane-crash": {"control-plane.crash"},
    "sandbox-data-plane-crash": {"data-plane.crash"},
    "sandbox-database-refuses": {"database.refuse"},
    "sandbox-interpreter-crash": {"sessions.crash"},
    "sandbox-latency": {"links.latency"},
    "sandbox-registry-cut": {"data-plane.cut_registry"},
}
SLOW = ("sandbox-answer-lost",)
MORE = {
    "sandbox-agent-freeze": ["--var", "hold_s:float=12.0"],  # longer than one attempt of the data plane
    "sandbox-interpreter-crash": ["--var", "sessions_hit:int=2"],  # all that take a step then
}
FOUND = [
    ("no-step-row", "sandbox-database-refuses", "unrecorded"),
    ("registers-anew", "sandbox-agent-crash", "state-loss"),
    pytest.param("silent-restart", "sandbox-interpreter-crash", "state-loss", marks=pytest.mark.thorough),
    pytest.param("registry-lost-begun-anew", "sandbox-registry-cut", "state-loss", marks=pytest.mark.thorough),
    pytest.param("runs-for-who-has-gone", "sandbox-answer-lost", "duplicate", marks=pytest.mark.thorough),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[starter.Stack]:
    """Its data plane has its registry in a file."""
    stack = start_lab(serves="sandbox", registry="file")
    try:
        yield stack
    finally:
        stack.end()


def run(name: str, platform: pathlib.Path, begin: Begin, **env: str) -> Ran:
    return begin(platform, *MORE.get(name, []), experiment=ROOT / "experiments" / f"{name}.json", **env).finish()


def test_every_experiment_on_sandboxes_is_run_by_these_tests() -> None:
    assert {path.stem for path in (ROOT / "experiments").glob("sandbox-*.json")} == {*KINDS}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough) if name in SLOW else name for name in KINDS]
)
def test_an_experiment_passes_on_a_correct_sandbox_and_is_exposed_to_its_fault(
    name: str, sandbox: starter.Stack, begin: Begin
) -> None:
    passed(name, sandbox, begin)
    assert not list(sandbox.dir.rglob("*.reprise.*")), "what was put aside for an undo is not left behind"


@pytest.mark.thorough
def test_a_data_plane_dies_with_its_registry_in_memory(begin: Begin) -> None:
    stack = start_lab(serves="sandbox")
    try:
        passed("sandbox-data-plane-crash", stack, begin)
    finally:
        stack.end()


def passed(name: str, sandbox: starter.Stack, begin: Begin) -> None:
    """A run that passes, with its exposure, and leaves the sandbox whole."""
    ran = run(name, sandbox.platform_file, begin)
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert {fault["kind"] for fault in verdict["faults"]} == KINDS[name]
    told = verdict["exposure"]["step"]
    assert told[told["measure"]] >= told["need"] == VARIABLES["exposure"], told
    assert unproven(name, verdict) == set(), ran.told()
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
