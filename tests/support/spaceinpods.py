"""A stranger's StreamSpace as pods of a namespace: its database, its control plane behind a Service, and agents that are Deployments."""

import os
from collections.abc import Sequence
from typing import Any

from clusters import Space, pause
from linkwire import eventually
from standin_space import BOOTSTRAP, KEY, PASSWORD, READER, rows
from standins import STANDINS

AGENTS = ("a1", "a2")
API, DATABASE = "streamspace-api", "streamspace-db"
READY_S = 400.0
SERVER = """
import os, pathlib
from chaosreprise.lab import postgres
data, password = pathlib.Path("/tmp/data"), pathlib.Path("/tmp/password")
password.write_text("x")
postgres.make_cluster(data, password, postgres.Way.DIRECT, pathlib.Path("/standin/rows.sql").read_text(), for_all=True)
command = postgres.server_command(data, 5432, "*")
os.execv(command[0], command)
"""
RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create", "get", "list", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["create", "delete"]},
]
READER_DSN = f"postgresql://watcher:{READER}@{DATABASE}:5432/postgres"
OWNER_DSN = f"postgresql://postgres:x@{DATABASE}:5432/postgres"


def deployed(space: Space) -> None:
    """Returns when its agents are connected."""
    files = {path.name: path.read_text() for path in (STANDINS / "streamspace").glob("*.py")}
    body = {"metadata": {"name": "standin"}, "data": files | {"rows.sql": rows(AGENTS)}}
    space.core.create_namespaced_config_map(space.name, body)
    space.core.create_namespaced_service_account(space.name, {"metadata": {"name": "streamspace-agent"}})
    space.rbac.create_namespaced_role(space.name, {"metadata": {"name": "streamspace-agent"}, "rules": RULES})
    subject = {"kind": "ServiceAccount", "name": "streamspace-agent", "namespace": space.name}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "streamspace-agent"}
    binding = {"metadata": {"name": "streamspace-agent"}, "subjects": [subject], "roleRef": ref}
    space.rbac.create_namespaced_role_binding(space.name, binding)
    _deploy(space, DATABASE, {"app": DATABASE}, ["python3", "-c", SERVER], {}, 5432)
    control = {"PORT": "8000", "DATABASE_URL": OWNER_DSN, "ADMIN_PASSWORD": PASSWORD, "JWT_SECRET": "jwt-secret-77aa"}
    control |= {"LISTEN": "0.0.0.0", "AGENT_TIMEOUT_S": "30", "AGENT_BOOTSTRAP_KEY": BOOTSTRAP}
    _deploy(space, API, {"app": API}, ["python3", "/standin/control_plane.py"], control, 8000)
    for agent in AGENTS:
        env = {
            "AGENT_ID": agent,
            "CONTROL_PLANE_URL": f"ws://{API}:8000",
            "AGENT_API_KEY": KEY,
            "OBJECTS": "/tmp/objects",
        }
        env |= {
            "HEALTH_CHECK_INTERVAL": "1",
            "CLUSTER": "",
            "NAMESPACE": space.name,
            "IMAGE": pause(space),
            "POLL_S": "0.2",
        }
        labels = {"app": "streamspace-agent", "agent": agent}
        _deploy(space, f"agent-{agent}", labels, ["python3", "/standin/agent.py"], env, None)

    def ready() -> bool:
        found = space.apps.list_namespaced_deployment(space.name).items
        return all(one.status.ready_replicas == 1 for one in found)

    assert eventually(ready, READY_S)


def _deploy(
    space: Space, name: str, labels: dict[str, str], command: Sequence[str], env: dict[str, str], port: int | None
) -> None:
    container: dict[str, Any] = {
        "name": "main",
        "image": os.environ["REPRISE_IMAGE"],
        "imagePullPolicy": "Never",
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "command": [*command],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumeMounts": [{"name": "standin", "mountPath": "/standin"}],
    }
    if port is not None:
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
        body = {"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": port}]}}
        space.core.create_namespaced_service(space.name, body)
    pod = {
        "containers": [container],
        "volumes": [{"name": "standin", "configMap": {"name": "standin"}}],
        "serviceAccountName": "streamspace-agent",
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    space.apps.create_namespaced_deployment(space.name, {"metadata": {"name": name, "labels": labels}, "spec": spec})
