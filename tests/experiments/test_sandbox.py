"""Every experiment on sandboxes runs on one of our own, is exposed to its fault, and passes; with a defect that it is there for, it fails."""

import contextlib
import json
import pathlib
import shutil
import sqlite3
from collections.abc import Iterator

import pytest
import sandboxes
from runs import ROOT, VARIABLES, Begin, Ran, start_lab, unproven

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
KINDS = {
    "sandbox-agent-crash": {"agents.crash"},
    "sandbox-agent-freeze": {"agents.pause"},
    "sandbox-answer-lost": {"links.reset", "links.flap"},
    "sandbox-control-plane-crash": {"control-plane.crash"},
    "sandbox-control-plane-freeze": {"control-plane.pause"},
    "sandbox-data-plane-crash": {"data-plane.crash"},
    "sandbox-data-plane-freeze": {"data-plane.pause"},
    "sandbox-database-hangs": {"database.hang"},
    "sandbox-database-refuses": {"database.refuse"},
    "sandbox-interpreter-crash": {"sessions.crash"},
    "sandbox-latency": {"links.latency"},
    "sandbox-registry-cut": {"data-plane.cut_registry"},
}
IN_A_CLUSTER = ("sandbox-pods",)  # tests/kubernetes/test_sandbox_pods.py
MORE = {
    "sandbox-interpreter-crash": ["--var", "sessions_hit:int=2"],  # all that take a step then
}
HOLD_S = {
    "sandbox-agent-freeze": 12.0,  # longer than one attempt of the data plane
    "sandbox-control-plane-freeze": 2.0,  # longer than what is planted takes for gone
    "sandbox-data-plane-freeze": 2.0,
    "sandbox-database-hangs": 4.0,  # longer than the lab's control plane waits for its database
}
THOROUGH = (
    "sandbox-agent-crash",  # it runs on a sandbox that asks for tokens, too
    "sandbox-answer-lost",
)
NODE = shutil.which("node") is not None
RUNTIMES = [
    pytest.param(
        "node", marks=pytest.mark.skipif(not NODE, reason="node is not on the PATH: no session of it runs here")
    ),
    pytest.param("python", marks=pytest.mark.thorough if NODE else []),
]
LATE_S = 60.0  # within which a service answers again, however busy this machine is
GUARD = {"name": "nobody is let in without a token", "signal": "health.guarded", "min": 1}
FOUND = [
    pytest.param("no-step-row", "sandbox-database-refuses", "unrecorded", marks=pytest.mark.thorough),
    ("registers-anew", "sandbox-agent-crash", "state-loss"),
    pytest.param("asks-again-when-it-wakes", "sandbox-control-plane-freeze", "duplicate", marks=pytest.mark.thorough),
    pytest.param("begins-anew-when-it-wakes", "sandbox-data-plane-freeze", "state-loss", marks=pytest.mark.thorough),
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
    stated = json.loads((ROOT / "experiments" / f"{name}.json").read_text())["configuration"]
    given = {"hold_s": HOLD_S.get(name)} | {key: LATE_S for key in ("health_s", "away_s") if key in stated}
    variables = [text for key, value in given.items() if value for text in ("--var", f"{key}:float={value}")]
    return begin(
        platform, *variables, *MORE.get(name, []), experiment=ROOT / "experiments" / f"{name}.json", **env
    ).finish()


def passes(name: str, ran: Ran) -> None:
    """With its exposure."""
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert {fault["kind"] for fault in verdict["faults"]} == KINDS[name]
    told = verdict["exposure"]["step"]
    assert told[told["measure"]] >= told["need"] == VARIABLES["exposure"], told
    assert unproven(name, verdict) == set(), ran.told()


def leaves_it_whole(name: str, sandbox: starter.Stack, begin: Begin) -> None:
    """A run that passes."""
    passes(name, run(name, sandbox.platform_file, begin))
    with Keeper(sandbox.address) as keeper:
        status = keeper.status()
    assert [(one.state, one.held_by) for one in status.components] == [("up", None)] * len(status.components)
    assert not list(sandbox.dir.rglob("*.reprise.*")), "what was put aside for an undo is not left behind"


def test_every_experiment_on_sandboxes_is_run_by_these_tests() -> None:
    assert {path.stem for path in (ROOT / "experiments").glob("sandbox-*.json")} == {*KINDS, *IN_A_CLUSTER}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name in THOROUGH else []) for name in KINDS]
)
def test_an_experiment_passes_on_a_correct_sandbox_and_is_exposed_to_its_fault(
    name: str, sandbox: starter.Stack, begin: Begin
) -> None:
    leaves_it_whole(name, sandbox, begin)


@pytest.mark.thorough
def test_sessions_that_are_lost_for_good_and_say_so_halt_no_run(sandbox: starter.Stack, begin: Begin) -> None:
    name = "sandbox-agent-crash"
    more = ("--var", "quiet_s:float=15", "--var", "steps_per_s:float=10")  # more than the guard bears, in one window
    passes(name, begin(sandbox.platform_file, *more, experiment=ROOT / "experiments" / f"{name}.json").finish())


@pytest.mark.thorough
def test_a_data_plane_dies_with_its_registry_in_memory(begin: Begin) -> None:
    stack = start_lab(serves="sandbox")
    try:
        leaves_it_whole("sandbox-data-plane-crash", stack, begin)
    finally:
        stack.end()


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


def guarded(begin: Begin, folder: pathlib.Path, runtime: str, defect: str | None = None) -> Ran:
    """The agent of a sandbox that asks for tokens is killed; it and its rows in SQLite are somebody else's commands."""
    experiment = json.loads((ROOT / "experiments" / "sandbox-agent-crash.json").read_text())
    arguments = experiment["controls"][0]["provider"]["arguments"]
    arguments["objectives"].append(GUARD)
    path = sandboxes.platform_file(folder, runtime=runtime, authentication=True, defect=defect)
    return begin(path, "--var", f"health_s:float={LATE_S}", experiment=experiment).finish()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_sandbox_of_either_runtime_that_asks_for_tokens_does_so_after_its_agent_was_killed(
    runtime: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    ran = guarded(begin, tmp_path, runtime)
    passes("sandbox-agent-crash", ran)
    assert ran.verdict()["checks"]["unrecorded"]["verdict"] == "true", ran.told()
    with contextlib.closing(sqlite3.connect(tmp_path / "it" / "control-plane.db")) as rows:
        commands = {command for (command,) in rows.execute("select command from session_steps")}
    assert {"require('fs')" in command for command in commands} == {runtime == "node"}


@pytest.mark.thorough
def test_a_sandbox_that_is_open_after_its_agent_was_killed_is_found(begin: Begin, tmp_path: pathlib.Path) -> None:
    ran = guarded(begin, tmp_path, "python", "open-after-restart")
    assert ran.code == 1, ran.told()
    [witness] = ran.verdict()["checks"]["objective"]["witnesses"]
    assert witness["say"].startswith("nobody is let in without a token"), ran.told()


@pytest.mark.thorough
def test_a_table_that_is_locked_takes_no_row_and_no_step_is_accepted_without(
    sandbox: starter.Stack, begin: Begin
) -> None:
    text = (ROOT / "experiments" / "sandbox-database-hangs.json").read_text()
    locked = '"func": "lock_table", "arguments": {"table": "session_steps", "readers": false}'
    experiment = json.loads(text.replace('"func": "hang"', locked))
    ran = begin(sandbox.platform_file, "--var", "hold_s:float=4.0", experiment=experiment).finish()
    assert ran.code == 0, ran.told()
    assert unproven("sandbox-database-hangs", ran.verdict()) == set(), ran.told()
