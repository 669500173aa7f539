"""The lab of k8s/overlays/lab in a namespace of a cluster, and runs that are started there as its CronJob would."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from clusters import BASE, Space
from linkwire import eventually

IMAGE = "REPRISE_IMAGE"
K8S = BASE.parent
PAGE = K8S.parent / "docs" / "kubernetes.md"
CALLED = "reprise-lab"  # as the overlay calls its namespace, and the folder of the node
READY_S = 240
OURS = pathlib.Path(sys.executable).parent  # where `chaos` is
ON_NODE = {
    "restartPolicy": "Never",
    "securityContext": {"runAsUser": 0},
    "volumes": [{"name": "tmp", "hostPath": {"path": "/var/tmp"}}],
    "containers": [
        {"name": "main", "imagePullPolicy": "IfNotPresent", "volumeMounts": [{"name": "tmp", "mountPath": "/there"}]}
    ],
}


def shown(title: str) -> list[str]:
    """The commands in a section of docs/kubernetes.md."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def needed() -> None:
    """Skips the test where nothing can be run in pods."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no Kubernetes with nodes: KUBECONFIG is not set")
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on the PATH")
    if IMAGE not in os.environ:
        pytest.skip(f"no image: {IMAGE} is not set to one that the cluster's nodes have (scripts/image makes it)")


class Lab:
    """`env`: what its agents and its control plane are told besides, such as a defect."""

    def __init__(self, folder: pathlib.Path, space: Space, kubeconfig: str, env: dict[str, str] | None = None) -> None:
        self.space, self._kubeconfig = space, kubeconfig
        self.overlay = folder / "k8s" / "overlays" / "lab"
        shutil.copytree(K8S, folder / "k8s")
        name, _, tag = os.environ[IMAGE].rpartition(":")
        for file in self.overlay.iterdir():
            text = file.read_text().replace(CALLED, space.name)
            file.write_text(
                text.replace("newName: reprise", f"newName: {name}").replace('newTag: "1"', f"newTag: {tag}")
            )
        self("apply", "-k", str(self.overlay))
        if env:
            self.set(env)
        self.ready()

    def ready(self) -> None:
        self("rollout", "status", "deployment", "--selector=app!=streamspace-session", f"--timeout={READY_S}s")

    def set(self, env: dict[str, str]) -> None:
        parts = ("control-plane", "agent-a1", "agent-a2")
        told = [f"{name}={value}" for name, value in env.items()]
        self("set", "env", *(f"deployment/{part}" for part in parts), *told)

    def __call__(self, *arguments: str, given: str = "") -> str:
        done = self._ask(*arguments, given=given)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def _ask(self, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        command = ["kubectl", "--kubeconfig", self._kubeconfig, "--namespace", self.space.name, *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True)

    def shell(self, line: str, folder: pathlib.Path | None = None) -> str:
        """A command as somebody would type it in the checkout, or in a folder like it."""
        line = line.replace("k8s/overlays/lab", str(self.overlay)).replace(CALLED, self.space.name)
        done = subprocess.run(
            line,
            shell=True,
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"KUBECONFIG": self._kubeconfig, "PATH": f"{OURS}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def start(self, name: str, *arguments: str, **spec: Any) -> None:
        """A Job of the CronJob; `arguments` instead of its own, and more in the `spec` of its pod."""
        made = json.loads(self("create", "job", "--from=cronjob/reprise", name, "--dry-run=client", "--output=json"))
        pod = made["spec"]["template"]["spec"]
        pod |= spec
        if arguments:
            pod["containers"][0]["args"] = [*arguments]
        file = self.overlay / f"{name}.json"
        file.write_text(json.dumps(made))
        self("create", "--filename", str(file))

    def said(self, name: str) -> str:
        return self._ask("logs", f"job/{name}").stdout

    def kill(self, name: str) -> None:
        """All of its processes at once, which its pod must share: one that is deleted is told to end first, by force too."""
        self._ask("exec", f"job/{name}", "--", "sh", "-c", "kill -KILL -1")

    def ended(self, name: str, within_s: float) -> bool:
        """Whether it ended well. Waits for that."""
        assert eventually(lambda: self.conditions(name), within_s), self.said(name)
        return "Complete" in self.conditions(name)

    def code(self, name: str) -> int:
        """Of its container, which has ended."""
        path = "--output=jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}"
        return int(self("get", "pods", f"--selector=job-name={name}", path))

    def conditions(self, name: str) -> str:
        told = self("get", "job", name, '--output=jsonpath={.status.conditions[?(@.status=="True")].type}')
        return told if "Complete" in told or "Failed" in told else ""

    def file(self, path: str) -> str:
        """Of the lab's volume."""
        return self("exec", "deployment/database", "--", "cat", f"/lab/{path}")

    def put(self, path: str, text: str) -> None:
        """Into the lab's volume."""
        self("exec", "--stdin", "deployment/database", "--", "sh", "-c", f"cat > /lab/{path}", given=text)

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file("runs/latest/verdict.json"))
        return found

    def end(self) -> None:
        """Nothing stays on the node."""
        self("delete", "job", "--all", "--wait=false")
        self("scale", "deployment", "--all", "--replicas=0")
        self("delete", "pod", "--all", "--grace-period=1")
        on_node(self.space, "cleaner", "rm", "-rf", f"/there/{self.space.name}")


def lab_in(space: Space, folder: pathlib.Path, env: dict[str, str] | None = None) -> Iterator[Lab]:
    """The body of a fixture."""
    needed()
    found = Lab(folder, space, os.environ["KUBECONFIG"], env)
    try:
        yield found
    finally:
        found.end()


def on_node(space: Space, name: str, *command: str) -> None:
    """Executed on a node, whose /var/tmp is /there, as root."""
    spec = json.loads(json.dumps(ON_NODE))
    spec["containers"][0] |= {"image": os.environ[IMAGE], "command": [*command]}
    space.core.create_namespaced_pod(space.name, {"metadata": {"name": name}, "spec": spec})

    def ended() -> bool:
        return bool(space.core.read_namespaced_pod(name, space.name).status.phase == "Succeeded")

    assert eventually(ended, READY_S)
