"""k8s/ as a server takes it, and the roles in it: what each allows is what is asked for, no more and no less."""

import pathlib
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from clusters import BASE, Space, rules_of

from chaosreprise.faults import on_pods, registry
from chaosreprise.kubernetes import lease
from chaosreprise.platform import streamspace_objects

pytestmark = pytest.mark.kubernetes
OVERLAY = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../base"]}


def test_the_server_takes_the_base_under_an_overlay_of_somebodys_namespace(
    space: Space, tmp_path: pathlib.Path
) -> None:
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("no kubectl on the PATH")
    for name in ("base", "nodes"):
        shutil.copytree(BASE.parent / name, tmp_path / name)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kustomization.yaml").write_text(
        yaml.safe_dump(OVERLAY | {"namespace": space.name, "components": ["../nodes"]})
    )
    command = [kubectl, "--kubeconfig", space.kubeconfig, "apply", "--dry-run=server", "-k", tmp_path / "own"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    made = {line.split()[0] for line in done.stdout.splitlines()}
    named = {
        kind: {one["metadata"]["name"] for one in objects() if one["kind"] == kind} for kind in ("Role", "ClusterRole")
    }
    assert {"reprise-watch", "reprise-crash", "reprise-take-away", "reprise-drain-node"} <= named["Role"]
    assert named["ClusterRole"] == {"reprise-drain-node", "reprise-taint-node"}
    assert made == {
        "serviceaccount/reprise",
        *(
            f"{kind.lower()}{of}.rbac.authorization.k8s.io/{name}"
            for kind, names in named.items()
            for name in names
            for of in ("", "binding")
        ),
    }
    assert "reprise" not in {one.metadata.name for one in space.core.list_namespaced_service_account(space.name).items}


def objects() -> list[dict[str, Any]]:
    paths = [path for name in ("base", "nodes") for path in (BASE.parent / name).glob("*.yaml")]
    return [one for path in paths for one in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("verb", ["crash", "restart", "take_away"])
def test_a_role_is_what_its_fault_asks_for(verb: str) -> None:
    fault = registry.get(f"agents.{verb}")
    assert isinstance(fault, on_pods.Anywhere)
    role = "crash" if verb == "restart" else verb
    assert {*rules_of(role)} == {tuple(right) for right in fault.rights}


def test_the_role_of_who_watches_is_what_is_asked_for() -> None:
    assert {*rules_of("watch")} == {tuple(right) for rights in streamspace_objects.RIGHTS.values() for right in rights}


def test_the_role_of_the_lock_is_what_a_run_asks_for() -> None:
    assert {*rules_of("lock")} == {tuple(right) for right in lease.RIGHTS}
