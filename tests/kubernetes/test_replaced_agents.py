"""Agents of the lab that are replaced in the cluster, by a release or by the maintenance of a node, with commands in their hands."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Space
from inpods import Lab, lab_in, shown
from runs import ROOT, unproven

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(1800)]
RUN_S = 900.0
WORK = {"REPRISE_LAB_WORK_S": "8"}  # what the API takes to end a pod passes while commands are in its hands
KINDS = {
    "agent-rollout": "agents.rollout_restart",
    "agent-evicted": "agents.evict",
    "agent-container-killed": "agents.kill_container",
}
NEED = json.loads((ROOT / "experiments" / "agent-rollout.json").read_text())["configuration"]["exposure"]


@pytest.fixture
def lab(space: Space, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from lab_in(space, tmp_path, WORK | getattr(request, "param", {}))


def ran(lab: Lab, name: str, folder: str = "/experiments") -> tuple[bool, dict[str, Any]]:
    """Whether the run of an experiment ended well, and its verdict."""
    lab.start(name, "--no-version-check", "run", f"{folder}/{name}.json")
    return ended(lab, name)


def ended(lab: Lab, job: str) -> tuple[bool, dict[str, Any]]:
    well = lab.ended(job, RUN_S)
    assert "report  " in lab.said(job), lab.said(job)
    return well, lab.verdict()


@pytest.mark.parametrize("name", [name for name in KINDS if name != "agent-rollout"])
def test_an_experiment_passes_with_commands_in_the_hands_of_who_is_replaced(lab: Lab, name: str) -> None:
    before = pods(lab)
    passes(lab, name, name, *ran(lab, name))
    assert len(pods(lab) - before) == (name != "agent-container-killed"), "one agent is another pod"


@pytest.mark.parametrize("lab", [{"REPRISE_LAB_WORK_S": "0"}], indirect=True, ids=["quick"])
def test_what_the_page_shows_of_a_release_passes(lab: Lab) -> None:
    for line in shown("A release, and the maintenance of a node"):
        lab.shell(line)
    before = pods(lab)
    passes(lab, "agent-rollout", "release", *ended(lab, "release"))
    assert len(pods(lab) - before) == 1, "one agent is another pod"


def passes(lab: Lab, name: str, job: str, well: bool, verdict: dict[str, Any]) -> None:
    assert (well, verdict["verdict"]) == (True, "true"), lab.said(job)
    assert [one["kind"] for one in verdict["faults"]] == [KINDS[name]]
    for op in ("stop", "hibernate", "wake"):
        told = verdict["exposure"][op]
        assert told["measure"] == "in_flight"
        assert told["in_flight"] >= told["need"] == NEED, lab.said(job)
    assert unproven(name, verdict) == set(), lab.said(job)


def pods(lab: Lab) -> set[str]:
    return set(lab("get", "pods", "--selector=app=lab-agent", "--output=jsonpath={.items[*].metadata.uid}").split())


@pytest.mark.parametrize(
    ("lab", "name", "label"),
    [
        ({"REPRISE_LAB_DEFECT": "done-at-the-end"}, "agent-rollout", "silent"),
        ({"REPRISE_LAB_DEFECT": "goodbye-is-the-end"}, "agent-evicted", "stuck"),
    ],
    indirect=["lab"],
    ids=["done-at-the-end", "goodbye-is-the-end"],
)
def test_commands_that_go_with_a_polite_end_are_found(lab: Lab, name: str, label: str) -> None:
    well, verdict = ran(lab, name)
    lost = verdict["checks"]["lost"]
    assert (well, lost["verdict"]) == (False, "false"), lab.said(name)
    assert all(witness["label"] == label for witness in lost["witnesses"]), lost


DENIED = {
    "name": "deny",
    "type": "action",
    "provider": {"type": "python", "module": "chaosreprise.actions.control_plane"},
}
HOW = {"func": "deny_network", "arguments": {"port": 8000, "hold_s": 5.0}}


@pytest.mark.parametrize("lab", [{"REPRISE_LAB_WORK_S": "0"}], indirect=True, ids=["quick"])
def test_a_denial_that_this_network_ignores_is_no_pass(lab: Lab) -> None:
    """Where the network knows policies, nothing is accepted while it holds: that is no pass either."""
    stated = json.loads((ROOT / "experiments" / "agent-rollout.json").read_text())
    stated["method"][0] = DENIED | {"provider": DENIED["provider"] | HOW}
    stated["rollbacks"][0]["provider"]["module"] = DENIED["provider"]["module"]
    lab.put("denied.json", json.dumps(stated))
    well, verdict = ran(lab, "denied", "/lab")
    assert (well, verdict["verdict"]) == (False, "unknown"), lab.said("denied")
    [fault] = verdict["faults"]
    assert (fault["kind"], fault["end"]) == ("control-plane.deny_network", "clean")
    assert fault["proven"] is None, lab.said("denied")
    assert "still accepts connections" in lab.said("denied")
    assert "it was injected but not proven" in lab.said("denied")
    assert not lab("get", "networkpolicies", "--output=name")
