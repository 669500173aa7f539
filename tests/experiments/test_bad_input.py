"""Bad input: one clear sentence, exit code 1, no traceback, nothing left, before anything was started."""

import json
import pathlib
import re
import subprocess
from typing import Any

import pytest
from runs import CHAOS, CLEAN, Begin, Ran

from chaosreprise.simulation import simulate
from chaosreprise.simulation.scenario import plain
from chaosreprise.stack import starter

pytestmark = pytest.mark.long
EMBEDDED = 'version = 1\nkind = "embedded"\nname = "embedded"\n'


def refused(ran: Ran, says: str, state: pathlib.Path) -> None:
    assert ran.code == 1, ran.told()
    assert says in ran.output, ran.told()
    assert "Traceback" not in ran.output
    assert not (state / "reprise" / "stacks").exists() or not list((state / "reprise" / "stacks").iterdir())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            EMBEDDED + '[lab]\nagents = "three"\n',
            'lab.toml: lab.agents = "three": expected a whole number from 1 to 64',
        ),
        (EMBEDDED + "[lab]\nagent = 3\n", "lab.toml: lab.agent is not a setting: did you mean agents?"),
        (EMBEDDED.replace("embedded", "kafka", 1), 'lab.toml: kind = "kafka": expected one of embedded, streamspace'),
        ("this is not TOML", "lab.toml: not TOML"),
    ],
)
def test_a_platform_file_that_is_wrong_is_refused_in_one_sentence(
    text: str, says: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "lab.toml").write_text(text)
    refused(begin(tmp_path / "lab.toml", XDG_STATE_HOME=str(tmp_path)).finish(), says, tmp_path)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"REPRISE_PLATFORM": "nowhere.toml"}, "nowhere.toml: the platform file can't be read"),
        ({"REPRISE_SEED": "seven"}, 'workload.seed = "seven": expected a whole number from 0'),
        ({"REPRISE_RUNS": "/proc/nowhere"}, "the run's directory can't be made"),
        ({"REPRISE_LAB_DEFECT": "replay-thrice"}, "replay-thrice"),
    ],
)
def test_an_environment_that_is_wrong_is_refused_in_one_sentence(
    env: dict[str, str], says: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    refused(begin("embedded", XDG_STATE_HOME=str(tmp_path), **env).finish(), says, tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"requires": ["lost"]}, "control arguments: requires is not a setting: did you mean require?"),
        ({"require": ["lots"]}, '"lots" is not a check: known are contradicted, '),
        (
            {"exposure": {"stop": "five"}},
            'control arguments: exposure.stop = "five": expected a whole number from 1 to 1000',
        ),
        ({"workload": {"sessions": 12}}, "sessions are needed"),
        ({"workload": {"mix": {"step": 1000.0}}}, "budget.max_rps"),
    ],
)
def test_a_contract_that_is_wrong_is_refused_before_any_fault(
    change: dict[str, Any], says: str, lab: starter.Stack, failover: dict[str, Any], begin: Begin
) -> None:
    failover["controls"][0]["provider"]["arguments"].update(change)
    for arguments in ((), ("--no-validation",)):
        ran = begin(lab.platform_file, *arguments, experiment=failover).finish()
        assert ran.code == 1, ran.told()
        assert says in ran.output, ran.told()
        assert "Traceback" not in ran.output
        assert "taken away" not in ran.output


def test_a_required_check_without_its_evidence_is_refused_at_plan_time(lab: starter.Stack, begin: Begin) -> None:
    text = lab.platform_file.read_text()
    start = text.index("[evidence.slots]")
    other = lab.dir / "no-slots.toml"
    other.write_text(text[:start] + text[text.index("[evidence.workspaces]") :])
    ran = begin(other).finish()
    assert ran.code == 1, ran.told()
    assert "evidence.slots is missing" in ran.output
    assert "taken away" not in ran.output


@pytest.mark.parametrize(
    ("setting", "instead", "says"),
    [
        (r"^faults = .*$", "faults = []", "allow.faults = []: agents.take_away is not among them"),
        (r"^share = .*$", "share = 0.1", "allow.share = 0.1: 1 of 2 agents would be broken"),
        (r"^host = .*$", 'host = "elsewhere"', 'identity.host = "elsewhere", but this is'),
    ],
)
def test_what_the_platform_file_does_not_allow_is_not_done(
    setting: str, instead: str, says: str, lab: starter.Stack, begin: Begin
) -> None:
    other = lab.dir / "forbidden.toml"
    other.write_text(re.sub(setting, instead, lab.platform_file.read_text(), flags=re.MULTILINE))
    ran = begin(other).finish()
    assert ran.code == 1, ran.told()
    assert says in ran.output
    assert "proven" not in ran.output


def test_a_platform_that_does_not_answer_is_said(lab: starter.Stack, begin: Begin) -> None:
    other = lab.dir / "elsewhere.toml"
    url = next(line for line in lab.platform_file.read_text().splitlines() if line.startswith("url"))
    other.write_text(lab.platform_file.read_text().replace(url, 'url = "http://127.0.0.1:9"'))
    ran = begin(other).finish()
    assert ran.code == 1, ran.told()
    assert "http://127.0.0.1:9: the control plane does not answer" in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(
    "command",
    [
        ["verdict", "/nowhere"],
        ["recheck", "/nowhere"],
        ["plan", "/nowhere.json"],
        ["lab", "down", "abc"],
        ["lab", "up", "--agents", "0"],
        ["verdikt"],
    ],
)
def test_a_command_that_can_not_be_done_ends_with_3_and_one_line(command: list[str], tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [CHAOS, "reprise", *command], env={**CLEAN, "XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 3, done
    assert done.stderr.startswith("reprise: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_history_with_a_bad_line_is_refused_with_its_number(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "history" / "load.jsonl"
    path.parent.mkdir()
    simulate(plain(1)).save(path.parent)
    lines = path.read_text().splitlines()
    lines[4] = lines[4].replace('"submit"', '"sumbit"').replace('"answer"', '"anwser"')
    path.write_text("\n".join(lines) + "\n")
    done = subprocess.run([CHAOS, "reprise", "recheck", str(tmp_path)], env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 3
    assert "load.jsonl, line 5: not an event of a history" in done.stderr


def test_a_verdict_file_that_is_none_is_said(tmp_path: pathlib.Path) -> None:
    for text in ("", "[]", json.dumps({"verdict": "maybe"})):
        (tmp_path / "verdict.json").write_text(text)
        done = subprocess.run([CHAOS, "reprise", "verdict", str(tmp_path)], env=CLEAN, capture_output=True, text=True)
        assert done.returncode == 3
        assert "not a verdict" in done.stderr
