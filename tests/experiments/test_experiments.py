"""Every experiment runs on a lab, is exposed to what it promises, and passes; afterwards the lab is as it was."""

import json
import pathlib

import pytest
from runs import ROOT, Begin

from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
KINDS = {
    "agent-crash": {"agents.crash"},
    "agent-zombie": {"agents.pause"},
    "all-agents-away": {"agents.take_away"},
    "control-plane-crash": {"agents.pause", "control-plane.crash"},
    "control-plane-crash-queued": {"agents.take_away", "control-plane.crash"},
    "session-crash": {"sessions.crash"},
}
FEWER = {"reserve": 4, "sessions_hit": 3}
HOLD_S = {"agent-zombie": 1.5}  # longer than the lab of these tests waits for an agent


def test_every_experiment_is_run_by_the_tests() -> None:
    found = {path.stem for path in (ROOT / "experiments").glob("*.json")}
    assert found == {*KINDS, "agent-failover"}


@pytest.mark.parametrize("name", KINDS)
def test_an_experiment_passes_on_a_correct_platform_and_is_exposed_to_its_fault(
    name: str, lab: starter.Stack, begin: Begin
) -> None:
    experiment = ROOT / "experiments" / f"{name}.json"
    stated = json.loads(experiment.read_text())
    extra = {key: value for key, value in FEWER.items() if key in stated["configuration"]}
    if name in HOLD_S:
        extra["hold_s"] = HOLD_S[name]
    variables = [text for key, value in extra.items() for text in ("--var", f"{key}:{type(value).__name__}={value}")]
    ran = begin(lab.platform_file, *variables, experiment=experiment).finish()
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert {fault["kind"] for fault in verdict["faults"]} == KINDS[name]
    wanted = stated["controls"][0]["provider"]["arguments"]["exposure"]
    assert set(wanted) <= set(verdict["exposure"])
    for kind in wanted:
        told = verdict["exposure"][kind]
        assert told[told["measure"]] >= told["need"] == 2, told
    if name == "agent-zombie":
        assert reported_away(ran.directory), "it was declared away before it woke up"
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert [(one.state, one.held_by) for one in status.components] == [("up", None)] * len(status.components)
    assert [slot.slot for slot in status.slots if slot.state != "gone"] == []


def reported_away(run: pathlib.Path) -> bool:
    lines = (run / "history" / "recorder.jsonl").read_text().splitlines()
    return any(one.get("about") == "agent" and one["state"] == "offline" for one in map(json.loads, lines))
