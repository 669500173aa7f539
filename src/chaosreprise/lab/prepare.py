"""Makes a lab's folder: the database cluster, the secrets, and the three files that say what runs and how to reach it.

Everything is made inside the folder and is readable by its owner only; a failure removes what was made. Numbers for
`timing` were measured on two cores (`scripts/bench`): a platform file that promises less than it keeps makes runs slow,
one that promises more makes them wrong.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import socket
import sys
from typing import Literal, NamedTuple

import msgspec

from chaosreprise import witness
from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.faults import registry
from chaosreprise.lab import auth, defects, links, postgres, quota, schema, settings
from chaosreprise.lab.links import Links
from chaosreprise.lab.ports import free_ports
from chaosreprise.lab.sandbox import stack as sandbox
from chaosreprise.lab.sandbox.prepare import Options as SandboxOptions
from chaosreprise.lab.settings import Settings
from chaosreprise.stack.spec import FILE as STACK_FILE
from chaosreprise.stack.spec import ComponentSpec, Ready, SessionSpec, StackSpec
from chaosreprise.stack.spec import save as save_stack

KEEPER_BACKOFF_S = 0.2
SLOWEST_COMMAND_S = (
    0.06  # a start from accepted to completed: median 47 ms alone, 57 ms of its own work in a burst of 48
)
# `settle` (1.7 s for the smallest load) holds after other faults too: from the end of a crash, a restart or a freeze of
# 5 s until waiting commands act 0.5 s passed at most; 1.3 s where the control plane had lacked file descriptors, since
# asyncio accepts again after 1 s.
BOUND_S = 10  # what its real likes promise for a stop; a start on a busy machine needs 5 s
LIMITS = (
    ("agents", 1, 64),
    ("users", 1, 1000),
    ("control_planes", 1, 8),
    ("regions", 1, 8),
    ("clusters", 1, 8),
    ("agent_platforms", 1, 4),
    ("disk_mib", 0, 65536),
    ("witness", 0, 1),
)
LONGEST_TOKEN_S = 1_000_000
LEAST_DISK_MIB = 128  # a new cluster takes 40, its log grows to some 80
EVERYTHING = 100  # more faults at once than a run makes
DATABASE = "database"
DATABASE_PORT, CONTROL_PORT = 5432, 8000  # of pods
FIGURES_HZ = 2
USED = ("database", "sessions")  # the links that a control plane uses
GROUPS = ("agents", "sessions", "control-plane", "database")
MADE = (
    "secrets",
    "data",
    "disk",
    settings.FILE,
    sandbox.PLATFORM,
    STACK_FILE,
    links.CONFIG,
    links.BEHIND,
    sandbox.FOLDER,
)


class Options(NamedTuple):
    """What is asked for. Times in seconds. `namespace`: of the cluster whose pods it will be (`lab.pods`)."""

    serves: str = "streamspace"
    agents: int = 3
    users: int = 12
    control_planes: int = 1
    regions: int = 1
    clusters: int = 1
    agent_platforms: int = 1
    disk_mib: int = 0
    heartbeat_s: float = 1.0
    reconcile_s: float = 0.5
    backoff_s: float = 0.2
    registry: Literal["memory", "file"] = "memory"
    token_s: float = settings.TOKEN_S
    namespace: str = ""
    witness: int = 0
    defect: str | None = None


def prepare(folder: pathlib.Path, options: Options) -> None:
    """Make a lab in a folder without one. Raises BadInput or NotPossible, and leaves nothing of it then."""
    _check(options)
    folder = folder.absolute()
    os.umask(0o077)
    with contextlib.ExitStack() as undo:
        try:
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True)
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
            there = [name for name in MADE if (folder / name).exists()]
        except OSError as error:
            raise BadInput(f"{folder}: can't be made ({error.strerror}): name a folder that you may write") from error
        if there:
            raise BadInput(f"{folder}: holds {there[0]} already: name a folder without a lab")
        undo.callback(_remove_made, folder)
        if options.serves == "sandbox":
            sandbox.fill(folder, SandboxOptions(database="postgres", registry=options.registry, defect=options.defect))
        elif options.namespace:
            _fill_data(folder, _in_cluster(options), postgres.Way.DIRECT)
        else:
            _fill(folder, *decided(options), options.defect)
        undo.pop_all()


def decided(options: Options) -> tuple[Settings, Links]:
    """What a lab with these options is like; its ports are free now."""
    ports = free_ports(3 + options.control_planes + links.ports_needed(options.agents, options.control_planes))
    lab = _settings(options, ports)
    return lab, links.decide(ports, lab)


def _remove_made(folder: pathlib.Path) -> None:
    for name in MADE:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)


def _check(options: Options) -> None:
    if options.serves != "sandbox":  # which has its own
        defects.named(options.defect)
    for name, low, high in LIMITS:
        if not low <= getattr(options, name) <= high:
            raise BadInput(
                f"--{name.replace('_', '-')} {getattr(options, name)}: expected a number from {low} to {high}"
            )
    for name in ("heartbeat_s", "reconcile_s", "backoff_s"):
        if not 0.02 <= getattr(options, name) <= 60:
            raise BadInput(f"--{name.replace('_', '-')} {getattr(options, name):g}: expected seconds from 0.02 to 60")
    if not 1 <= options.token_s <= LONGEST_TOKEN_S:
        raise BadInput(f"--token-s {options.token_s:g}: expected seconds from 1 to {LONGEST_TOKEN_S}")
    if 0 < options.disk_mib < LEAST_DISK_MIB:
        raise BadInput(f"--disk-mib {options.disk_mib}: expected 0, or at least {LEAST_DISK_MIB}")


def _settings(options: Options, ports: list[int]) -> Settings:
    """Takes the ports that it needs out of `ports`."""
    agents = [f"a{number}" for number in range(1, options.agents + 1)]
    each = range(options.control_planes)
    return Settings(
        id=f"lab-{secrets.token_hex(3)}",
        agents=agents,
        users=[f"user{number:02d}" for number in range(1, options.users + 1)],
        heartbeat_s=options.heartbeat_s,
        reconcile_s=options.reconcile_s,
        backoff_s=options.backoff_s,
        control_port=ports.pop(),
        database_port=ports.pop(),
        links={name: [ports.pop()] for name in links.SHARED}
        | {links.of_agent(agent): [ports.pop() for _ in each] for agent in agents},
        agent_ports={agent: [ports.pop() for _ in each] for agent in agents},
        more_control_ports=[ports.pop() for _ in each[1:]],
        disk_mib=options.disk_mib,
        disk_port=ports.pop(),
        number_of_regions=options.regions,
        number_of_clusters=options.clusters,
        number_of_platforms=options.agent_platforms,
        token_s=options.token_s,
        witness_port=ports.pop() if options.witness else 0,
    )


def _in_cluster(options: Options) -> Settings:
    """Of pods: each has its own ports, and the control plane and the database are found by the names of their services."""
    others = [0] * links.ports_needed(options.agents, options.control_planes)
    plain = _settings(options, [*others, DATABASE_PORT, CONTROL_PORT])
    door = [plain.control_port]
    return msgspec.structs.replace(
        plain,
        links={"clients": door} | {links.of_agent(agent): door for agent in plain.agents},
        agent_ports={},
        namespace=options.namespace,
        hosts={settings.CONTROL_PLANE: settings.CONTROL_PLANE, DATABASE: DATABASE},
    )


def _fill(folder: pathlib.Path, lab: Settings, through: Links, defect: str | None) -> None:
    way = postgres.way()
    if lab.disk_mib and way is not postgres.Way.NAMESPACE:
        raise NotPossible(
            f"--disk-mib {lab.disk_mib}: no small file system can be mounted here: user namespaces are refused"
        )
    _fill_data(folder, lab, way)
    (folder / "disk").mkdir()
    links.write(folder, lab, through)
    (folder / "platform.toml").write_text(platform_file(lab, through))
    save_stack(folder, _stack(folder, lab, through, way, {defects.VARIABLE: defect} if defect else {}))


def _fill_data(folder: pathlib.Path, lab: Settings, way: postgres.Way) -> None:
    """The secrets, the database with its users and agents in it, and last what says that they are there."""
    passwords = {role: secrets.token_hex(16) for role in (schema.OWNER, schema.READER)}
    keys = {agent: auth.new_key() for agent in lab.agents}
    admin = secrets.token_urlsafe(12)
    _write_secrets(folder / "secrets", lab, passwords, keys, admin)
    key_hashes = {agent: auth.hash_key(key) for agent, key in keys.items()}
    rows = schema.new_database(passwords, lab.users, auth.hash_password(admin), key_hashes)
    password = folder / "secrets" / "superuser"
    postgres.make_cluster(folder / "data", password, way, rows, for_all=bool(lab.namespace))
    (folder / "workspaces").mkdir(exist_ok=True)
    settings.save(folder, lab)


def _write_secrets(
    folder: pathlib.Path, lab: Settings, passwords: dict[str, str], keys: dict[str, str], admin: str
) -> None:
    (folder / "agents").mkdir(parents=True)
    dsn = f"postgresql://{{}}:{{}}@{lab.host(DATABASE)}:{{}}/{postgres.DATABASE}?sslmode=disable&gssencmode=disable"
    superuser, direct = secrets.token_hex(16), lab.database_port  # who watches, or breaks, is no part of it
    values = {
        "admin": admin,
        "token": secrets.token_hex(32),
        "bootstrap": auth.new_key(),
        "witness": secrets.token_hex(32),
        "superuser": superuser,
        "superuser.dsn": dsn.format(postgres.SUPERUSER, superuser, direct),
        "control.dsn": dsn.format(schema.OWNER, passwords[schema.OWNER], lab.links.get("database", [direct])[0]),
        "reader.dsn": dsn.format(schema.READER, passwords[schema.READER], direct),
    } | {f"agents/{agent}": key for agent, key in keys.items()}
    for name, value in values.items():
        (folder / name).write_text(value)


def _stack(folder: pathlib.Path, lab: Settings, through: Links, way: postgres.Way, defect: dict[str, str]) -> StackSpec:
    env = defect | {
        "SSL_CERT_FILE": os.devnull
    }  # aiohttp loads them all when it is imported, and here nobody needs one
    lab_command = [sys.executable, "-P", "-m", "chaosreprise.lab"]
    data = folder / "data"
    by_launcher = [*lab_command, "postgres", str(data), "--port", str(lab.database_port), "--way", way]
    database = ComponentSpec(
        name="database",
        command=postgres.server_command(data, lab.database_port) if way is postgres.Way.NAMESPACE else by_launcher,
        env={"LC_ALL": "C", "TZ": "UTC"},
        ready=Ready(tcp=lab.database_port),
        stop_signal="QUIT",  # PostgreSQL's immediate shutdown: what ends here is not used again
        userns=way is postgres.Way.NAMESPACE,
        within="disk" if lab.disk_mib else "",
        after=["disk"] if lab.disk_mib else [],
    )
    disk = ComponentSpec(
        name="disk",
        command=[*lab_command, "disk", str(folder), "--mib", str(lab.disk_mib)],
        listen=lab.disk_port,
        ready=Ready(http=f"http://127.0.0.1:{lab.disk_port}/"),
    )
    control = [
        ComponentSpec(
            name=name,
            command=[*lab_command, "control-plane", str(folder), name],
            env=env,
            listen=port,
            ready=Ready(http=f"http://127.0.0.1:{port}/health"),
        )
        for name, port in lab.control_planes.items()
    ]
    agents = [
        ComponentSpec(
            name=f"agents/{agent}",
            command=[*lab_command, "agent", str(folder), agent],
            env=env,
            ready=Ready(
                http=[f"http://127.0.0.1:{port}/health/agents/{agent}" for port in lab.control_planes.values()]
            ),
            homes=lab.doors_of(agent) if lab.more_control_ports else [],
            backoff_s=KEEPER_BACKOFF_S,
        )
        for agent in lab.agents
    ]
    session = [sys.executable, "-I", "-S", str(pathlib.Path(__file__).with_name("session.py"))]
    first = links.components(folder, through)  # beside the rest, whose own start takes longer
    return StackSpec(
        v=1,
        id=lab.id,
        session=SessionSpec(command=session, env=_told_to_sessions(folder, lab)),
        components=[*first, *([disk] if lab.disk_mib else []), database, *control, *agents],
        links=[f"links/{name}" for name in lab.links],
    )


def _told_to_sessions(folder: pathlib.Path, lab: Settings) -> dict[str, str]:
    """Where a session's process says that it lives, if it does."""
    if not lab.witness_port:
        return {}
    sink = f"http://127.0.0.1:{lab.witness_port}/"
    return {witness.SINK: sink, witness.TOKEN_FILE: str(folder / "secrets" / "witness")}


