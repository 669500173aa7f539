"""Deployments of strangers for tests: servers written from a contract alone, their platform files written from `init` and the docs."""

import os
import pathlib
import subprocess
import sys

from runs import CHAOS, ROOT
from toystack import free_port

STANDINS = ROOT / "tests" / "standins"
PYTHON = sys.executable
HOST = os.uname().nodename

SANDBOX = """
version = 1
kind = "sandbox"
name = "acme-sandbox"

[identity]
host = "{host}"

[sandbox]
control_plane = "http://127.0.0.1:{control}{base}/"
data_plane = "http://127.0.0.1:{data}{base}"
agent = "http://127.0.0.1:{agent}"
create_every_s = {every}
{more}

[evidence.workspaces]
kind = "files"
path = "workspaces"
hz = 20

[evidence.rows]
{rows}
hz = 10

[components."agents/a1"]
how = "process"
command = ["{python}", "{at}/session_agent.py"]
port = {agent}
env = {{ ENV = "dev", SESSION_AGENT_ADDR = ":{agent}", SESSION_AGENT_AUTH_BYPASS = "{bypass}", STANDIN_DEFECT = "{defect}" }}

[components.data-plane]
how = "process"
command = ["{python}", "{at}/data_plane.py"]
port = {data}
after = ["agents/a1"]

[components.data-plane.env]
ENV = "dev"
PORT = "{data}"
BASE_PATH = "{base}"
SESSION_RUNTIME_BACKEND = "local"
SESSION_REGISTRY_BACKEND = "file"
SESSION_REGISTRY_PATH = "registry.json"
SESSION_AGENT_AUTH_MODE = "{mode}"
SESSION_AGENT_ENDPOINT = "http://127.0.0.1:{agent}"
WORKSPACE_ROOT = "{folder}/workspaces"
AUTHZ_BYPASS = "true"
STANDIN_DEFECT = "{defect}"

[components.control-plane]
how = "process"
command = ["{python}", "{at}/control_plane.py"]
port = {control}
after = ["data-plane"]

[components.control-plane.env]
ENV = "dev"
PORT = "{control}"
BASE_PATH = "{base}"
DATA_PLANE_URL = "http://127.0.0.1:{data}{base}"
MCP_ADDR = ":{mcp}"
STANDIN_DEFECT = "{defect}"
{control_env}

[allow]
faults = {allow}
share = 1.0

[timing]
settle = {{ backoff_s = 0.8, reconcile_s = 0, slowest_s = 0.6 }}
bounds = {{ step_s = 10 }}
"""

PODS = """
version = 1
kind = "sandbox"
name = "acme-pods"

[identity]
host = "{host}"

[sandbox]
control_plane = "http://127.0.0.1:{control}"
data_plane = "http://127.0.0.1:{data}"
create_every_s = 0.02

[kubernetes]
namespace = "{namespace}"
kubeconfig = "{kubeconfig}"

[evidence.workspaces]
kind = "kubernetes"
hz = 4

[evidence.rows]
{rows}
hz = 10

[components.sessions]
how = "kubernetes"

[components."agents/pods"]
how = "none"

[components.data-plane]
how = "process"
command = ["{python}", "{at}/data_plane.py"]
port = {data}

[components.data-plane.env]
ENV = "dev"
PORT = "{data}"
SESSION_RUNTIME_BACKEND = "k8s"
SESSION_RUNTIME_IMAGE = "{image}"
RUNTIME_NAMESPACE = "{namespace}"
KUBECONFIG = "{kubeconfig}"
SESSION_REGISTRY_BACKEND = "file"
SESSION_REGISTRY_PATH = "registry.json"
AUTHZ_BYPASS = "true"
STANDIN_DEFECT = "{defect}"
STANDIN_ATTEMPT_S = "4"
STANDIN_CONNECT_S = "1"
SESSION_READY_TIMEOUT = "{ready_s:g}s"

[components.control-plane]
how = "process"
command = ["{python}", "{at}/control_plane.py"]
port = {control}
after = ["data-plane"]

[components.control-plane.env]
ENV = "dev"
PORT = "{control}"
DATA_PLANE_URL = "http://127.0.0.1:{data}"
MCP_ADDR = ":{mcp}"
STANDIN_LIMIT_S = "70"
STANDIN_DEFECT = "{defect},fine-ids"
{control_env}

[allow]
faults = ["sessions.crash"]
at_once = 2
count = 4
share = 1.0

[timing]
settle = {{ backoff_s = 7, reconcile_s = 0, slowest_s = 0.6 }}
bounds = {{ step_s = 10 }}
"""

SQLITE = 'kind = "sqlite"\npath = "control-plane.db"'
SQLITE_URL = "file:control-plane.db?cache=shared&mode=rwc&_pragma=busy_timeout(5000)"
OPEN = 'AUTHZ_BYPASS = "true"'


def sandbox(
    folder: pathlib.Path,
    defect: str = "none",
    *,
    enforced: bool = False,
    runtime: str = "python",
    token: str | None = None,
    rows: str = SQLITE,
    control_env: str = f'DATABASE_DRIVER = "sqlite"\nDATABASE_URL = "{SQLITE_URL}"\n{OPEN}',
    every: float = 0.02,
    base: str = "",
    allow: tuple[str, ...] = ("agents.crash", "control-plane.crash", "data-plane.crash"),
) -> pathlib.Path:
    """A platform file of a sandbox that is started for each run, with no settings but those that its contract names.

    Its ids are finer than a second unless creates are `every` second: a run waits for ten of them.
    """
    (folder / "workspaces").mkdir(parents=True, exist_ok=True)
    defect += ",fine-ids" if every < 1 else ""
    file = folder / "acme.toml"
    ports = {name: free_port() for name in ("control", "data", "agent", "mcp")}
    text = SANDBOX.format(
        **ports,
        host=HOST,
        python=PYTHON,
        at=STANDINS / "sandbox",
        folder=folder,
        defect=defect,
        bypass=str(not enforced).lower(),
        every=every,
        base=base,
        mode="enforced" if enforced else "bypass",
        more="\n".join([f'runtime = "{runtime}"', *([f"token = {token}"] if token else [])]),
        rows=rows,
        control_env=control_env,
        allow=list(allow),
    )
    file.write_text(text)
    return file


def pods(
    folder: pathlib.Path,
    namespace: str,
    kubeconfig: pathlib.Path,
    image: str,
    defect: str = "none",
    ready_s: float = 60.0,
) -> pathlib.Path:
    """A platform file of a sandbox whose sessions are pods in this namespace; its two other services run here.

    It waits 4 s for an answer and 1 s for a connection, so a step that was under way in a pod that goes is over after 6.6 s.
    """
    file = folder / "pods.toml"
    file.write_text(
        PODS.format(
            **{name: free_port() for name in ("control", "data", "mcp")},
            host=HOST,
            python=PYTHON,
            at=STANDINS / "sandbox",
            namespace=namespace,
            kubeconfig=kubeconfig,
            image=image,
            defect=defect,
            ready_s=ready_s,
            rows=SQLITE,
            control_env=f'DATABASE_DRIVER = "sqlite"\nDATABASE_URL = "{SQLITE_URL}"\n{OPEN}',
        )
    )
    return file


def chaos(folder: pathlib.Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """The command line, somewhere else than here."""
    return subprocess.run(
        [CHAOS, "--no-version-check", *arguments], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True
    )
