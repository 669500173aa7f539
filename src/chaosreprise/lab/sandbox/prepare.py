"""Makes the folder of a sandbox, and says how to start its processes, as plain data: whoever starts them needs nothing else.

    DIR/  workspaces/  control-plane.db or data/ (PostgreSQL)  routes.json  logs/  secrets/

The ports are free when they are drawn. A proxy between two of the processes goes where one's environment names the other:
DATA_PLANE_URL, SESSION_AGENT_ENDPOINT, DATABASE_URL.
"""

import os
import pathlib
import secrets
import shutil
import sys
from typing import Literal, NamedTuple
from urllib.parse import quote

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.lab import defects as lab_defects
from chaosreprise.lab import postgres
from chaosreprise.lab.ports import free_ports
from chaosreprise.lab.sandbox import defects, rows, tokens

HERE = "http://127.0.0.1"
OWNER = {"tenant_id": "reprise", "agent_id": "reprise"}
CONTROL, DATA, AGENT, DATABASE = "control-plane", "data-plane", "session-agent", "database"


class Options(NamedTuple):
    """What is asked for. `registry`: where the data plane keeps its routes. `limit_s`: of one call between two processes."""

    database: Literal["sqlite", "postgres"] = "sqlite"
    authentication: bool = False
    runtime: Literal["python", "node"] = "python"
    registry: Literal["memory", "file"] = "memory"
    limit_s: float | None = None
    defect: str | None = None


class Process(msgspec.Struct, frozen=True):
    """How to start one of them. `env` is what it needs beside what its starter has; `health` is empty for the database.

    `stop_signal` ends it at once.
    """

    name: str
    command: list[str]
    env: dict[str, str]
    port: int
    health: str
    log: str
    stop_signal: str = "TERM"


class Sandbox(msgspec.Struct, frozen=True):
    """A prepared sandbox. `processes` are in the order in which they may be started; `token` is empty without authentication."""

    processes: list[Process]
    control: str
    data_plane: str
    session_agent: str
    tools: str
    driver: str
    database: str
    workspaces: str
    registry: str
    runtime: str
    token: str

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)


def prepare(folder: pathlib.Path, options: Options) -> Sandbox:
    """Make a sandbox in a folder that is new or empty. Raises BadInput or NotPossible, and leaves nothing of it then."""
    defects.named(options.defect)
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput(f"{folder}: is not empty: name a folder that is not there yet")
    except OSError as error:
        raise BadInput(f"{folder}: can't be made ({error.strerror}): name a folder that you may write") from error
    try:
        return _made(folder, options)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _made(folder: pathlib.Path, options: Options) -> Sandbox:
    for name in ("workspaces", "logs", "secrets"):
        (folder / name).mkdir(mode=0o700)
    control, data, agent, tools, database = free_ports(5)
    signing = secrets.token_hex(32)
    postgresql = options.database == "postgres"
    keeps = _cluster(folder, database) if postgresql else []
    made = Sandbox(
        processes=keeps,
        control=f"{HERE}:{control}",
        data_plane=f"{HERE}:{data}",
        session_agent=f"{HERE}:{agent}",
        tools=f"{HERE}:{tools}",
        driver=options.database,
        database=_dsn(folder, database) if postgresql else _file(folder),
        workspaces=str(folder / "workspaces"),
        registry=str(folder / "routes.json") if options.registry == "file" else "",
        runtime=options.runtime,
        token=tokens.sign(dict(OWNER), signing) if options.authentication else "",
    )
    return msgspec.structs.replace(made, processes=[*keeps, *_processes(folder, made, options, signing)])


def _processes(folder: pathlib.Path, made: Sandbox, options: Options, signing: str) -> list[Process]:
    on = options.authentication
    everywhere = {
        "ENV": "dev",
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "SSL_CERT_FILE": os.devnull,  # aiohttp loads them all when it is imported, and here nobody needs one
        lab_defects.VARIABLE: options.defect or "",
    }
    limit = {"REPRISE_LAB_LIMIT_S": f"{options.limit_s:g}"} if options.limit_s else {}
    agent = {
        "SESSION_AGENT_ADDR": made.session_agent.removeprefix("http://"),
        "SESSION_AGENT_AUTH_BYPASS": "false" if on else "true",
        "WORKSPACE_ROOT": made.workspaces,
    }
    data = {
        "PORT": _port(made.data_plane),
        "RUNTIME_NAMESPACE": "default",
        "RUNTIME_CLASS": "gvisor",
        "SESSION_RUNTIME_BACKEND": "local",
        "SESSION_REGISTRY_BACKEND": options.registry,
        "SESSION_REGISTRY_PATH": made.registry,
        "SESSION_AGENT_AUTH_MODE": "enforced" if on else "bypass",
        "SESSION_AGENT_PREFER": "true",
        "AUTHZ_BYPASS": "true",  # the control plane shows it no token
        "WORKSPACE_ROOT": made.workspaces,
        "SESSION_AGENT_ENDPOINT": made.session_agent,
    }
    control = {
        "PORT": _port(made.control),
        "DATA_PLANE_URL": made.data_plane,
        "DATABASE_DRIVER": made.driver,
        "DATABASE_URL": made.database,
        "MCP_ADDR": made.tools.removeprefix("http://"),
        **({"AUTH_JWT_SECRET": signing} if on else {"AUTHZ_BYPASS": "true"}),
    }
    each = [
        (AGENT, agent, made.session_agent, "/v1/health"),
        (DATA, data | limit, made.data_plane, "/healthz"),
        (CONTROL, control | limit, made.control, "/metrics"),  # /healthz asks for a token where authentication is on
    ]
    command = [sys.executable, "-P", "-m", "chaosreprise.lab.sandbox"]
    return [
        Process(name, [*command, name], everywhere | env, int(_port(url)), url + health, _log(folder, name))
        for name, env, url, health in each
    ]


def _cluster(folder: pathlib.Path, port: int) -> list[Process]:
    """PostgreSQL with the three tables, which nothing makes there."""
    superuser = folder / "secrets" / "superuser"
    superuser.write_text(secrets.token_hex(16))
    way = postgres.Way.NOBODY if os.geteuid() == 0 else postgres.Way.DIRECT
    tables = [f"create table {name} ({columns});" for name, columns in rows.TABLES.items()]
    postgres.make_cluster(folder / "data", superuser, way, "\n\n".join(tables) + "\n\n")
    lab = [sys.executable, "-P", "-m", "chaosreprise.lab"]
    command = [*lab, "postgres", str(folder / "data"), "--port", str(port), "--way", way]
    return [Process(DATABASE, command, {"LC_ALL": "C", "TZ": "UTC"}, port, "", _log(folder, DATABASE), "QUIT")]


def _dsn(folder: pathlib.Path, port: int) -> str:
    password = (folder / "secrets" / "superuser").read_text()
    at = f"{postgres.SUPERUSER}:{password}@127.0.0.1:{port}/{postgres.DATABASE}"
    return f"postgresql://{at}?sslmode=disable&gssencmode=disable"


def _file(folder: pathlib.Path) -> str:
    return f"file:{quote(str(folder / 'control-plane.db'))}?cache=shared&mode=rwc"


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def _log(folder: pathlib.Path, name: str) -> str:
    return str(folder / "logs" / f"{name}.log")
