"""The overlays of k8s/, as kubectl puts them together and a server takes them, and what must hold of the CronJob in each."""

import json
import pathlib
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from clusters import BASE, Space

from chaosreprise.faults import on_pods, registry
from chaosreprise.platform import file

ROOT = BASE.parents[1]
OVERLAYS = {"lab": "reprise-lab", "nightly": "streamspace", "gameday": "streamspace"}
SUSPENDED = {"lab": True, "nightly": False, "gameday": True}
DECISIONS_S = 300  # what a run does beside what its experiment and its platform file state: starts, answers, judging


def kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("no kubectl on the PATH")
    return found


def built(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([kubectl(), "kustomize", BASE.parent / "overlays" / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return [*yaml.safe_load_all(done.stdout)]


@pytest.mark.kubernetes
@pytest.mark.parametrize("name", OVERLAYS)
def test_a_server_takes_an_overlay_without_a_warning(name: str, space: Space, tmp_path: pathlib.Path) -> None:
    command = kubectl()
    shutil.copytree(BASE.parent, tmp_path / "k8s")
    for path in (tmp_path / "k8s" / "overlays").glob("*/*"):
        path.write_text(path.read_text().replace(OVERLAYS[name], space.name))
    if name == "lab":  # the namespace is there, and not made by kubectl
        (tmp_path / "k8s" / "overlays" / name / "kustomization.yaml").write_text(
            (tmp_path / "k8s" / "overlays" / name / "kustomization.yaml")
            .read_text()
            .replace("  - namespace.yaml\n", "")
        )
    apply = [command, "--kubeconfig", space.kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-k"]
    done = subprocess.run([*apply, tmp_path / "k8s" / "overlays" / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cronjob.batch/reprise created" in done.stdout


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_cronjob_runs_once_alone_without_rights_it_does_not_need_and_has_the_time_to_undo(name: str) -> None:
    objects = built(name)
    [cron] = [one["spec"] for one in objects if (one["kind"], one["metadata"]["name"]) == ("CronJob", "reprise")]
    job = cron["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    assert (cron["concurrencyPolicy"], job["backoffLimit"], pod["restartPolicy"]) == ("Forbid", 0, "Never")
    assert cron["suspend"] is SUSPENDED[name]
    assert cron["successfulJobsHistoryLimit"] > 0 < cron["failedJobsHistoryLimit"]
    annotations = job["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert pod["serviceAccountName"] == "reprise"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    longest = max(
        on_pods.OnPods.undo_s, *(registry.get(kind).undo_s for kind in registry.kinds() if kind.startswith("agents."))
    )
    assert pod["terminationGracePeriodSeconds"] > longest
    assert job["activeDeadlineSeconds"] > needed_s(name, container["args"][-1]) + longest + DECISIONS_S


def needed_s(name: str, experiment: str) -> float:
    """Baseline, fault, quiet, and the time to settle: after the drain, the end of the sessions and that of the canaries, each maybe after work for as long."""
    stated = json.loads((ROOT / experiment.lstrip("/")).read_text())["configuration"]
    timing = file.load(str(BASE.parent / "overlays" / name / "platform.toml")).file.timing
    assert timing is not None
    waits = sum(stated[wait] for wait in ("baseline_s", "hold_s", "quiet_s") if wait in stated)
    return waits + 2 * 3 * timing.settle.seconds(4 * (stated["exposure"] + 1))


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_secret_stands_in_a_file(name: str) -> None:
    objects = built(name)
    assert not [one for one in objects if one["kind"] == "Secret"]
    [config] = [one["data"] for one in objects if one["kind"] == "ConfigMap"]
    assert 'password = { file = "' in config["platform.toml"]


def test_the_dockerfile_is_for_nobody_who_is_root_and_pins_what_it_takes() -> None:
    text = (BASE.parent / "Dockerfile").read_text()
    assert [line for line in text.splitlines() if line.startswith("USER")] == ["USER 65532:65532"]
    assert "--constraint /build/py312.txt" in text
    assert "ARG BASE=python:3.13." in text


def test_what_can_not_be_made_into_an_image_is_refused_with_a_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "base" / "bin").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM x\nONBUILD RUN true\n")
    for base, why in (("nowhere", "is no root file system"), ("base", "ONBUILD is no step that this script knows")):
        arguments = [tmp_path / base, "x:1", tmp_path / "x.tar", tmp_path / "Dockerfile"]
        done = subprocess.run([ROOT / "scripts" / "image", *arguments], capture_output=True, text=True)
        assert (done.returncode, why in done.stderr, (tmp_path / "x.tar").exists()) == (1, True, False), done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dockerfile", "base"]
