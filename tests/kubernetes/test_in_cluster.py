"""k8s/overlays/lab as it stands, with our image: the lab's parts and its sessions are pods, and so is the run against them."""

import json
import os
import pathlib
import xml.etree.ElementTree
from collections.abc import Iterator

import pytest
from clusters import Space
from inpods import Lab, lacking, shown
from linkwire import eventually

from chaosreprise.kubernetes import lease
from chaosreprise.kubernetes.marks import ANNOTATION
from chaosreprise.kubernetes.where import Where

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(1200)]
RUN_S, FAULT_S = 900.0, 300.0


@pytest.fixture
def lab(space: Space, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no Kubernetes with nodes: KUBECONFIG is not set")
    if why := lacking():
        pytest.skip(why)
    found = Lab(tmp_path, space, os.environ["KUBECONFIG"], getattr(request, "param", None))
    try:
        yield found
    finally:
        found.end()


def test_the_lab_comes_up_as_pods_and_a_run_there_is_refused_by_the_name_of_who_holds_the_lock(lab: Lab) -> None:
    where = Where(namespace=lab.space.name, kubeconfig=str(lab.space.kubeconfig))
    with lease.held(where, "r1 on somewhere", lambda why: None):
        lab.start("second")
        assert not lab.ended("second", FAULT_S)
    says = (
        f"the namespace {lab.space.name} is being tested by r1 on somewhere, which holds its Lease {lease.NAME}: wait"
    )
    assert says in lab.said("second")


@pytest.mark.thorough
def test_a_doctor_in_a_pod_finds_that_a_run_could_begin(lab: Lab) -> None:
    lab.start("doctor", "--no-version-check", "reprise", "doctor", "/etc/reprise/platform/platform.toml")
    assert lab.ended("doctor", FAULT_S), lab.said("doctor")
    assert "agents/a1" in lab.said("doctor")


@pytest.mark.thorough
def test_what_the_page_shows_is_agent_failover_unchanged_with_its_verdict_in_the_volume(lab: Lab) -> None:
    said = [lab.shell(line) for line in shown("The lab in a cluster")]
    found = json.loads(said[-1])
    assert found["verdict"] == "true", said[-2]
    checks = {name: one["verdict"] for name, one in found["checks"].items()}
    assert {checks[name] for name in ("lost", "duplicate", "phantom", "residue", "split-brain")} == {"true"}
    suite = xml.etree.ElementTree.fromstring(lab.file("runs/latest/junit.xml"))
    assert not [*suite.iter("failure")]
    assert "agent-failover" in lab.file("runs/latest/report.html")


@pytest.mark.thorough
@pytest.mark.parametrize("lab", [{"REPRISE_LAB_DEFECT": "drop-queue"}], indirect=True)
def test_a_lab_that_loses_commands_is_found_out_there_and_its_job_has_failed(lab: Lab) -> None:
    lab.start("run")
    assert not lab.ended("run", RUN_S)
    found = lab.verdict()
    assert found["checks"]["lost"]["verdict"] == "false", found
    suite = xml.etree.ElementTree.fromstring(lab.file("runs/latest/junit.xml"))
    assert [*suite.iter("failure")]


@pytest.mark.thorough
@pytest.mark.parametrize("told", [False, True], ids=["killed", "told to end"])
def test_an_agent_that_is_away_comes_back_when_the_pod_of_its_run_ends_by_the_run_or_else_by_the_reaper(
    lab: Lab, told: bool
) -> None:
    lab.start("run", shareProcessNamespace=True)

    def away() -> list[str]:
        found = lab.space.apps.list_namespaced_deployment(lab.space.name).items
        return [one.metadata.name for one in found if ANNOTATION in (one.metadata.annotations or {})]

    assert eventually(lambda: away() or lab.conditions("run"), RUN_S)
    assert away(), lab.said("run")
    [broken] = away()
    if told:
        lab("delete", "pod", "--selector=job-name=run", "--wait=false")
    else:
        lab.kill("run")
    assert eventually(lambda: not away(), FAULT_S)
    lab("rollout", "status", f"deployment/{broken}", "--timeout=60s")
    assert lab("get", "deployment", broken, "--output=jsonpath={.spec.replicas}") == "1"
    by_reaper = f"deployments/{broken}: fault " in lab("logs", "deployment/reprise-reaper")
    assert by_reaper is not told
    assert not lab.ended("run", FAULT_S), "a Job is not tried again"
