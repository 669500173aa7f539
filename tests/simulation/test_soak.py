"""What scripts/soak counts, what it concludes from that, and where it writes it."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import detection_page  # noqa: E402
import soak  # noqa: E402


def line(value: str, *, clear: bool = True, what: str = "simulated", **more) -> dict:
    return {"what": what, "name": "correct", "seed": 1, "kind": "agents.pause", "clear": clear, "value": value} | more


@pytest.mark.parametrize("n", [1, 20, 50, 1000])
def test_the_bound_after_no_wrong_run_is_what_could_still_give_none_in_one_of_twenty_soaks(n: int):
    assert soak.upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n))


def test_the_bound_after_three_wrong_runs_of_a_hundred_is_that_of_clopper_and_pearson():
    assert soak.upper_bound(3, 100) == pytest.approx(0.0757, abs=1e-4)


def test_false_is_always_wrong_and_unknown_only_where_all_could_be_known():
    lines = [line("true"), line("unknown", clear=False), line("unknown"), line("false", clear=False), line("broken")]
    text = soak.page(lines)
    assert "| agents.pause | 5 | 1 | 2 | 1 | 1 | 1 |" in text
    assert "False alarms: 1 of 5" in text
    assert "Wrong in any way: 3 of 5" in text


def test_a_defect_counts_as_missed_unless_its_own_check_is_false_and_who_else_is_accused_is_named():
    found = {"what": "defect", "name": "sleepy", "check": "phantom", "also": [], "wrongly": []}
    lines = [line("false", **found), line("unknown", **found | {"wrongly": ["late"]})]
    assert "| sleepy | phantom | 1 of 2 | - | late |" in soak.page(lines)


def test_a_soak_goes_on_where_its_log_ends_and_forgets_a_torn_line(tmp_path: pathlib.Path):
    log = tmp_path / "soak.jsonl"
    known = line("false", seed=7, why="as it was", took_s=0.0)
    log.write_text(json.dumps(known) + '\n{"what": "simu')
    command = [sys.executable, ROOT / "scripts" / "soak.py", "--simulated", "2", "--first", "7", "--log", log]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    assert done.returncode == 1, "the false one of before counts"
    assert [one["seed"] for one in lines] == [7, 8]
    assert lines[0] == known


def test_each_script_writes_its_part_of_the_page_and_leaves_the_other(tmp_path: pathlib.Path):
    page = tmp_path / "detection.md"
    page.write_text("# Detection\n\nas it was before there was a mark\n")
    detection_page.write("soak", "## How often\n", page)
    detection_page.write("detect", "# Detection\n\nall found\n", page)
    detection_page.write("soak", "## How seldom\n", page)
    assert page.read_text() == f"# Detection\n\nall found\n\n{detection_page.MARK}\n## How seldom\n"
