"""`chaos reprise compare` of a folder of runs: its exit codes, its forms, and one sentence for what it can't read."""

import json
import pathlib
import subprocess
from datetime import UTC, datetime

import pytest
from runs import CHAOS, CLEAN

from chaosreprise.errors import BadInput
from chaosreprise.report import nights
from chaosreprise.report.nights import Rule
from chaosreprise.run import store
from chaosreprise.run.comparing import Comparing


def put(folder: pathlib.Path, day: int, elsewhere: float = 2.1, verdict: str = "true", **more: object) -> pathlib.Path:
    """A run's directory of that day, whose verdict.json was written by hand."""
    name = f"202611{day:02d}T020000Z-00{day:02d}"
    lost = {"verdict": "true", "count": [0, 0], "promised": True, "besides": None, "witnesses": []}
    told = {
        "verdict": verdict,
        "seed": 7,
        "run": name,
        "experiment": "agent-failover",
        "platform": "acme@vm",
        "settings": "s",
        "definitions": "d",
        "started": datetime(2026, 11, day, 2, tzinfo=UTC).timestamp(),
        "checks": {"lost": lost},
        "exposure": {"stop": {"happened": 20}},
        "recovery": [{"elsewhere": [elsewhere - 0.01, elsewhere + 0.01], "why_not": {}}],
    }
    run = folder / "agent-failover" / name
    run.mkdir(parents=True)
    (run / "verdict.json").write_text(json.dumps({**told, **more}))
    return run


def compare(folder: pathlib.Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CHAOS, "reprise", "compare", *arguments], cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def quiet(tmp_path: pathlib.Path) -> pathlib.Path:
    for day in range(1, 10):
        put(tmp_path / "runs", day, 2.1 + day % 3 / 10)
    return tmp_path


def test_it_says_how_much_slower_and_ends_with_1(quiet: pathlib.Path):
    put(quiet / "runs", 10, 6.7)
    put(quiet / "runs", 11, 6.8)
    done = compare(quiet)
    assert done.returncode == 1, done.stderr
    assert "next start elsewhere 2.20 s -> 6.80 s: beyond noise in 2 of the last 3 runs" in done.stdout
    assert "0 lost of 220 stop (below 1.4 %), at 95 %, in 11 runs" in done.stdout


def test_a_quiet_store_ends_with_0_in_each_form(quiet: pathlib.Path):
    markdown, machine = compare(quiet, "--markdown"), compare(quiet, "runs", "--json")
    assert (markdown.returncode, machine.returncode) == (0, 0), markdown.stderr
    assert markdown.stdout.startswith("## agent-failover on acme@vm: 9 runs to compare; the newest is PASS")
    (found,) = json.loads(machine.stdout)["compared"]
    assert (found["verdict"], len(found["runs"]), found["figures"]["elsewhere"]["of"]) == ("true", 9, 3)


@pytest.mark.parametrize("verdict", ["false", "unknown"])
def test_the_newest_verdict_decides(quiet: pathlib.Path, verdict: str):
    put(quiet / "runs", 20, verdict=verdict)
    assert Comparing(str(quiet / "runs"), "", bad=2, of=3, earlier=20).worst == verdict


@pytest.mark.parametrize("text", ["", '{"verdict": "tr', "{}", "[]", '{"verdict": "true"}'])
def test_a_half_written_run_is_one_sentence_and_the_newest_one_is_not_judged(quiet: pathlib.Path, text: str):
    (put(quiet / "runs", 20) / "verdict.json").write_text(text)
    (found,) = nights.compare(store.read(quiet / "runs"), Rule())
    (why,) = found.not_judged.values()
    assert "its verdict.json is none" in why
    assert "\n" not in why
    assert found.verdict == "not judged"
    assert len(found.runs) == 9


def test_a_run_without_a_verdict_ends_with_3_and_says_what_to_do(quiet: pathlib.Path):
    (put(quiet / "runs", 20) / "verdict.json").unlink()
    done = compare(quiet)
    assert done.returncode == 3
    assert "it has no verdict.json (No such file or directory): `chaos reprise recheck" in " ".join(done.stdout.split())
    put(quiet / "runs", 21)
    later = Comparing(str(quiet / "runs"), "", bad=2, of=3, earlier=20)
    assert later.worst == "true", "one that was judged decides"


def test_the_link_to_the_newest_run_counts_nothing_twice(quiet: pathlib.Path):
    (quiet / "runs" / "latest").symlink_to("agent-failover/20261109T020000Z-0009")
    (found,) = nights.compare(store.read(quiet / "runs"), Rule())
    assert found.exposure["stop"].commands == 180


def test_what_is_no_store_is_one_sentence_and_3(tmp_path: pathlib.Path):
    done = compare(tmp_path, "nowhere")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "reprise: nowhere: no folder: give one that holds runs, such as runs\n"
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty: no run is in it"):
        store.read(tmp_path / "empty")
    with pytest.raises(BadInput, match="--bad 4 --of 3"):
        Comparing("empty", "", bad=4, of=3, earlier=20)


def test_an_experiment_that_has_no_runs_is_said_with_those_that_have(quiet: pathlib.Path):
    with pytest.raises(BadInput, match=r"no run of other \(there are agent-failover\) is in it"):
        store.read(quiet / "runs", "other")