def platform_file(lab: Settings, through: Links) -> str:
    """platform.toml, which is all that Reprise is told of a lab. Its paths are relative to it."""
    return f"""\
version = 1
kind = "streamspace"
name = "{lab.id}"

[identity]
host = "{socket.gethostname()}"
stack = "{lab.id}"

[control]
url = "{lab.url("clients")}"
user = "admin"
password = {{ file = "secrets/admin" }}
template = "{settings.TEMPLATE}"
{_evidence(lab)}{_components()}{links.tables(lab, through)}{_regions(lab)}
{_limits(lab)}"""


def _evidence(lab: Settings) -> str:
    """Where the sessions speak for themselves that is all that is known of them, as on a platform of which nobody sees the inside."""
    rows = '[evidence.rows]\nkind = "sql"\ndsn = { file = "secrets/reader.dsn" }\nhz = 50\n\n'
    if lab.witness_port:
        sink = f'kind = "witness"\nlisten = "127.0.0.1:{lab.witness_port}"\ntoken = {{ file = "secrets/witness" }}\nhz = 2\n\n'
        return f"\n{rows}[evidence.witness]\n{sink}"
    slots = '[evidence.slots]\nkind = "files"\npath = "slots.jsonl"\nhz = 50\n\n'
    workspaces = '[evidence.workspaces]\nkind = "files"\npath = "workspaces"\nhz = 50\n\n'
    return f'steps = "{lab.url("clients")}"\n\n{rows}{slots}{workspaces}{_figures(lab)}'


