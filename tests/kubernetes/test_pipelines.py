"""The steps of users' CI for a cluster, against a real API server: what kubelet and controllers would write, the test writes."""

import contextlib
import pathlib
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from clusters import Space
from kubernetes import client
from linkwire import eventually
from pipelines import Done, Job, run_shell, shell_steps

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]
ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKFLOW, JENKINSFILE = ROOT / "docs" / "ci" / "github-actions.yml", ROOT / "docs" / "ci" / "Jenkinsfile"
READY, RUN, LOGS = "Wait until the platform is ready", "Run the job", "Logs"
POD = {"containers": [{"name": "main", "image": "none"}]}
CRONJOB = {
    "metadata": {"name": "reprise"},
    "spec": {
        "schedule": "0 2 * * *",
        "suspend": True,
        "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
    },
}
OUTCOMES = {0: ("true", None), 1: ("false", "FAIL"), 2: ("unknown", "UNKNOWN"), 137: ("not judged", "NOT RUN")}


class Platform:
    """A namespace with a pod of the platform and the CronJob of Reprise."""

    def __init__(self, space: Space) -> None:
        self.space, self.batch = space, client.BatchV1Api(space.api)
        self.batch.create_namespaced_cron_job(space.name, CRONJOB)
        self.make("agent", {})

    def make(self, name: str, labels: dict[str, str]) -> None:
        self.space.core.create_namespaced_pod(
            self.space.name, {"metadata": {"name": name, "labels": labels}, "spec": POD}
        )

    def say(self, name: str, **status: Any) -> None:
        self.space.core.patch_namespaced_pod_status(name, self.space.name, {"status": status})

    def ready(self) -> None:
        self.say("agent", phase="Running", conditions=[{"type": "Ready", "status": "True"}])

    def end_job(self, name: str, code: int) -> None:
        """Once it is there: its pod ends with this code, and the controller says what became of it."""
        assert eventually(lambda: self._job(name) is not None, 60)
        self.make(f"{name}-x", {"job-name": name})
        state = {"terminated": {"exitCode": code}}
        status = {"name": "main", "state": state, "ready": False, "restartCount": 0, "image": "none", "imageID": ""}
        self.say(f"{name}-x", phase="Failed" if code else "Succeeded", containerStatuses=[status])
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        kinds = ("FailureTarget", "Failed") if code else ("SuccessCriteriaMet", "Complete")
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
        ended = {"startTime": now, "conditions": conditions, **({"failed": 1} if code else {"succeeded": 1})}
        self.batch.patch_namespaced_job_status(
            name, self.space.name, {"status": ended | ({} if code else {"completionTime": now})}
        )

    def _job(self, name: str) -> Any:
        with contextlib.suppress(client.ApiException):
            return self.batch.read_namespaced_job(name, self.space.name)
        return None


@pytest.fixture
def platform(own: Space) -> Platform:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the PATH")
    return Platform(own)


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def of_github(platform: Platform, folder: pathlib.Path, **env: str) -> tuple[Job, dict[str, Done]]:
    context = {
        "vars.CHAOS_NAMESPACE": platform.space.name,
        "vars.CHAOS_CRONJOB || 'reprise'": "reprise",
        "github.run_id": "7",
        "github.run_attempt": "1",
        "secrets.CHAOS_KUBECONFIG": platform.space.kubeconfig.read_text(),
    }
    job = Job(WORKFLOW, "cluster", context)
    return job, job.run(folder, **env)


@pytest.mark.parametrize("code", list(OUTCOMES))
def test_the_job_of_github_tells_what_became_of_the_one_in_the_cluster(
    code: int, platform: Platform, tmp_path: pathlib.Path
):
    platform.ready()
    thread = meanwhile(lambda: platform.end_job("reprise-7-1", code))
    job, done = of_github(platform, tmp_path)
    thread.join()
    verdict, title = OUTCOMES[code]
    assert done[READY].code == 0, done
    assert (done[RUN].code, job.failed) == (code, code != 0), done
    assert (tmp_path / "github_output").read_text() == f"verdict={verdict}\n"
    assert title is None or f"title={title}::" in done[RUN].said
    assert (done[LOGS].code is None) == (code == 0)
    collected = {path.name for path in (tmp_path / "logs").glob("*")} if code else set()
    assert collected == ({"events.txt", "agent.log", "reprise-7-1-x.log"} if code else set())
    assert (tmp_path / "temp" / "kubeconfig").stat().st_mode & 0o077 == 0


def test_a_job_that_does_not_end_in_time_is_told_to_and_is_no_verdict(platform: Platform, tmp_path: pathlib.Path):
    platform.ready()
    job, done = of_github(platform, tmp_path, LIMIT_S="0")
    assert (done[RUN].code, job.failed) == (3, True), done
    assert (tmp_path / "github_output").read_text() == "verdict=not judged\n"
    left = platform.batch.list_namespaced_job(platform.space.name).items
    assert [one.metadata.deletion_timestamp is not None for one in left] in ([], [True])


def test_a_platform_that_does_not_get_ready_is_not_broken(platform: Platform, tmp_path: pathlib.Path):
    steps = {name: script.replace("300s", "1s") for name, script in shell_steps(JENKINSFILE).items()}
    env = {"NAMESPACE": platform.space.name, "KUBECONFIG": str(platform.space.kubeconfig), "JOB": "j", "CRONJOB": "c"}
    done = run_shell(steps[READY], tmp_path, **env)
    assert (done.code, "timed out" in done.said) == (3, True), done
    platform.say("agent", phase="Succeeded")
    assert run_shell(steps[READY], tmp_path, **env).code == 3, "a platform without pods is none"


@pytest.mark.parametrize("code", [0, 2])
def test_the_steps_of_jenkins_hand_on_the_code(code: int, platform: Platform, tmp_path: pathlib.Path):
    platform.ready()
    steps = shell_steps(JENKINSFILE)
    kubeconfig = str(platform.space.kubeconfig)
    env = {"NAMESPACE": platform.space.name, "KUBECONFIG": kubeconfig, "JOB": "reprise-9", "CRONJOB": "reprise"}
    assert run_shell(steps[READY], tmp_path, **env).code == 0
    thread = meanwhile(lambda: platform.end_job("reprise-9", code))
    done = run_shell(steps[RUN], tmp_path, **env)
    thread.join()
    assert done.code == code, done
    assert run_shell(steps[LOGS], tmp_path, **env).code == 0
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"events.txt", "agent.log", "reprise-9-x.log"}
