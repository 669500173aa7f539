"""10,000 experiments and platform files with something wrong in them: each is accepted, or refused in one clear sentence."""

import collections
import itertools
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import mutants
import pytest
from chaoslib.exceptions import InvalidActivity
from runs import CHAOS, EXPERIMENT, ROOT

from chaosreprise import controls
from chaosreprise.errors import LONGEST, RepriseError
from chaosreprise.faults import registry
from chaosreprise.lab import prepare
from chaosreprise.lab.prepare import Options
from chaosreprise.platform import file
from chaosreprise.run import preview

pytestmark = pytest.mark.long
SEED = 20261121
EXPERIMENTS, PLATFORM_FILES = 4_500, 5_500
PLACES = (
    "experiment.json: ",
    "control arguments: ",
    "workload.",
    "exposure.",
    "configuration.",
    "load.",
    "commands.",
    *(f"{kind}: " for kind in registry.kinds()),
    ": the platform file can't be read",
)
EMBEDDED = 'version = 1\nkind = "embedded"\nname = "embedded"\n[lab]\nagents = 3\nusers = 12\nheartbeat_s = 0.2\nreconcile_s = 0.05\n'


@pytest.fixture(autouse=True)
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """An empty home, state and working directory, in which nothing may be left."""
    for name in [name for name in os.environ if name.startswith("REPRISE_")]:
        monkeypatch.delenv(name)
    for name in ("state", "runs", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("REPRISE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "work"
    assert [str(path) for name in ("state", "runs") for path in (tmp_path / name).rglob("*")] == []


class Judge:
    """Calls, and what came of them: accepted, or refused by a sentence that says where. Anything else is a defect."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.defects: list[str] = []

    def __call__(self, number: int, places: tuple[str, ...], call: Callable[[], object]) -> bool:
        try:
            call()
        except (RepriseError, InvalidActivity) as error:
            self.counts["refused"] += 1
            self._look(number, str(error), places)
            return False
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.defects.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
            return False
        self.counts["accepted"] += 1
        return True

    def _look(self, number: int, said: str, places: tuple[str, ...]) -> None:
        clear = said.isprintable() and 20 < len(said) <= LONGEST and any(place in said for place in places)
        if not clear or re.search(r"Traceback|object at 0x|Errno|NoneType", said):
            self.defects.append(f"{number}: {said!r}")


def test_each_experiment_is_planned_or_refused_in_one_sentence(place: pathlib.Path) -> None:
    base = [json.loads(path.read_text()) for path in sorted((ROOT / "experiments").rglob("*.json"))]
    judge, path = Judge(), place / "experiment.json"
    for number, data in enumerate(itertools.islice(mutants.experiments(base, SEED), EXPERIMENTS)):
        path.write_bytes(data)
        judge(number, PLACES, lambda: preview.lines(path.name))
        for control in controls_of(data):
            judge(number, ("control arguments: ",), lambda control=control: controls.validate_control(control))
    assert judge.defects == []
    assert judge.counts["accepted"] > EXPERIMENTS * 0.1 < judge.counts["refused"]


def controls_of(data: bytes) -> list[dict[str, Any]]:
    """The controls that Chaos Toolkit would give us of this experiment to validate."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return []
    found = tree.get("controls") if isinstance(tree, dict) else None
    return [
        control
        for control in (found if isinstance(found, list) else [])
        if isinstance(control, dict)
        and isinstance(provider := control.get("provider"), dict)
        and provider.get("module") == "chaosreprise.controls"
    ]


def test_each_platform_file_is_read_and_planned_for_or_refused_in_one_sentence(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = prepare.platform_file(*prepare.decided(Options()))
    judge, path = Judge(), place / "lab.toml"
    monkeypatch.setenv("REPRISE_PLATFORM", path.name)
    for number, data in enumerate(itertools.islice(mutants.platform_files([EMBEDDED, lab, lab], SEED), PLATFORM_FILES)):
        path.write_bytes(data)
        if judge(number, ("lab.toml: ",), lambda: file.load(path.name)):
            judge(
                number,
                ("lab.toml: ", str(place), ": no keeper has written there"),
                lambda: preview.lines(str(EXPERIMENT)),
            )
    assert judge.defects == []
    assert judge.counts["accepted"] > PLATFORM_FILES * 0.1 < judge.counts["refused"]


def changed(**changes: Any) -> bytes:
    tree = json.loads(EXPERIMENT.read_text())
    for path, value in changes.items():
        *above, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        holder = tree
        for key in above:
            holder = holder[key]
        holder[last] = value
    return json.dumps(tree).encode()


GOOD = EXPERIMENT.read_bytes()
ARGUMENTS = "controls__0__provider__arguments"


@pytest.mark.parametrize(
    ("command", "data", "says"),
    [
        ("validate", changed(**{ARGUMENTS: ["x"]}), 'control arguments: the whole = ["x"]: expected a table'),
        ("validate", changed(**{f"{ARGUMENTS}__requires": 1}), "requires is not a setting: did you mean require?"),
        ("run", changed(method__1__provider__arguments={"seconds": "soon"}), 'commands.send: seconds = "soon"'),
        ("run", changed(configuration__platform=["x"]), 'configuration.platform = ["x"]'),
        ("reprise plan", GOOD[:700], "experiment.json: not JSON"),
        (
            "reprise plan",
            b"[" * 100_000,
            "experiment.json: a number in it has too many digits, or it is nested too deeply",
        ),
        ("reprise plan", GOOD.replace(b"agent dies", b"\xff"), "can't be read (not a text in UTF-8, byte"),
        ("reprise plan", changed(configuration__seed={"type": "env"}), 'configuration.seed = {"type": "env"}'),
    ],
)
def test_the_command_lines_refuse_without_a_traceback(
    command: str, data: bytes, says: str, place: pathlib.Path
) -> None:
    """What Chaos Toolkit itself can't load (no JSON, a `configuration` that is no table) ends there, with its own traceback."""
    (place / "experiment.json").write_bytes(data)
    said = subprocess.run(
        [CHAOS, "--no-version-check", *command.split(), "experiment.json"], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == (3 if command == "reprise plan" else 1), said
    assert says in said.stdout + said.stderr
    assert "Traceback" not in said.stdout + said.stderr
