"""k8s/overlays/lab as it stands, with our image: the lab's parts and its sessions are pods, and so is the run against them."""

import json
import pathlib
import xml.etree.ElementTree
from collections.abc import Iterator

import pytest
import yaml
from clusters import Space
from inpods import PAGE, Lab, lab_in, shown
from linkwire import eventually
from pipelines import Job, run_shell, shell_steps

from chaosreprise.kubernetes import lease
from chaosreprise.kubernetes.marks import ANNOTATION
from chaosreprise.kubernetes.where import Where

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(1200)]
RUN_S, FAULT_S = 900.0, 300.0
CI = PAGE.parent / "ci"
WORKFLOW, JENKINSFILE = CI / "github-actions.yml", CI / "Jenkinsfile"
ENDS = {0: "true", 1: "false", 2: "unknown", 3: "not judged"}
READY, RUN, LOGS = "Wait until the platform is ready", "Run the job", "Logs"


@pytest.fixture
def lab(space: Space, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from lab_in(space, tmp_path, getattr(request, "param", None))


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
    assert lab.code("run") == 1, "that of the verdict"
    found = lab.verdict()
    assert found["checks"]["lost"]["verdict"] == "false", found
    suite = xml.etree.ElementTree.fromstring(lab.file("runs/latest/junit.xml"))
    assert [*suite.iter("failure")]


RIGHTS = {
    ("batch", "cronjobs"): ["get"],
    ("batch", "jobs"): ["create", "get", "delete"],
    ("", "pods"): ["get", "list", "watch"],
    ("", "pods/log"): ["get"],
    ("", "events"): ["list"],
}


def of_pipeline(space: Space) -> str:
    """The kubeconfig of an account that may do what docs/nights.md names, and no more."""
    named = {"metadata": {"name": "pipeline"}}
    space.core.create_namespaced_service_account(space.name, named)
    rules = [{"apiGroups": [group], "resources": [one], "verbs": verbs} for (group, one), verbs in RIGHTS.items()]
    space.rbac.create_namespaced_role(space.name, named | {"rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pipeline"}
    subject = {"kind": "ServiceAccount", "name": "pipeline", "namespace": space.name}
    space.rbac.create_namespaced_role_binding(space.name, named | {"roleRef": ref, "subjects": [subject]})
    token = space.core.create_namespaced_service_account_token("pipeline", space.name, {"spec": {"audiences": []}})
    loaded = yaml.safe_load(space.kubeconfig.read_text())
    for one in loaded["users"]:
        one["user"] = {"token": token.status.token}
    return yaml.safe_dump(loaded)


def told(lab: Lab, job: str) -> str:
    """What its container's exit code says, which is what stands in the volume."""
    found = ENDS[lab.code(job)]
    assert found == "not judged" or lab.verdict()["verdict"] == found
    return found


@pytest.mark.thorough
def test_the_steps_of_a_workflow_start_the_job_there_and_hand_on_its_verdict(lab: Lab, tmp_path: pathlib.Path) -> None:
    here, kubeconfig = tmp_path / "pipeline", of_pipeline(lab.space)
    here.mkdir()
    context = {
        "vars.CHAOS_NAMESPACE": lab.space.name,
        "vars.CHAOS_CRONJOB || 'reprise'": "reprise",
        "github.run_id": "7",
        "github.run_attempt": "1",
        "secrets.CHAOS_KUBECONFIG": kubeconfig,
    }
    done = Job(WORKFLOW, "cluster", context).run(here, within_s=RUN_S)
    verdict = told(lab, "reprise-7-1")
    assert (done[READY].code, ENDS[done[RUN].code or 0]) == (0, verdict), done
    assert (here / "github_output").read_text() == f"verdict={verdict}\n"
    assert f"1 run: 1 {verdict}\n" in (here / "github_step_summary").read_text()
    assert done[LOGS].code == (None if verdict == "true" else 0)


@pytest.mark.thorough
@pytest.mark.parametrize("lab", [{"REPRISE_LAB_DEFECT": "drop-queue"}], indirect=True, ids=["drop-queue"])
def test_the_steps_of_jenkins_fail_where_the_platform_does_with_the_logs_of_all_pods(
    lab: Lab, tmp_path: pathlib.Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(of_pipeline(lab.space))
    env = {"NAMESPACE": lab.space.name, "JOB": "reprise-9", "CRONJOB": "reprise", "KUBECONFIG": str(kubeconfig)}
    steps = shell_steps(JENKINSFILE)
    ready, ran, logged = (run_shell(steps[name], tmp_path, within_s=RUN_S, **env) for name in (READY, RUN, LOGS))
    verdict = told(lab, "reprise-9")
    assert verdict != "true"
    assert (ready.code, ENDS[ran.code or 0], logged.code) == (0, verdict, 0), (ready, ran, logged)
    [log] = (tmp_path / "logs").glob("reprise-9-*.log")
    assert f"1 run: 1 {verdict}\n" in log.read_text()
    assert {"agent-a1", "control-plane"} <= {path.name.rsplit("-", 2)[0] for path in (tmp_path / "logs").glob("*.log")}
    assert "Scaled" in (tmp_path / "logs" / "events.txt").read_text()


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
