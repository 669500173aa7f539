"""Everything that docs/nights.md shows is executed, on a folder of runs made for it: judged once, with what differs from night to night put in."""

import json
import os
import pathlib
import re
import subprocess
import sys
from datetime import UTC, datetime

import prometheuses
import pytest
from histories import complete
from pages import BLOCK, commands, missing
from runs import CLEAN

from chaosreprise import checker, report

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "nights.md").read_text()
ELSEWHERE = [2.1, 2.0, 2.2, 2.1, 2.15, 2.05, 2.1, 2.2, 2.1, 2.1, 6.5, 6.8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where somebody types, with a folder of runs and one for the collector."""
    place = tmp_path_factory.mktemp("nights")
    (place / "texts").mkdir()
    (place / "scripts").symlink_to(ROOT / "scripts")
    made = complete(seconds_of_steps=7.9, platform="lab-1a2b3c@vm")
    history = made.history()
    verdict = checker.judge(history, "end")
    for day, elsewhere in enumerate(ELSEWHERE, 1):
        run = place / "runs" / "agent-failover" / f"202611{day + 10:02d}T020000Z-{day:04d}"
        run.mkdir(parents=True)
        report.write(run, verdict, history)
        told = json.loads((run / "verdict.json").read_text())
        told |= {"run": run.name, "started": datetime(2026, 11, day + 10, 2, tzinfo=UTC).timestamp()}
        told["recovery"][0]["elsewhere"] = [elsewhere, elsewhere]
        (run / "verdict.json").write_text(json.dumps(told))
    (place / "runs" / "latest").symlink_to(run.relative_to(place / "runs"))
    return place


def test_the_commands_of_the_page_print_what_it_shows(folder: pathlib.Path):
    prometheuses.need("promtool")
    found = list(commands(PAGE))
    assert len(found) == 4
    for command, expected in found:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**CLEAN, "REPRISE_VENV": sys.prefix, "TEXTFILES": "texts", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert done.returncode == ("compare" in command), done
        assert missing([line for line in expected if line], done.stdout) is None, done.stdout
    assert [path.name for path in (folder / "texts").iterdir()] == ["agent-failover.prom"]


def test_the_figures_that_the_page_shows_are_those_that_are_printed(folder: pathlib.Path):
    """`missing` takes all numbers for alike."""
    (shown,) = [output for command, output in commands(PAGE) if "compare" in command]
    done = subprocess.run(
        [sys.executable, "-m", "chaostoolkit", "--no-version-check", "reprise", "compare", "runs"],
        cwd=folder, env=CLEAN, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == shown


def test_the_names_of_the_page_are_those_of_the_file(folder: pathlib.Path):
    text = (folder / "runs" / "latest" / "metrics.prom").read_text()
    names = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    tabled = set(re.findall(r"`(reprise_\w+)`", PAGE))
    assert names <= tabled
    assert tabled - names == {"reprise_recovery_objective_seconds", "reprise_exposed_commands_needed"} - names


def test_the_alerts_of_the_page_are_queries_that_prometheus_takes(tmp_path: pathlib.Path):
    prometheuses.need("promtool")
    (alerts,) = [text for language, _, text in BLOCK.findall(PAGE) if language == "promql"]
    rules = [{"alert": f"Reprise{number}", "expr": expr} for number, expr in enumerate(alerts.splitlines())]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "reprise", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


def test_every_file_that_the_page_names_is_there():
    named = re.findall(r"\]\(([\w/.-]+)\)", PAGE)
    assert named
    assert [name for name in named if not (ROOT / "docs" / name).exists()] == []
