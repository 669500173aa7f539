"""No pass by blindness: whatever evidence is taken away while a run goes on, its verdict is not true."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runs import Begin, Ran, start_lab

from chaosreprise.stack import starter

pytestmark = pytest.mark.long


def truncate_slots(lab: starter.Stack) -> None:
    os.truncate(lab.dir / "slots.jsonl", 100)


def remove_slots(lab: starter.Stack) -> None:
    (lab.dir / "slots.jsonl").unlink()


def remove_ledgers_of_sessions(lab: starter.Stack) -> None:
    for ledger in (lab.dir / "workspaces").glob("*/ledger"):
        ledger.unlink()


@pytest.mark.parametrize(
    ("writer", "because"),
    [
        ("load", "load"),
        pytest.param("recorder", "recorder", marks=pytest.mark.thorough),
        ("warden", "undone by the owner"),
    ],
)
def test_a_part_of_the_run_that_dies_while_the_fault_is_on_makes_it_unknown(
    writer: str, because: str, lab: starter.Stack, begin: Begin
) -> None:
    running = begin(lab.platform_file)
    running.until_fault("proven")
    os.kill(running.pid_of(writer), signal.SIGKILL)
    unknown_because(because, running.finish())


@pytest.mark.thorough
def test_a_warden_that_dies_when_its_fault_is_over_makes_it_unknown(lab: starter.Stack, begin: Begin) -> None:
    running = begin(lab.platform_file)
    running.until_fault("clean")
    os.kill(running.pid_of("warden"), signal.SIGKILL)
    unknown_because("the warden has no orderly end", running.finish())


@pytest.mark.parametrize(
    ("blind", "because"),
    [
        pytest.param(truncate_slots, "slots", marks=pytest.mark.thorough),
        (remove_slots, "slots"),
        pytest.param(remove_ledgers_of_sessions, "workspaces", marks=pytest.mark.thorough),
    ],
)
def test_evidence_that_goes_while_the_fault_is_on_makes_it_unknown(
    blind: Callable[[starter.Stack], None], because: str, begin: Begin
) -> None:
    lab = start_lab()
    try:
        running = begin(lab.platform_file)
        running.until_fault("proven")
        blind(lab)
        ran = running.finish()
    finally:
        lab.end()
    unknown_because(because, ran)


def unknown_because(because: str, ran: Ran) -> None:
    assert ran.code == 1, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "unknown", ran.told()
    assert because in " ".join(verdict["why"])
    assert "UNKNOWN  agent-failover" in ran.output


def without(experiment: dict[str, Any], *functions: str) -> dict[str, Any]:
    experiment["method"] = [step for step in experiment["method"] if step["provider"]["func"] not in functions]
    return experiment


@pytest.mark.parametrize(
    ("functions", "because"),
    [
        (("take_away", "send"), "nothing was broken"),
        pytest.param(("send",), "stop", marks=pytest.mark.thorough),
        pytest.param(("drain",), "settle", marks=pytest.mark.thorough),
    ],
)
def test_a_method_that_leaves_out_a_step_never_passes_by_it(
    functions: tuple[str, ...], because: str, lab: starter.Stack, failover: dict[str, Any], begin: Begin
) -> None:
    ran = begin(lab.platform_file, experiment=without(failover, *functions)).finish()
    assert ran.code == 1, ran.told()
    assert because in ran.output


@pytest.mark.thorough
def test_what_a_method_does_not_clean_is_cleaned_and_settled_at_the_end(
    lab: starter.Stack, failover: dict[str, Any], begin: Begin
) -> None:
    ran = begin(lab.platform_file, experiment=without(failover, "clean")).finish()
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()


def test_a_fault_that_is_over_before_the_commands_come_exposes_nothing(
    lab: starter.Stack, failover: dict[str, Any], begin: Begin
) -> None:
    steps = failover["method"]
    steps[1], steps[2] = steps[2], steps[1]
    ran = begin(lab.platform_file, experiment=failover).finish()
    assert ran.code == 1, ran.told()
    assert ran.verdict()["verdict"] == "unknown"
    assert "no fault is proven at this moment" in ran.output


@pytest.fixture(scope="module")
def defective() -> Iterator[starter.Stack]:
    lab = start_lab("fail-when-away")
    yield lab
    lab.end()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--hypothesis-strategy", "before-method-only"), marks=pytest.mark.thorough),
        pytest.param(("--hypothesis-strategy", "after-method-only"), marks=pytest.mark.thorough),
        pytest.param(("--rollback-strategy", "never"), marks=pytest.mark.thorough),
        ("--hypothesis-strategy", "during-method-only"),
    ],
)
def test_no_strategy_hides_a_false_verdict(
    arguments: tuple[str, ...], defective: starter.Stack, shortest: dict[str, Any], begin: Begin
) -> None:
    ran = begin(defective.platform_file, *arguments, experiment=shortest).finish()
    assert ran.code == 1, ran.told()
    assert ran.verdict()["verdict"] == "false"
