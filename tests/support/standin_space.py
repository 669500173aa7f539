"""A stranger's StreamSpace for tests: its own PostgreSQL, a control plane, two agents, and a role that may only read."""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pgserver
import psycopg
from runs import EXPERIMENT, SHORTEST
from standins import HOST, STANDINS
from toystack import free_port

PASSWORD = "stranger-5c1e"
READER = "reader-8f2a"
KEY = hashlib.sha256(b"agent key").hexdigest()
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
AGENT_TIMEOUT_S = "5"
STANDIN_DEFECT = "{defect}"

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
settle = {{ backoff_s = 1.0, reconcile_s = 0, slowest_s = 0.1 }}
bounds = {{ start_s = 5, stop_s = 5, hibernate_s = 5, wake_s = 5 }}
offline_s = 10
"""

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
"""
ROWS = '[evidence.rows]\nkind = "sql"\ndsn = { env = "SPACE_DSN" }\nhz = 10'


class Space(NamedTuple):
    """`env`: what its platform file takes from the environment."""

    file: pathlib.Path
    env: dict[str, str]
    admin: str
    port: int


@contextlib.contextmanager
def database(folder: pathlib.Path) -> Iterator[str]:
    """The database of a deployment, with its users and agents: the connection string of its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    users = "".join(
        f"insert into users values ('{user}', '{user}', '{user}@example.org', '{user}', '-');\n" for user in USERS
    )
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    made = "".join(
        f"insert into agents (agent_id, platform, approval_status, api_key_hash) values ('{agent}', 'docker', 'approved', '{digest}');\n"
        for agent in AGENTS
    )
    with pgserver.running(folder, "select 1;") as address:
        dsn = pgserver.dsn(address)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                (
                    (STANDINS / "streamspace" / "schema.sql").read_text() + users + made + SQL.format(reader=READER)
                ).encode()
            )
        yield dsn


def written(
    folder: pathlib.Path,
    dsn: str,
    defect: str = "none",
    evidence: str = ROWS,
    password: str = '{ env = "SPACE_PASSWORD" }',
    breakable: bool = True,
) -> Space:
    """A platform file of it; unless its agents are breakable, it has their names alone."""
    folder.mkdir(parents=True, exist_ok=True)
    port, at = free_port(), STANDINS / "streamspace"
    entry = AGENT if breakable else '[components."agents/{name}"]\nhow = "none"\n'
    agents = "".join(entry.format(name=name, python=sys.executable, at=at, port=port) for name in AGENTS)
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
        )
    )
    env = {
        "SPACE_DATABASE": dsn,
        "SPACE_DSN": dsn.replace("postgres:x@", f"watcher:{READER}@"),
        "SPACE_PASSWORD": PASSWORD,
        "SPACE_JWT": "jwt-secret-77aa",
        "SPACE_KEY": KEY,
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
    named = {name: space.env[name] for name in ("SPACE_PASSWORD", "SPACE_JWT", "SPACE_KEY", "SPACE_DSN")}
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
