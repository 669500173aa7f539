"""Planted defects: each is found by the right check, from the history alone, and nothing else is accused.

Some of them; `scripts/detect` runs all (docs/detection.md).
"""

import json
import pathlib
import subprocess

import pytest
from runs import CHAOS, CLEAN, ROOT, Begin, recheck, start_lab

from chaosreprise.lab.defects import DEFECTS
from chaosreprise.stack import starter

# What real platforms get wrong most; `scripts/detect` runs all.
SOME = (
    "newest-first",
    pytest.param("refused-but-queued", marks=pytest.mark.thorough),
    pytest.param("replay-twice", marks=pytest.mark.thorough),
    pytest.param("brings-up-again", marks=pytest.mark.thorough),
)
FEW = ["--var=sleepers:int=1"]
SPEAKS = "sessions-speak"  # of whose lab nothing is seen but rows and what sessions say of themselves
# Held for three times as long as these labs take to miss an agent.
LONGER = ["--var=hold_s:float=2.0", "--var=noticed_s:float=1.5", "--var=exposure:int=4"]


@pytest.mark.long
@pytest.mark.parametrize("name", SOME)
def test_a_planted_defect_is_found_by_its_check_from_a_copy_of_the_history(
    name: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    defect = DEFECTS[name]
    lab = start_lab(name, witness=defect.experiment == SPEAKS)
    try:
        experiment = ROOT / "experiments" / f"{defect.experiment}.json"
        longer = () if name == "replay-twice" else FEW if defect.experiment == SPEAKS else LONGER
        ran = begin(lab.platform_file, *longer, experiment=experiment).finish()
        assert name != "replay-twice" or len(really_twice(lab)) >= 2
    finally:
        lab.end()
    assert ran.code == 1, ran.told()
    assert f"FAIL  {defect.experiment}" in ran.output
    code, text, verdict = recheck(ran.directory / "history", tmp_path / "copy")
    assert (code, verdict["verdict"]) == (1, "false"), text
    false = {name for name, found in verdict["checks"].items() if found["verdict"] == "false"}
    assert {defect.check} <= false <= {defect.check, *defect.also}, text
    found = verdict["checks"][defect.check]
    assert found["count"][0] >= 1
    assert found["baseline"] == 0
    assert defect.label is None or all(witness.get("label") == defect.label for witness in found["witnesses"])
    assert all(witness["cmd"] in text or witness["session"] in text for witness in found["witnesses"][:1])


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
    told = {entry["name"]: (entry["check"], entry["experiment"]) for entry in json.loads(done.stdout)}
    assert told == {name: (defect.check, defect.experiment) for name, defect in DEFECTS.items()}
    names = subprocess.run(
        [CHAOS, "reprise", "lab", "defects", "--names"], env=CLEAN, capture_output=True, text=True, check=True
    )
    assert names.stdout.split() == list(DEFECTS)
