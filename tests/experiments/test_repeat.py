"""`chaos reprise repeat` on a kept lab: real runs, one after another, what they have in common, and an end before the last."""

import json
import os
import pathlib
import signal
import subprocess
import time
from typing import Any

import pytest
from runs import CHAOS, CLEAN, start_lab

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long


def begin(
    folder: pathlib.Path, lab: starter.Stack, shortest: dict[str, Any], *arguments: str
) -> "subprocess.Popen[str]":
    (folder / "experiment.json").write_text(json.dumps(shortest))
    return subprocess.Popen(
        [CHAOS, "reprise", "repeat", *arguments],
        cwd=folder,
        env={**CLEAN, "REPRISE_PLATFORM": str(lab.platform_file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def written(folder: pathlib.Path) -> dict[str, Any]:
    (path,) = (folder / "runs" / "agent-failover").glob("repeat-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_each_run_has_its_seed_and_the_table_is_over_all(
    lab: starter.Stack, shortest: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    process = begin(tmp_path, lab, shortest, "2", "experiment.json", "--seed", "11")
    output, errors = process.communicate(timeout=110)
    found = written(tmp_path)
    runs = found["runs"]
    assert process.returncode == {"true": 0, "false": 1, "unknown": 2}[found["verdict"]], output + errors
    assert [run["seed"] for run in runs] == [11, 12]
    assert len({run["directory"] for run in runs}) == 2
    for run in runs:
        told = json.loads((tmp_path / run["directory"] / "verdict.json").read_text())
        lo, hi = told["recovery"][0]["drained"]
        assert (run["verdict"], run["recovery"]["drained"]["s"]) == (told["verdict"], pytest.approx((lo + hi) / 2))
    drained = [run["recovery"]["drained"]["s"] for run in runs]
    assert found["figures"]["drained"]["median"] == pytest.approx(sum(drained) / 2)
    assert found["figures"]["drained"]["percentiles"] == {"p90": None, "p95": None}
    assert found["figures"]["normal"]["measured"] == 0, "the load of so short a run is too thin to tell"
    lines = output.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["1/2", "seed", "11"], ["2/2", "seed", "12"]]
    assert any(line.startswith("drained") and line.endswith("2 of 2") for line in lines)
    compared = subprocess.run([CHAOS, "reprise", "compare", "--json"], cwd=tmp_path, env=CLEAN, capture_output=True)
    (told,) = json.loads(compared.stdout)["compared"]
    assert (told["platform"], len(told["runs"]), told["not_compared"]) == ("embedded", 2, {})
    exposed = [json.loads((tmp_path / run["directory"] / "verdict.json").read_text())["exposure"] for run in runs]
    assert told["exposure"]["stop"]["commands"] == sum(kinds["stop"]["happened"] for kinds in exposed) > 0
    assert compared.returncode == {"true": 0, "false": 1, "unknown": 2}[runs[-1]["verdict"]]


@pytest.mark.thorough
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("defect", "slower"), [(None, []), ("keeps-for-ever", ["p95 read"])])
def test_a_platform_that_gets_slower_from_run_to_run_is_false_and_another_is_not(
    defect: str | None, slower: list[str], shortest: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    arguments = shortest["controls"][0]["provider"]["arguments"]
    arguments["workload"]["mix"]["read"] = 40.0
    arguments["optional"] = []
    kept = start_lab(defect)
    try:
        process = begin(tmp_path, kept, shortest, "6", "experiment.json", "--seed", "11")
        output, errors = process.communicate(timeout=390)
    finally:
        kept.end()
    found = written(tmp_path)
    assert [name for name, trend in found["trends"].items() if trend["rises"]] == slower, output + errors
    assert found["trends"]["p95 read"]["runs"] == 6
    assert ("SLOWER" in output) is bool(slower)
    assert process.returncode == (1 if slower else {"true": 0, "unknown": 2}[found["verdict"]]), output + errors


@pytest.mark.thorough
def test_an_interrupt_ends_the_run_under_way_in_order_and_no_other_begins(
    lab: starter.Stack, shortest: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    process = begin(tmp_path, lab, shortest, "3", "experiment.json")
    warden = tmp_path / "runs" / "latest" / "history" / "warden.jsonl"
    end = time.monotonic() + 60
    while not (warden.exists() and '"proven"' in warden.read_text()):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    found = written(tmp_path)
    assert (found["stopped"], len(found["runs"])) == ("SIGINT", 1)
    assert process.returncode == {"false": 1, "unknown": 2}[found["runs"][0]["verdict"]], output + errors
    assert "stopped by SIGINT after 1 of 3 runs" in output
    assert '"undone"' in warden.read_text()
    with Keeper(lab.address) as keeper:
        assert all(component.state == "up" for component in keeper.status().components)
