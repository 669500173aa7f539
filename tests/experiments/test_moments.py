"""Faults and commands at their moments, on a lab: met and passed, not come and unknown, interrupted and never made."""

import copy
import json
import pathlib
import signal
from typing import Any

import pytest
from runs import ROOT, Begin, Ran

from chaosreprise.procs import Incarnation, is_alive
from chaosreprise.stack import starter

pytestmark = pytest.mark.long
FEWER = ["--var", "reserve:int=4"]
NEVER = {"after": {"failed": "wake"}}
CRASH: dict[str, Any] = json.loads((ROOT / "experiments" / "agent-crash.json").read_text())


def with_arguments(experiment: dict[str, Any], *steps: dict[str, Any]) -> dict[str, Any]:
    """The experiment with these arguments of its first actions."""
    changed = copy.deepcopy(experiment)
    for action, arguments in zip(changed["method"], steps, strict=False):
        action["provider"].setdefault("arguments", {}).update(arguments)
    return changed


def recorded(run: pathlib.Path, writer: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history" / f"{writer}.jsonl").read_text().splitlines()]


def faults(ran: Ran) -> dict[str, dict[str, Any]]:
    return {event["state"]: event for event in recorded(ran.directory, "warden") if event["type"] == "fault"}


def test_an_agent_dies_between_the_acceptance_of_a_wake_and_its_effect(lab: starter.Stack, begin: Begin) -> None:
    between = {"at": {"after": {"accept": "wake"}, "before": "effect"}}
    ran = begin(lab.platform_file, *FEWER, experiment=with_arguments(CRASH, between)).finish()
    assert ran.code == 0, ran.told()
    moment = "after a stop (anybody's) was sent and a hibernate (anybody's) was sent and a wake (anybody's) was sent"
    assert ran.verdict()["faults"][0]["moment"] == f"{moment} and a wake was accepted, before it took effect"
    struck = faults(ran)["injected"]
    assert struck["moment"]["came"] <= struck["lo"]
    assert "which it waits for 30 s" in ran.output


@pytest.mark.thorough
def test_commands_wait_until_the_agent_that_was_taken_away_is_shown_offline(
    lab: starter.Stack, begin: Begin, failover: dict[str, Any]
) -> None:
    at = [{"at": {"while": "hibernate", "of": "any"}}, {"at": {"agent": "offline", "within_s": 10}}]
    ran = begin(lab.platform_file, experiment=with_arguments(failover, *at)).finish()
    assert ran.code == 0, ran.told()
    injected, proven = faults(ran)["injected"], faults(ran)["proven"]
    offline = next(
        event["lo"]
        for event in recorded(ran.directory, "recorder")
        if event.get("about") == "agent"
        and event["state"] == "offline"
        and proven["component"] == f"agents/{event['id']}"
        and event["hi"] > injected["lo"]
    )
    sent = [event["lo"] for event in recorded(ran.directory, "load") if event.get("op") == "wake"]
    assert [lo for lo in sent if proven["hi"] < lo < offline] == []
    assert [
        event["value"]["batch"] for event in recorded(ran.directory, "owner") if event.get("signal") == "moment"
    ] == [
        "b1",
        "b1",
    ]


def test_a_moment_that_does_not_come_is_unknown_by_name_and_nothing_was_broken(
    lab: starter.Stack, begin: Begin
) -> None:
    never = with_arguments(CRASH, {"at": {**NEVER, "within_s": 0.5}, "in_flight": False})
    ran = begin(lab.platform_file, *FEWER, experiment=never).finish()
    assert ran.code == 1, ran.told()
    assert ran.verdict()["verdict"] == "unknown"
    why = "it was armed and never made: its moment did not come within 0.5 s (after a wake had failed, by its row)"
    assert why in ran.verdict()["why"][0]
    assert why in " ".join(ran.output.split())
    assert "injected" not in faults(ran)
    assert is_alive(Incarnation(*faults(ran)["armed"]["inc"]))


def test_an_interrupted_run_makes_no_fault_that_still_waits(lab: starter.Stack, begin: Begin) -> None:
    running = begin(lab.platform_file, *FEWER, experiment=with_arguments(CRASH, {"at": NEVER, "in_flight": False}))
    running.until_fault("armed")
    running.process.send_signal(signal.SIGINT)
    ran = running.finish()
    assert ran.verdict()["verdict"] == "unknown"
    assert "interrupted by SIGINT" in ran.verdict()["why"][0]
    assert [*faults(ran)] == ["planned", "armed", "undoing", "undone", "clean"]
    assert is_alive(Incarnation(*faults(ran)["armed"]["inc"]))


def test_a_fault_that_strikes_while_all_settles_is_over_before_it_has(
    lab: starter.Stack, begin: Begin, failover: dict[str, Any]
) -> None:
    crash = {
        "type": "python",
        "module": "chaosreprise.actions.control_plane",
        "func": "crash",
        "arguments": {"at": {"phase": "drain"}},
    }
    late = {"type": "action", "name": "kill the control plane", "background": True, "provider": crash}
    failover["method"].insert(0, late)
    ran = begin(lab.platform_file, experiment=failover).finish()
    over = {fault["kind"]: fault["undone"] for fault in ran.verdict()["faults"]}
    assert over["control-plane.crash"] > over["agents.take_away"]
    assert "before everything was settled" not in ran.output
    assert "crossed control-plane in flight" in ran.output, (
        "nothing else is wrong with it than that nothing was sent then"
    )
