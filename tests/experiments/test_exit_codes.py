"""Exit code 0 needs a true verdict: whatever is missing from an experiment, raises in it, or is asked of Chaos Toolkit.

Chaos Toolkit itself ends with 0 in most of these cases, on one of its versions at least.
"""

import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from runs import CHAOS, CLEAN, Begin, processes_of

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

Experiment = dict[str, Any]
Change = Callable[[Experiment], None]
NO_RUN = "no run of Reprise is open"
AFTER_ONLY = ("--hypothesis-strategy", "after-method-only")
RAISES_AT_IMPORT = "raise RuntimeError('broken')\n"
RAISES_BEFORE = """
from chaosreprise.controls import *
def before_experiment_control(context, **_):
    raise ValueError('broken')
"""
RAISES_AFTER = """
from chaosreprise.controls import *
def after_experiment_control(context, state, **_):
    raise ValueError('broken')
"""
LEAVES_WITH_0 = """
def after_experiment_control(context, state, **_):
    raise SystemExit(0)
"""


def path_with(folder: pathlib.Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def control(**fields: Any) -> Change:
    return lambda experiment: experiment["controls"][0].update(fields)


def module(name: str) -> Change:
    return lambda experiment: experiment["controls"][0]["provider"].update(module=name)


def without(*parts: str) -> Change:
    def change(experiment: Experiment) -> None:
        for part in parts:
            del experiment[part]

    return change


def unnamed(experiment: Experiment) -> None:
    del experiment["controls"][0]["name"]


def misspelt(experiment: Experiment) -> None:
    experiment["controls"][0]["provider"]["arguments"]["require"] = ["lots"]


def same(_: Experiment) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "arguments", "code", "says"),
    [
        (without("controls"), (), "", NO_RUN),
        (without("controls", "steady-state-hypothesis"), (), "", NO_RUN),
        (module("chaosreprise.control"), AFTER_ONLY, "", NO_RUN),
        (module("planted"), ("--no-validation",), RAISES_AT_IMPORT, NO_RUN),
        (module("planted"), AFTER_ONLY, RAISES_BEFORE, NO_RUN),
        (control(scope="after"), (), "", NO_RUN),
        (unnamed, ("--no-validation",), "", "give it a `name`"),
        (misspelt, ("--no-validation",), "", '"lots" is not a check'),
        (same, ("--dry", "probes"), "", "--dry probes: a dry run proves nothing"),
        (same, ("--dry", "pause"), "", "--dry pause: a dry run proves nothing"),
        pytest.param(same, ("--dry", "actions"), "", "--dry actions: a dry run", marks=pytest.mark.long),
        pytest.param(same, ("--dry", "activities"), "", "--dry activities: a dry run", marks=pytest.mark.long),
    ],
)
def test_without_a_run_nothing_is_broken_and_nothing_passes(
    change: Change,
    arguments: tuple[str, ...],
    code: str,
    says: str,
    lab: starter.Stack,
    shortest: Experiment,
    begin: Begin,
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "planted.py").write_text(code)
    change(shortest)
    ran = begin(lab.platform_file, *arguments, experiment=shortest, PYTHONPATH=path_with(tmp_path)).finish()
    assert ran.code == 1, ran.told()
    assert says in ran.output
    assert not list(ran.directory.glob("history/warden.jsonl")), "a warden was started"


def only(*functions: str) -> Change:
    """No hypothesis, and of the method and the rollbacks only these: Chaos Toolkit alone would call it completed."""

    def change(experiment: Experiment) -> None:
        del experiment["steady-state-hypothesis"]
        experiment["method"] = [step for step in experiment["method"] if step["provider"]["func"] in functions]
        experiment["rollbacks"] = []

    return change


def and_another(experiment: Experiment) -> None:
    experiment["controls"].append({"name": "another", "provider": {"type": "python", "module": "planted"}})


