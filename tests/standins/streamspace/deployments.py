"""A session as Deployment and Service of a cluster, made through its API. CLUSTER (a kubeconfig, or empty), NAMESPACE, IMAGE, POLL_S; STANDIN_DEFECT.

A careful agent: hibernated and stopped is what has no pod left. With the defect `hasty` it says so at once. Homes are claims where
`homes` is switched on, which takes a cluster a while; else they are nobody's.
"""

import asyncio
import os
import secrets
import time
from typing import Any

from kubernetes import client, config

LIMIT_S = 120.0
CLAIM, SIZE = "persistentVolumeClaim", "1Mi"


def misbehaves(name: str) -> bool:
    """Whether the misbehaviour is switched on in STANDIN_DEFECT, a list with commas."""
    return name in os.environ.get("STANDIN_DEFECT", "").split(",")


class Deployments:
    """`again`: this is not the agent's first life, which is where some misbehaviour shows."""

    def __init__(self, again: bool) -> None:
        self._again = again
        api = _client()
        self._apps, self._core, self._where = client.AppsV1Api(api), client.CoreV1Api(api), os.environ["NAMESPACE"]
        if again and misbehaves("ends-sessions"):
            self._core.delete_collection_namespaced_pod(self._where, label_selector="app=streamspace-session")

    async def act(self, action: str, payload: dict[str, Any]) -> str:
        """Do it; returns the name of the session's pod."""
        return await asyncio.to_thread(getattr(self, action), payload)

    def count(self) -> int:
        """The sessions there are."""
        return len(self._apps.list_namespaced_deployment(self._where, label_selector="app=streamspace-session").items)

    def start_session(self, payload: dict[str, Any]) -> str:
        """Until its pod is ready."""
        name = payload["sessionId"]
        self._home(payload)
        self._make(name, name, payload)
        port = {"ports": [{"port": 5900}], "selector": {"session": name}}
        self._core.create_namespaced_service(
            self._where, {"metadata": {"name": name, "labels": _labels(payload)}, "spec": port}
        )
        if misbehaves("starts-twice"):
            self._ready(name)
            self._delete(name)
            self._make(name, name, payload)
        if misbehaves("two-deployments"):
            self._make(f"{name}-2", name, payload)
        return self._ready(name, 2 if misbehaves("two-deployments") else 1)

    def hibernate_session(self, payload: dict[str, Any]) -> str:
        """Until it has no pod."""
        name = payload["sessionId"]
        self._scale(name, 0)
        gone = self._gone(name)
        if misbehaves("home-lost") and self._volumes(name):
            self._core.delete_namespaced_persistent_volume_claim(f"{name}-home", self._where)
        return gone

    def wake_session(self, payload: dict[str, Any]) -> str:
        """Until its pod is ready."""
        name = payload["sessionId"]
        if self._again and misbehaves("never-wakes"):
            image = {"containers": [{"name": "session", "image": "absent:1"}]}
            self._apps.patch_namespaced_deployment(
                name, self._where, {"spec": {"replicas": 1, "template": {"spec": image}}}
            )
            return f"{name}-0"
        if misbehaves("home-lost") and self._volumes(name):
            self._home({"sessionId": name, "persistentHome": True})
        if misbehaves("home-forgotten"):
            bare = {"spec": {"template": {"spec": {"volumes": None}}}}
            self._apps.patch_namespaced_deployment(name, self._where, bare)
        self._scale(name, 1)
        if self._again and misbehaves("wakes-twice"):
            self._scale(name, 2)
            return self._ready(name, 2)
        return self._ready(name)

    def stop_session(self, payload: dict[str, Any]) -> str:
        """What is not there is stopped."""
        name = payload["sessionId"]
        for delete in (self._delete, lambda one: self._core.delete_namespaced_service(one, self._where)):
            try:
                delete(name)
            except client.ApiException as error:
                if error.status != 404:
                    raise
        return self._gone(name)

    def _home(self, payload: dict[str, Any]) -> None:
        """Its claim, and what that is given: there is no provisioner here, and nobody writes."""
        if not payload["persistentHome"] or not misbehaves("homes"):
            return
        claim, volume = f"{payload['sessionId']}-home", f"{self._where}-{secrets.token_hex(6)}"
        room = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        spec = room | {"capacity": {"storage": SIZE}, "hostPath": {"path": "/tmp"}}
        spec["claimRef"] = {"namespace": self._where, "name": claim}
        self._core.create_persistent_volume(
            {"metadata": {"name": volume, "labels": {"space": self._where}}, "spec": spec}
        )
        spec = room | {"volumeName": volume, "resources": {"requests": {"storage": SIZE}}}
        of = {"name": claim, "labels": {"app": "streamspace-session", "session": payload["sessionId"]}}
        self._core.create_namespaced_persistent_volume_claim(self._where, {"metadata": of, "spec": spec})

    def _volumes(self, name: str) -> Any:
        return self._apps.read_namespaced_deployment(name, self._where).spec.template.spec.volumes

    def _make(self, name: str, session: str, payload: dict[str, Any]) -> None:
        labels = _labels(payload)
        asked = {"memory": payload["memory"], "cpu": payload["cpu"]}
        resources = {"limits": asked, "requests": {"memory": "1Mi", "cpu": "1m"}}
        if misbehaves("no-limits"):
            resources = {"requests": asked | {"cpu": "1m"}}
        if misbehaves("one-processor"):
            resources["limits"] = asked | {"cpu": "1"}
        container = {
            "name": "session",
            "image": os.environ["IMAGE"],
            "imagePullPolicy": "Never",
            "resources": resources,
        }
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "enableServiceLinks": False}}
        if payload["persistentHome"] and misbehaves("homes"):
            pod["spec"] |= {"volumes": [{"name": "home", CLAIM: {"claimName": f"{session}-home"}}]}
        spec = {"replicas": 1, "selector": {"matchLabels": {"session": session}}, "template": pod}
        self._apps.create_namespaced_deployment(
            self._where, {"metadata": {"name": name, "labels": labels}, "spec": spec}
        )

    def _delete(self, name: str) -> None:
        self._apps.delete_namespaced_deployment(name, self._where, propagation_policy="Foreground")
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until and misbehaves("starts-twice"):
            try:
                self._apps.read_namespaced_deployment(name, self._where)
            except client.ApiException:
                return
            time.sleep(0.05)

    def _scale(self, name: str, replicas: int) -> None:
        self._apps.patch_namespaced_deployment(name, self._where, {"spec": {"replicas": replicas}})

    def _pods(self, name: str) -> list[Any]:
        return list(self._core.list_namespaced_pod(self._where, label_selector=f"session={name}").items)

    def _gone(self, name: str) -> str:
        hasty = misbehaves("hasty") or misbehaves("two-deployments")  # of which one stays
        self._until(lambda: hasty or not self._pods(name))
        return ""

    def _ready(self, name: str, count: int = 1) -> str:
        self._until(lambda: sum(map(_is_ready, self._pods(name))) >= count)
        return str(next(one.metadata.name for one in self._pods(name) if _is_ready(one)))

    def _until(self, is_so: Any) -> None:
        until = time.monotonic() + LIMIT_S
        while not is_so():
            if time.monotonic() > until:
                raise TimeoutError("not within its time")
            time.sleep(float(os.environ.get("POLL_S", "2")))


def _client() -> client.ApiClient:
    if kubeconfig := os.environ["CLUSTER"]:
        return config.new_client_from_config(kubeconfig)
    own = client.Configuration()
    config.load_incluster_config(own)
    return client.ApiClient(own)


def _labels(payload: dict[str, Any]) -> dict[str, str]:
    of = {name: payload[name] for name in ("user", "template")}
    return {"app": "streamspace-session", "session": payload["sessionId"], **of}


def _is_ready(pod: Any) -> bool:
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
    return ready and pod.metadata.deletion_timestamp is None
