"""A stranger's StreamSpace for tests: its own PostgreSQL, a control plane, two agents, and a role that may only read."""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pgserver
import psycopg
from runs import EXPERIMENT, SHORTEST
from standins import HOST, STANDINS
from toystack import free_port

PASSWORD = "stranger-5c1e"
READER = "reader-8f2a"
KEY = hashlib.sha256(b"agent key").hexdigest()
BOOTSTRAP = hashlib.sha256(b"bootstrap key").hexdigest()
AGENTS = ("east-1", "west-1")
USERS = tuple(f"u{number}" for number in range(1, 13))
SQL = """
create role watcher login password '{reader}';
grant select on all tables in schema public to watcher;
"""

FILE = """
version = 1
kind = "streamspace"
name = "acme-space"

[identity]
host = "{host}"

[control]
url = "http://127.0.0.1:{port}"
user = "admin"
password = {password}
template = "firefox-browser"
{control}
{evidence}

[components.control-plane]
how = "process"
command = ["{python}", "{at}/control_plane.py"]
port = {port}

[components.control-plane.env]
PORT = "{port}"
DATABASE_URL = {{ env = "SPACE_DATABASE" }}
ADMIN_PASSWORD = {{ env = "SPACE_PASSWORD" }}
JWT_SECRET = {{ env = "SPACE_JWT" }}
AGENT_TIMEOUT_S = "{silent_s}"
AGENT_BOOTSTRAP_KEY = {{ env = "SPACE_BOOTSTRAP" }}
STANDIN_DEFECT = "{defect}"
WORKSPACES = "workspaces"

{agents}

[components.database]
how = "none"
admin = {{ file = "admin.dsn" }}

[allow]
faults = ["agents.crash", "agents.take_away", "control-plane.crash"]
share = 0.5

[budget]
users = {users}

[timing]
{timing}
offline_s = 10
"""
QUICK = """\
settle = { backoff_s = 1.0, reconcile_s = 0, slowest_s = 0.1 }
bounds = { start_s = 5, stop_s = 5, hibernate_s = 5, wake_s = 5 }"""
OF_PODS = """\
settle = { backoff_s = 10.0, reconcile_s = 0, slowest_s = 0.3 }
bounds = { start_s = 60, stop_s = 60, hibernate_s = 60, wake_s = 60 }"""

AGENT = """
[components."agents/{name}"]
how = "process"
command = ["{python}", "{at}/agent.py"]
after = ["control-plane"]

[components."agents/{name}".env]
AGENT_ID = "{name}"
CONTROL_PLANE_URL = "ws://127.0.0.1:{port}"
AGENT_API_KEY = {{ env = "SPACE_KEY" }}
HEALTH_CHECK_INTERVAL = "1"
OBJECTS = "objects-{name}"
STANDIN_DEFECT = "{defect}"
{more}
"""
IN_CLUSTER = """\
CLUSTER = "{kubeconfig}"
NAMESPACE = "{namespace}"
IMAGE = "{image}"
POLL_S = "0.2"
"""
OBJECTS = """
[evidence.slots]
kind = "kubernetes"
hz = 5

[kubernetes]
namespace = "{namespace}"
kubeconfig = "{kubeconfig}"
"""
HOMES = """
[evidence.homes]
kind = "kubernetes"
hz = 5
"""
STEPS = """
[evidence.workspaces]
kind = "files"
path = "workspaces"
hz = 10
"""
ROWS = '[evidence.rows]\nkind = "sql"\ndsn = { env = "SPACE_DSN" }\nhz = 10'


class Space(NamedTuple):
    """`env`: what its platform file takes from the environment."""

    file: pathlib.Path
    env: dict[str, str]
    admin: str
    port: int


def rows(agents: Sequence[str]) -> str:
    """SQL of a deployment's database, with its users and agents."""
    users = "".join(
        f"insert into users values ('{user}', '{user}', '{user}@example.org', '{user}', '-');\n" for user in USERS
    )
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    made = "".join(
        f"insert into agents (agent_id, platform, approval_status, api_key_hash) values ('{agent}', 'docker', 'approved', '{digest}');\n"
        for agent in agents
    )
    return (STANDINS / "streamspace" / "schema.sql").read_text() + users + made + SQL.format(reader=READER)


