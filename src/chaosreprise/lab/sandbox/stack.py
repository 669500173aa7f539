"""The embedded platform as a sandbox: PostgreSQL, the three services, and our own proxies between them, in one stack.

client -> links/clients -> control plane -> links/data-plane -> data plane -> links/agents/a1 -> session agent
                                         -> links/database -> PostgreSQL
"""

import pathlib
import secrets
import socket
import sys

import msgspec

from chaosreprise.faults.registry import kinds
from chaosreprise.lab.ports import free_ports
from chaosreprise.lab.sandbox import prepare
from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA, DATABASE, Options, Process, Sandbox
from chaosreprise.stack.spec import ComponentSpec, Ready, StackSpec, save

FOLDER, PLATFORM = "sandbox", "platform.toml"
CONFIG, TOKEN = "links.json", "links.token"
NAMES = {AGENT: "agents/a1"}  # what a process is called as a component; the others keep their names
BOUND_S = 10
EVERYTHING = 100


class Fronts(msgspec.Struct, frozen=True):
    """The ports at which each link begins, and of the API of the server that has them."""

    api: int
    links: dict[str, int]


def fill(folder: pathlib.Path, options: Options) -> None:
    """Make the lab in its folder. Raises BadInput or NotPossible."""
    made = prepare.prepare(folder / FOLDER, options)
    names = ["clients", "data-plane", "agents/a1", "database"]
    drawn = {int(made.tools.rpartition(":")[2]), *(process.port for process in made.processes)}
    api, *ports = free_ports(1 + len(names), drawn)
    fronts = Fronts(api, dict(zip(names, ports, strict=True)))
    identity = f"lab-{secrets.token_hex(3)}"
    (folder / TOKEN).write_text(secrets.token_hex(16))
    (folder / CONFIG).write_bytes(msgspec.json.encode(_proxies(identity, made, fronts)))
    (folder / "admin.dsn").write_text(made.database)
    (folder / PLATFORM).write_text(platform_file(identity, made, fronts, options))
    save(folder, _stack(folder, identity, made, fronts))


def _proxies(identity: str, made: Sandbox, fronts: Fronts) -> list[dict[str, object]]:
    ends = {"clients": CONTROL, "data-plane": DATA, "agents/a1": AGENT, "database": DATABASE}
    return [
        {
            "name": _proxy(identity, name),
            "listen": f"127.0.0.1:{port}",
            "upstream": f"127.0.0.1:{made.process(ends[name]).port}",
            "enabled": True,
            "tap": name != "database",
        }
        for name, port in fronts.links.items()
    ]


def _proxy(identity: str, link: str) -> str:
    return f"{identity}-{link.replace('/', '-')}"


def _stack(folder: pathlib.Path, identity: str, made: Sandbox, fronts: Fronts) -> StackSpec:
    ours = [sys.executable, "-P", "-m", "chaosreprise.links", "--port", str(fronts.api)]
    ours += ["--config", str(folder / CONFIG), "--token-file", str(folder / TOKEN)]
    links = ComponentSpec(name="links", command=ours, ready=Ready(tcp=fronts.api))
    return StackSpec(
        v=1,
        id=identity,
        components=[links, *(_component(process, made, fronts) for process in made.processes)],
        links=[f"links/{name}" for name in fronts.links],
        spares_orphans=True,
    )


def _component(process: Process, made: Sandbox, fronts: Fronts) -> ComponentSpec:
    """Each finds the next one through its link."""
    ways = {
        CONTROL: {
            "DATA_PLANE_URL": f"http://127.0.0.1:{fronts.links['data-plane']}",
            "DATABASE_URL": made.database.replace(f":{made.process(DATABASE).port}/", f":{fronts.links['database']}/"),
        },
        DATA: {"SESSION_AGENT_ENDPOINT": f"http://127.0.0.1:{fronts.links['agents/a1']}"},
    }
    return ComponentSpec(
        name=NAMES.get(process.name, process.name),
        command=process.command,
        env=process.env | ways.get(process.name, {}),
        ready=Ready(tcp=process.port),
        after=[DATABASE] if process.name == CONTROL else [],
        stop_signal="QUIT" if process.name == DATABASE else "TERM",
    )


def platform_file(identity: str, made: Sandbox, fronts: Fronts, options: Options) -> str:
    """platform.toml, which is all that Reprise is told of it."""
    faults = ", ".join(f'"{kind}"' for kind in kinds())
    registry = f'registry = "{made.registry}"' if made.registry else ""
    return f"""\
version = 1
kind = "sandbox"
name = "{identity}"

[identity]
host = "{socket.gethostname()}"
stack = "{identity}"

[sandbox]
control_plane = "http://127.0.0.1:{fronts.links["clients"]}"
data_plane = "{made.data_plane}"
agent = "{made.session_agent}"
runtime = "{options.runtime}"
{registry}

[evidence.rows]
kind = "sql"
dsn = {{ file = "admin.dsn" }}
hz = 20

[evidence.workspaces]
kind = "files"
path = "{made.workspaces}"
hz = 50

{_parts(identity, fronts)}
[allow]
faults = [{faults}]
share = 1.0
count = {EVERYTHING}
at_once = {EVERYTHING}

[timing]
settle = {{ backoff_s = 0.4, reconcile_s = 0.1, slowest_s = 0.6 }}
bounds = {{ step_s = {BOUND_S} }}
offline_s = 1.0

[promises]
durable = true
at_most_once = true
order = false
files = true
memory = true
"""


def _parts(identity: str, fronts: Fronts) -> str:
    """[components] and [links] of it."""
    groups = {NAMES.get(name, name): "" for name in (AGENT, DATA, CONTROL)}
    groups[DATABASE] = 'admin = { file = "admin.dsn" }\n'
    components = [
        f'[components."{name}"]\nhow = "process"\nkeeper = "keeper.json"\n{more}' for name, more in groups.items()
    ]
    links = [
        f'[links."{name}"]\nadmin = "http://127.0.0.1:{fronts.api}"\nproxy = "{_proxy(identity, name)}"\n'
        f'token = {{ file = "{TOKEN}" }}\n'
        for name in fronts.links
    ]
    return "\n".join([*components, '[components.sessions]\nhow = "descendants"\n', *links])
