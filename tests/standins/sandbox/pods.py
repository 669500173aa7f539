"""Sessions as pods: each has a session agent of its own on :9000, to whose address the data plane speaks.

The image has only to have Python and aiohttp: the agent's source comes from a ConfigMap.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from kubernetes import client, config
from service import misbehaves, say, setting

HERE = Path(__file__).parent
SOURCE = ("session_agent.py", "runtimes.py", "service.py", "interpreter.py", "interpreter.js")
PORT = 9000
GRACE_S = 5
LOOK_S = 0.1
SIXTH = 6  # a run can't do without the first five


class Pods:
    """Of one namespace. Raises what the API's client does, and TimeoutError for one that is not ready in time."""

    def __init__(self) -> None:
        config.load_kube_config()
        self._core = client.CoreV1Api()
        self._namespace = setting("RUNTIME_NAMESPACE", "default")
        self._ready_s = float(setting("SESSION_READY_TIMEOUT", "60s").removesuffix("s"))
        self._made = 0
        source = {name: (HERE / name).read_text() for name in SOURCE}
        try:
            self._core.create_namespaced_config_map(
                self._namespace, {"metadata": {"name": "session-agent"}, "data": source}
            )
        except client.ApiException as error:
            if error.status != 409:
                raise

    async def make(self, key: str, runtime: str, mode: str) -> tuple[str, str]:
        """The name and the address of a pod for this session, once it is ready."""
        return await asyncio.to_thread(self._make, key, runtime, mode)

    async def end(self, name: str) -> None:
        """Delete it; one that is gone is ended."""
        await asyncio.to_thread(self._end, name)

    def _make(self, key: str, runtime: str, mode: str) -> tuple[str, str]:
        self._made += 1
        name = f"session-{key}"
        self._core.create_namespaced_pod(self._namespace, self._pod(name, key, runtime, mode))
        until = time.monotonic() + self._ready_s
        while time.monotonic() < until:
            status = self._core.read_namespaced_pod(name, self._namespace).status
            if any(one.type == "Ready" and one.status == "True" for one in status.conditions or ()):
                return name, f"http://{status.pod_ip}:{PORT}"
            time.sleep(LOOK_S)
        say(f"sessions: pod {name} is not ready")
        raise TimeoutError(name)

    def _end(self, name: str) -> None:
        try:
            self._core.delete_namespaced_pod(name, self._namespace, grace_period_seconds=GRACE_S)
        except client.ApiException as error:
            if error.status != 404:
                raise

    def _pod(self, name: str, key: str, runtime: str, mode: str) -> dict[str, Any]:
        image = setting(
            f"SESSION_RUNTIME_IMAGE_{'NODE' if runtime == 'node' else 'PYTHON'}", setting("SESSION_RUNTIME_IMAGE", "")
        )
        if misbehaves("wrong-image") and self._made == SIXTH:
            image = "no-such-image:1"
        env = {
            "ENV": "dev",
            "SESSION_AGENT_ADDR": f"0.0.0.0:{PORT}",
            "SESSION_AGENT_AUTH_BYPASS": str(mode == "bypass").lower(),
            "STANDIN_DEFECT": setting("STANDIN_DEFECT", "none"),
        }  # fmt: skip
        container = {
            "name": "session",
            "image": image,
            "imagePullPolicy": "IfNotPresent" if "no-such" not in image else "Never",
            "command": ["python3", "/agent/session_agent.py"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "ports": [{"containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/v1/health", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 10},
            "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}, {"name": "agent", "mountPath": "/agent"}],
        }  # fmt: skip
        volumes = [{"name": "workspace", "emptyDir": {}}, {"name": "agent", "configMap": {"name": "session-agent"}}]
        labels = {"app": "sandbox-session", "session_id": key}
        return {
            "metadata": {"name": name, "labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes},
        }
