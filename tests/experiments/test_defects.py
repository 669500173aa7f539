"""Four planted defects: each is found by the right check, from the history alone, and nothing else is accused."""

import json
import pathlib
import subprocess

import pytest
from runs import CHAOS, CLEAN, Begin, recheck, start_lab

from chaosreprise.stack import starter

EXPECTED = {
    "drop-queue": ("lost", "stuck"),
    "fail-when-away": ("lost", "reported"),
    "replay-twice": ("duplicate", None),
    "replay-completed": ("duplicate", None),
}
TWICE = ("replay-twice", "replay-completed")


@pytest.mark.long
@pytest.mark.parametrize("defect", EXPECTED)
def test_a_planted_defect_is_found_by_its_check_from_a_copy_of_the_history(
    defect: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    check, label = EXPECTED[defect]
    lab = start_lab(defect)
    try:
        ran = begin(lab.platform_file).finish()
        assert defect not in TWICE or len(really_twice(lab)) >= 2
    finally:
        lab.end()
    assert ran.code == 1, ran
    assert "FAIL  agent-failover" in ran.output
    code, text, verdict = recheck(ran.directory / "history", tmp_path / "copy")
    assert (code, verdict["verdict"]) == (1, "false"), text
    assert {name: found["verdict"] for name, found in verdict["checks"].items()} == {
        "lost": "true",
        "duplicate": "true",
    } | {check: "false"}, text
    found = verdict["checks"][check]
    assert found["count"][0] >= 2
    assert found["baseline"] == 0
    assert all(witness.get("label") == label for witness in found["witnesses"])
    assert all(witness["cmd"] in text for witness in found["witnesses"][:1])


def really_twice(lab: starter.Stack) -> set[str]:
    """The slots that had a second interpreter beside the first, or were made again."""
    lines = [json.loads(line) for line in (lab.dir / "slots.jsonl").read_text().splitlines()[1:]]
    running: dict[str, set[str]] = {}
    twice = set()
    for line in lines:
        if line["kind"] != "slot":
            continue
        alive = running.setdefault(line["object"], set())
        if line["mark"] == "up":
            alive.add(json.dumps(line["inc"]))
            if len(alive) > 1:
                twice.add(line["object"])
        elif line["mark"] == "down":
            alive.discard(json.dumps(line["inc"]))
        elif line["mark"] == "made" and line["gen"] > 1:
            twice.add(line["object"])
    return twice


def test_the_lab_lists_its_defects_for_machines_and_people() -> None:
    done = subprocess.run(
        [CHAOS, "reprise", "lab", "defects", "--json"], env=CLEAN, capture_output=True, text=True, check=True
    )
    assert {entry["name"]: entry["check"] for entry in json.loads(done.stdout)} == {
        name: check for name, (check, _) in EXPECTED.items()
    }
    names = subprocess.run(
        [CHAOS, "reprise", "lab", "defects", "--names"], env=CLEAN, capture_output=True, text=True, check=True
    )
    assert names.stdout.split() == list(EXPECTED)