@contextlib.contextmanager
def database(folder: pathlib.Path) -> Iterator[str]:
    """The database of a deployment: the connection string of its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    with pgserver.running(folder, "select 1;") as address:
        dsn = pgserver.dsn(address)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(rows(AGENTS).encode())
        yield dsn


def written(
    folder: pathlib.Path,
    dsn: str,
    defect: str = "none",
    evidence: str = ROWS,
    password: str = '{ env = "SPACE_PASSWORD" }',
    cluster: dict[str, str] | None = None,
    breakable: bool = True,
    steps: bool = True,
) -> Space:
    """A platform file of it. `cluster`: kubeconfig, namespace and image of sessions that are Deployments; what happens to these is evidence.

    Unless its agents are `breakable`, it has their names alone. `steps`: code can be run in sessions of a cluster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, at = free_port(), STANDINS / "streamspace"
    more = IN_CLUSTER.format(**cluster) if cluster else ""
    agent = {"python": sys.executable, "at": at, "port": port, "defect": defect, "more": more}
    entry = AGENT if breakable else '[components."agents/{name}"]\nhow = "none"\n'
    agents = "".join(entry.format(name=name, **agent) for name in AGENTS)
    if cluster:
        evidence += (OBJECTS + STEPS if steps else OBJECTS).format(**cluster)
        (folder / "workspaces").mkdir(exist_ok=True)
    file = folder / "space.toml"
    (folder / "admin.dsn").write_text(f"{dsn}\n")
    file.write_text(
        FILE.format(
            host=HOST,
            port=port,
            python=sys.executable,
            at=at,
            defect=defect,
            agents=agents,
            evidence=evidence,
            users=list(USERS),
            password=password,
            control=f'steps = "http://127.0.0.1:{port}/steps"\n' if cluster and steps else "",
            timing=OF_PODS if cluster else QUICK,
            silent_s=30 if cluster else 5,  # who is taken for dead while it works is given its commands again
        )
    )
    env = {
        "SPACE_DATABASE": dsn,
        "SPACE_DSN": dsn.replace("postgres:x@", f"watcher:{READER}@"),
        "SPACE_PASSWORD": PASSWORD,
        "SPACE_JWT": "jwt-secret-77aa",
        "SPACE_KEY": KEY,
        "SPACE_BOOTSTRAP": BOOTSTRAP,
        "XDG_STATE_HOME": str(folder / "state"),
    }
    return Space(file, env, dsn, port)


@contextlib.contextmanager
def agents_elsewhere(space: Space) -> Iterator[None]:
    """Its agents, as processes that its platform file knows nothing of but their names."""
    told = {"CONTROL_PLANE_URL": f"ws://127.0.0.1:{space.port}", "AGENT_API_KEY": KEY, "HEALTH_CHECK_INTERVAL": "1"}
    command = [sys.executable, str(STANDINS / "streamspace" / "agent.py")]
    folder = space.file.parent
    running = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **told, "AGENT_ID": name, "OBJECTS": str(folder / f"objects-{name}")},
        )
        for name in AGENTS
    ]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def environment(space: Space) -> dict[str, str]:
    return {**os.environ, **space.env}


def secrets(space: Space) -> dict[str, str]:
    """What must stand nowhere, by what it is."""
    named = {
        name: space.env[name] for name in ("SPACE_PASSWORD", "SPACE_JWT", "SPACE_KEY", "SPACE_BOOTSTRAP", "SPACE_DSN")
    }
    return {**named, "reader": READER, "admin": space.admin}


def rows_only(folder: pathlib.Path, *require: str) -> pathlib.Path:
    """agent-failover, short and for a platform of which only answers and rows are seen."""
    text = EXPERIMENT.read_text()
    for name, value in SHORTEST.items():
        text = text.replace(f'"${{{name}}}"', json.dumps(value))
    found = json.loads(text)
    arguments = found["controls"][0]["provider"]["arguments"]
    arguments |= {"require": [*require], "optional": ["lost", "duplicate", "misassigned", "dishonest"], "criteria": []}
    arguments["workload"] |= {"reserve": 1, "mix": {"read": 5.0, "list": 2.0}}
    arguments["objectives"] = arguments["objectives"][:1]
    probes = found["steady-state-hypothesis"]["probes"]
    probes[:] = [probe for probe in probes if probe["provider"]["func"] != "answer"]
    (folder / "rows-only.json").write_text(json.dumps(found))
    return folder / "rows-only.json"
