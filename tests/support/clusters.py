"""A namespace of a real cluster, and a way to its API server that can be cut and frozen."""

import contextlib
import os
import pathlib
import secrets
import select
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from platformfiles import STREAMSPACE

ACCOUNT = "reprise"
IMAGE = os.environ.get("REPRISE_IMAGE")
NO_IMAGE = "REPRISE_IMAGE is not set: it names an image of Reprise that the nodes of the cluster have"
BASE = pathlib.Path(__file__).resolve().parents[2] / "k8s" / "base"
Rule = tuple[str, str, str]
"""A verb, an API group, a resource."""
LABELS = {"app": "streamspace-session"}
ON = "agents/k1"
TEXT = (
    STREAMSPACE
    + """\
[kubernetes]
namespace = "{namespace}"
kubeconfig = "kubeconfig"
[components."{on}"]
how = "kubernetes"
selector = "{selector}"
"""
)


def written(folder: pathlib.Path, space: "Space", selector: str) -> pathlib.Path:
    """A platform file whose one component is the Deployment that this selects."""
    path = folder / "p.toml"
    path.write_text(TEXT.format(port=1, namespace=space.name, on=ON, selector=selector))
    return path


class Relay:
    """TCP to the API server. `cut`: what is connected is closed, and new connections too, until `mend`; `freeze`: nothing passes;
    `deafen`: what is asked passes, and the first answer closes its connection."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._passes, self._is_cut, self._is_deaf = threading.Event(), False, False
        self._passes.set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        self._passes.clear()

    def deafen(self) -> None:
        self._is_deaf = True

    def mend(self) -> None:
        self._is_cut = self._is_deaf = False
        self._passes.set()

    def close(self) -> None:
        self.mend()
        self.cut()
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            if self._is_cut:
                return
            with socket.create_connection(self._to) as far:
                both = {near, far}
                self._open |= both
                if self._is_cut:
                    return
                try:
                    while True:
                        for one in select.select([near, far], [], [])[0]:
                            data = one.recv(65536)
                            self._passes.wait()
                            if not data or (self._is_deaf and one is far):
                                return
                            (far if one is near else near).sendall(data)
                finally:
                    self._open -= both


def rules_of(role: str, kind: str = "Role") -> list[Rule]:
    """What a role of ours in k8s/ allows, or a ClusterRole."""
    [path] = BASE.parent.glob(f"*/{role.replace('_', '-')}.yaml")
    found = [one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == kind]
    return [
        (verb, group, resource)
        for one in found
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def images(space: "Space") -> list[str]:
    """What its nodes say that they have; they say it every few minutes."""
    nodes = space.core.list_node().items
    return sorted({name for node in nodes for image in node.status.images or [] for name in image.names or []})


def with_python(space: "Space") -> str:
    """An image with Python and `sh` that its nodes have. Skips the test where none is known."""
    found = IMAGE or next((name for name in images(space) if "python" in name or "reprise" in name), None)
    if found is None:
        pytest.skip(NO_IMAGE)
    return found


def pause(space: "Space") -> str:
    """An image that its nodes have already. Skips the test where there is none."""
    pauses = [name for name in images(space) if "pause" in name]
    if not pauses:
        pytest.skip("the cluster has no node with the image `pause`: no pod could be run without a registry")
    return pauses[0]


def _rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [{"verbs": [verb], "apiGroups": [group], "resources": [resource]} for verb, group, resource in rules]


class Space:
    """A namespace of its own. `kubeconfig` goes through `relay`; what the test does itself goes straight to the server."""

    def __init__(self, folder: pathlib.Path, kubeconfig: str) -> None:
        self.context = config.list_kube_config_contexts(kubeconfig)[1]["name"]
        self.api = config.new_client_from_config(kubeconfig)
        self.apps, self.core = client.AppsV1Api(self.api), client.CoreV1Api(self.api)
        self.rbac, self._has_account = client.RbacAuthorizationV1Api(self.api), False
        self.name = f"reprise-test-{secrets.token_hex(4)}"
        self.core.create_namespace({"metadata": {"name": self.name}})
        self.kubeconfig = folder / "kubeconfig"
        self.relay = self._way(kubeconfig)

    def end(self) -> None:
        self.relay.close()
        for kind in ("cluster_role", "cluster_role_binding") if self._has_account else ():
            getattr(self.rbac, f"delete_{kind}")(self.name)
        for one in self.apps.list_namespaced_deployment(self.name).items:
            self.apps.delete_namespaced_deployment(one.metadata.name, self.name)
        self.core.delete_namespace(self.name)
        self.core.delete_collection_persistent_volume(label_selector=f"space={self.name}")
        self.api.close()

    def make(self, name: str, memory: str = "134217728", replicas: int = 1, image: str = "none", **more: Any) -> None:
        """`more` of its container."""
        labels = LABELS | {"session": name}
        container: dict[str, Any] = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "Never",
            "resources": {"requests": {"memory": memory, "cpu": "1m"}},
            **more,
        }
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"session": name}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        self.apps.create_namespaced_deployment(self.name, {"metadata": {"name": name, "labels": labels}, "spec": spec})

    def scale(self, name: str, replicas: int) -> None:
        self.apps.patch_namespaced_deployment(name, self.name, {"spec": {"replicas": replicas}})

    def label(self, name: str, value: str) -> None:
        self.apps.patch_namespaced_deployment(name, self.name, {"metadata": {"labels": {"other": value}}})

    def delete(self, name: str) -> None:
        self.apps.delete_namespaced_deployment(name, self.name, propagation_policy="Background")

    def get(self, name: str) -> Any:
        return self.apps.read_namespaced_deployment(name, self.name)

    def account(self, *rules: Rule, everywhere: Sequence[Rule] = ()) -> None:
        """From here on `kubeconfig` is that of an account that may do so here, and in the whole cluster."""
        if not self._has_account:
            self._has_account = True
            self.core.create_namespaced_service_account(self.name, {"metadata": {"name": ACCOUNT}})
            self.rbac.create_namespaced_role(self.name, {"metadata": {"name": ACCOUNT}})
            self.rbac.create_namespaced_role_binding(self.name, self._binding("Role", ACCOUNT))
            self.rbac.create_cluster_role({"metadata": {"name": self.name}})
            self.rbac.create_cluster_role_binding(self._binding("ClusterRole", self.name))
        self.allow(*rules, everywhere=everywhere)
        asked = {"spec": {"audiences": []}}
        token = self.core.create_namespaced_service_account_token(ACCOUNT, self.name, asked).status.token
        loaded = yaml.safe_load(self.kubeconfig.read_text())
        for one in loaded["users"]:
            one["user"] = {"token": token}
        self.kubeconfig.write_text(yaml.safe_dump(loaded))

    @contextlib.contextmanager
    def as_admin(self) -> Iterator[None]:
        """Whatever `account` makes of it, afterwards `kubeconfig` is again what it was."""
        before = self.kubeconfig.read_text()
        try:
            yield
        finally:
            self.kubeconfig.write_text(before)

    def allow(self, *rules: Rule, everywhere: Sequence[Rule] = ()) -> None:
        """The account may do this instead."""
        self.rbac.patch_namespaced_role(ACCOUNT, self.name, {"rules": _rules(rules)})
        self.rbac.patch_cluster_role(self.name, {"rules": _rules(everywhere)})

    def _binding(self, kind: str, name: str) -> dict[str, Any]:
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.name}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        return {"metadata": {"name": name}, "subjects": [subject], "roleRef": ref}

    def _way(self, kubeconfig: str) -> Relay:
        """A kubeconfig in which the server is the relay; its certificate is of another address then."""
        loaded = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        chosen = next(one["context"] for one in loaded["contexts"] if one["name"] == self.context)
        cluster = next(one["cluster"] for one in loaded["clusters"] if one["name"] == chosen["cluster"])
        server = urllib.parse.urlsplit(cluster["server"])
        relay = Relay(server.hostname or "", server.port or 443)
        cluster.pop("certificate-authority", None)
        cluster.pop("certificate-authority-data", None)
        cluster |= {"server": f"https://127.0.0.1:{relay.port}", "insecure-skip-tls-verify": True}
        self.kubeconfig.write_text(yaml.safe_dump(loaded))
        return relay
