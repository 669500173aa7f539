"""Sessions as pods: each has a session agent of its own on :9000, to whose address the data plane speaks.

The image has only to have Python and aiohttp: the agent's source comes from a ConfigMap.
"""

import asyncio
import base64
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from service import misbehaves, say, setting

HERE = Path(__file__).parent
SOURCE = ("session_agent.py", "runtimes.py", "service.py", "interpreter.py", "interpreter.js")
PORT = 9000
GRACE_S = 5
LOOK_S = 0.1
SIXTH = 6  # a run can't do without the first five
THERE, NOWHERE = 409, 404


class Pods:
    """Of one namespace. Raises what a call does, and TimeoutError for one that is not ready in time."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._namespace = setting("RUNTIME_NAMESPACE", "default")
        self._ready_s = float(setting("SESSION_READY_TIMEOUT", "60s").removesuffix("s"))
        self._url, self._how = _way_in(Path(setting("KUBECONFIG")))
        self._made = 0

    async def make(self, key: str, runtime: str, mode: str) -> tuple[str, str]:
        """The name and the address of a pod for this session, once it is ready."""
        self._made += 1
        name = f"session-{key}"
        if self._made == 1:
            source = {name: (HERE / name).read_text() for name in SOURCE}
            await self._call("POST", "configmaps", {"metadata": {"name": "session-agent"}, "data": source})
        await self._call("POST", "pods", self._pod(name, key, runtime, mode))
        until = time.monotonic() + self._ready_s
        while time.monotonic() < until:
            status = (await self._call("GET", f"pods/{name}"))["status"]
            if any((one["type"], one["status"]) == ("Ready", "True") for one in status.get("conditions", ())):
                return name, f"http://{status['podIP']}:{PORT}"
            await asyncio.sleep(LOOK_S)
        say(f"sessions: pod {name} is not ready")
        raise TimeoutError(name)

    async def end(self, name: str) -> None:
        """Delete it; one that is gone is ended."""
        await self._call("DELETE", f"pods/{name}", {"gracePeriodSeconds": GRACE_S})

    async def _call(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self._url}/api/v1/namespaces/{self._namespace}/{what}"
        async with self._http.request(method, url, json=body, **self._how) as answer:
            if answer.status not in (THERE, NOWHERE):
                answer.raise_for_status()
            said: dict[str, Any] = await answer.json()
            return said

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


def _way_in(kubeconfig: Path) -> tuple[str, dict[str, Any]]:
    """The server of the current context, and what a call must show there."""
    told = yaml.safe_load(kubeconfig.read_text())
    context = next(one["context"] for one in told["contexts"] if one["name"] == told["current-context"])
    cluster = next(one["cluster"] for one in told["clusters"] if one["name"] == context["cluster"])
    user = next(one["user"] for one in told["users"] if one["name"] == context["user"])
    tls = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    else:
        tls.load_verify_locations(cadata=_data(kubeconfig, cluster, "certificate-authority").decode())
    if "token" in user:
        return cluster["server"], {"ssl": tls, "headers": {"Authorization": f"Bearer {user['token']}"}}
    with tempfile.NamedTemporaryFile() as both:
        Path(both.name).write_bytes(
            _data(kubeconfig, user, "client-certificate") + b"\n" + _data(kubeconfig, user, "client-key")
        )
        tls.load_cert_chain(both.name)
    return cluster["server"], {"ssl": tls}


def _data(kubeconfig: Path, told: dict[str, str], name: str) -> bytes:
    if found := told.get(f"{name}-data"):
        return base64.b64decode(found)
    return Path(kubeconfig.parent, told[name]).read_bytes()
