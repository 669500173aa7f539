"""Agents of the lab that are replaced in the cluster, by a release or by the maintenance of a node, with commands in their hands."""

import json
import os
import pathlib
from collections.abc import Iterator

import pytest
from clusters import Space
from inpods import Lab, lacking
from runs import ROOT, unproven

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(1800)]
RUN_S = 900.0
WORK = {"REPRISE_LAB_WORK_S": "8"}  # what the API takes to end a pod passes while commands are in its hands
KINDS = {"agent-rollout": "agents.rollout_restart", "agent-evicted": "agents.evict"}
NEED = json.loads((ROOT / "experiments" / "agent-rollout.json").read_text())["configuration"]["exposure"]


@pytest.fixture
def lab(space: Space, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no Kubernetes with nodes: KUBECONFIG is not set")
    if why := lacking():
        pytest.skip(why)
    found = Lab(tmp_path, space, os.environ["KUBECONFIG"], WORK | getattr(request, "param", {}))
    try:
        yield found
    finally:
        found.end()


def ran(lab: Lab, name: str) -> bool:
    """Whether the run of an experiment ended well."""
    lab.start(name, "--no-version-check", "run", f"/experiments/{name}.json")
    return lab.ended(name, RUN_S)


def test_both_experiments_pass_with_commands_in_the_hands_of_who_is_replaced(lab: Lab) -> None:
    for name, kind in KINDS.items():
        before = pods(lab)
        well = ran(lab, name)
        verdict = lab.verdict()
        assert (well, verdict["verdict"]) == (True, "true"), lab.said(name)
        assert [one["kind"] for one in verdict["faults"]] == [kind]
        for op in ("stop", "hibernate", "wake"):
            told = verdict["exposure"][op]
            assert told["measure"] == "in_flight"
            assert told["in_flight"] >= told["need"] == NEED, lab.said(name)
        assert unproven(name, verdict) == set(), lab.said(name)
        assert len(pods(lab) - before) == 1, "one agent is another pod"


def pods(lab: Lab) -> set[str]:
    return set(lab("get", "pods", "--selector=app=lab-agent", "--output=jsonpath={.items[*].metadata.uid}").split())


@pytest.mark.parametrize(
    ("lab", "name", "label"),
    [
        ({"REPRISE_LAB_DEFECT": "done-at-the-end"}, "agent-rollout", "silent"),
        ({"REPRISE_LAB_DEFECT": "goodbye-is-the-end"}, "agent-evicted", "stuck"),
    ],
    indirect=["lab"],
)
def test_commands_that_go_with_a_polite_end_are_found(lab: Lab, name: str, label: str) -> None:
    assert not ran(lab, name)
    lost = lab.verdict()["checks"]["lost"]
    assert lost["verdict"] == "false", lab.said(name)
    assert all(witness["label"] == label for witness in lost["witnesses"]), lost