def _figures(lab: Settings) -> str:
    known = ", ".join(f'"127.0.0.1:{port}"' for name in USED for port in lab.links[name])
    return f"""\
[evidence.processes]
kind = "processes"
hz = {FIGURES_HZ}
known = [{known}]

[evidence.statistics]
kind = "statistics"
dsn = {{ file = "secrets/reader.dsn" }}
hz = {FIGURES_HZ}

"""


def _components() -> str:
    tables = [f'[components.{group}]\nhow = "process"\nkeeper = "keeper.json"\n' for group in GROUPS]
    return "\n".join([*tables[:-1], f'{tables[-1]}admin = {{ file = "secrets/superuser.dsn" }}\n\n'])


def _regions(lab: Settings) -> str:
    lists = {name: ", ".join(f'"{agent}"' for agent in agents) for name, agents in lab.regions.items()}
    return "[regions]\n" + "".join(f"{name} = [{agents}]\n" for name, agents in lists.items())


def _limits(lab: Settings) -> str:
    """What may be broken, how much may be asked for, how long things take, and what the lab promises.

    Everything may be broken: the lab is there for it, and nobody else uses it.
    """
    faults = ", ".join(f'"{kind}"' for kind in registry.kinds())
    users = ", ".join(f'"{user}"' for user in lab.users)
    return f"""\
[allow]
faults = [{faults}]
share = 1.0
count = {EVERYTHING}
at_once = {EVERYTHING}
foreign_sessions = 0

[budget]
max_sessions = {quota.MAX_SESSIONS * len(lab.users)}
max_rps = 200
users = [{users}]
sessions_a_user = {quota.MAX_SESSIONS}

[timing]
settle = {{ backoff_s = {lab.backoff_s:g}, reconcile_s = {lab.reconcile_s:g}, slowest_s = {SLOWEST_COMMAND_S:g} }}
bounds = {{ start_s = {BOUND_S}, stop_s = {BOUND_S}, hibernate_s = {BOUND_S}, wake_s = {BOUND_S}, step_s = {BOUND_S} }}
offline_s = {lab.shown_offline_s:g}

[promises]
durable = true
at_most_once = true
order = true
coalesce = false
files = true
memory = false
placement = true
states = true
limits = ["memory"]
"""