def both(*changes: Change) -> Change:
    def change(experiment: Experiment) -> None:
        for one in changes:
            one(experiment)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (both(only("take_away"), module("planted")), RAISES_AFTER),
        (both(only(), control(scope="before"), and_another), LEAVES_WITH_0),
    ],
)
def test_a_control_that_is_cut_short_heals_judges_and_does_not_pass(
    change: Change, code: str, lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "planted.py").write_text(code)
    change(shortest)
    ran = begin(lab.platform_file, experiment=shortest, PYTHONPATH=path_with(tmp_path)).finish()
    assert ran.code == 1, ran.told()
    assert ran.verdict()["verdict"] == "unknown"
    assert "UNKNOWN  agent-failover" in ran.output
    check_whole(lab, tmp_path)


def test_a_steady_state_that_is_not_met_breaks_nothing_and_does_not_pass(
    lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path
) -> None:
    shortest["steady-state-hypothesis"]["probes"][0]["tolerance"] = False
    ran = begin(lab.platform_file, experiment=shortest).finish()
    assert ran.code == 1, ran.told()
    assert ran.verdict()["verdict"] == "unknown"
    assert "faults: nothing was broken: no fault is proven in this history" in ran.verdict()["why"]
    check_whole(lab, tmp_path)


@pytest.mark.long
def test_with_the_hypothesis_all_along_and_no_rollbacks_a_healthy_platform_passes(
    lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path
) -> None:
    """Also what the probes send while everything settles, or between that and the end, has settled in time."""
    probes = shortest["steady-state-hypothesis"]["probes"]
    (commands,) = (probe for probe in probes if probe["provider"]["func"] == "complete")
    functions = [step["provider"]["func"] for step in shortest["method"]]
    shortest["method"].insert(functions.index("drain") + 1, commands)
    arguments = ("--rollback-strategy", "never", "--hypothesis-strategy", "continuously")
    ran = begin(lab.platform_file, *arguments, experiment=shortest).finish()
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()
    check_whole(lab, tmp_path)


def check_whole(lab: starter.Stack, folder: pathlib.Path) -> None:
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert [(one.name, one.state) for one in status.components if one.state != "up" or one.held_by] == []
    assert [slot.slot for slot in status.slots if slot.processes] == []
    assert processes_of(folder) == {}


def reprise(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHAOS, "reprise", *arguments], env=CLEAN, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"verdict": "true"}', 0),
        ('{"verdict": "false"}', 1),
        ('{"verdict": "unknown"}', 2),
        ('{"verdict": ["true"]}', 3),
        ("[" * 100_000, 3),
        (None, 3),
    ],
)
def test_the_verdict_of_a_directory_is_its_exit_code(text: str | None, code: int, tmp_path: pathlib.Path) -> None:
    if text is not None:
        (tmp_path / "verdict.json").write_text(text)
    done = reprise("verdict", str(tmp_path), stdout=subprocess.PIPE)
    assert done.returncode == code, done
    assert done.stdout == (f"{json.loads(text or '')['verdict']}\n" if code < 3 else "")
    assert done.stderr.count("\n") == (code == 3)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [(), ("--nope",), ("verdict", "a", "b"), ("lab", "--nope")])
def test_a_command_line_that_is_wrong_is_no_verdict(arguments: tuple[str, ...]) -> None:
    assert reprise(*arguments, stdout=subprocess.DEVNULL).returncode == 3


def test_a_verdict_that_can_not_be_said_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "verdict.json").write_text('{"verdict": "true"}')
    with pathlib.Path("/dev/full").open("w") as full:
        done = reprise("verdict", str(tmp_path), stdout=full)
    assert (done.returncode, done.stderr) == (3, "reprise: the output: No space left on device\n")


def test_judging_again_that_is_interrupted_is_no_verdict(tmp_path: pathlib.Path) -> None:
    (tmp_path / "history").mkdir()
    os.mkfifo(tmp_path / "history" / "owner.jsonl")  # reading it waits for ever
    with subprocess.Popen(
        [CHAOS, "reprise", "recheck", str(tmp_path)], env=CLEAN, stderr=subprocess.PIPE, text=True
    ) as it:
        with (tmp_path / "history" / "owner.jsonl").open("wb"):  # returns when it has begun to read
            it.send_signal(signal.SIGINT)
            _, said = it.communicate(timeout=30)
    assert (it.returncode, said) == (3, "reprise: interrupted\n")
