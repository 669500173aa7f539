"""Everything that the README shows is executed: its commands print what it says they print, and its files work."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from pages import commands, files, missing
from runs import CLEAN

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the checkout to write in."""
    folder = tmp_path_factory.mktemp("readme")
    subprocess.run([sys.executable, ROOT / "scripts" / "export.py", folder], check=True)
    return folder


def run(clone: pathlib.Path, command: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """A command as somebody types it in a clone, in this environment instead of one that takes a minute to make."""
    environment = {**CLEAN, "REPRISE_VENV": sys.prefix, **env}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_commands_of_the_readme_print_what_it_shows(clone: pathlib.Path) -> None:
    found = list(commands(README))
    assert len(found) >= 4
    for command, expected in found:
        done = run(clone, command)
        assert done.returncode == 0, (command, done.stdout)
        assert missing(expected, done.stdout) is None, (command, done.stdout)


def test_the_defect_that_the_readme_names_is_caught(clone: pathlib.Path) -> None:
    assert "`REPRISE_LAB_DEFECT=replay-twice ./scripts/chaos run experiments/agent-failover.json` must fail" in README
    done = run(clone, "./scripts/chaos run experiments/agent-failover.json", REPRISE_LAB_DEFECT="replay-twice")
    assert done.returncode == 1
    assert "FAIL  agent-failover" in done.stdout
    assert run(clone, "./scripts/chaos reprise verdict runs/latest").returncode == 1


def test_the_probe_of_the_readme_is_discovered_and_its_experiment_passes_on_its_platform(clone: pathlib.Path) -> None:
    shown = files(README)
    assert set(shown) == {"probes/agents_away.py", "experiments/agent-blip.json", "two-agents.toml"}
    for name, text in shown.items():
        (clone / name).write_text(text)
    experiment = json.loads(shown["experiments/agent-blip.json"])
    probe = {"type": "python", "module": "chaosreprise.probes.agents_away", "func": "count"}
    experiment["steady-state-hypothesis"]["probes"].append(
        {"type": "probe", "name": "nobody is away", "tolerance": 0, "provider": probe}
    )
    (clone / "experiments" / "agent-blip.json").write_text(json.dumps(experiment))
    target = clone / "installed"
    shutil.copytree(clone / "src" / "chaosreprise", target / "chaosreprise")
    for package in ("probes", "actions", "experiments"):  # as pip puts them (pyproject.toml, package-dir)
        shutil.copytree(clone / package, target / "chaosreprise" / package)
    env = {"PYTHONPATH": str(target), "REPRISE_PLATFORM": "two-agents.toml"}
    for command in ("validate", "run"):
        done = run(
            clone, f"{sys.executable} -m chaostoolkit --no-version-check {command} experiments/agent-blip.json", **env
        )
        assert done.returncode == 0, done.stdout
    assert "PASS  agent-blip" in done.stdout
    found = run(
        clone,
        f"{sys.executable} -c \"import chaosreprise; print([a['mod'] for a in chaosreprise.discover()['activities']])\"",
        **env,
    )
    assert "chaosreprise.probes.agents_away" in found.stdout


def test_every_path_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"(?:experiments|docs|scripts|tests|src)/[\w/.-]+\w", README)) - set(files(README))
    assert [name for name in sorted(named) if not os.path.exists(ROOT / name)] == []
