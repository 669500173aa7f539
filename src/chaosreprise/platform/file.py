"""The platform file: where a platform is, how it is watched, what of it may be broken.

TOML, strict: an unknown name is an error, since a mistyped limit must never be no limit. Secrets stand in it by
reference only, `{env = "X"}` or `{file = "path"}` with paths relative to the file.
"""

import hashlib
import os
import pathlib
import re
import tomllib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.history.statements import Resource
from chaosreprise.kubernetes.where import Forward, Where
from chaosreprise.paths import state_path
from chaosreprise.platform import kinds, limits
from chaosreprise.platform.limits import Allow, Guard, Identity
from chaosreprise.platform.values import (
    Agents,
    ControlPlanes,
    Count,
    Hertz,
    Hidden,
    Listen,
    Mebibytes,
    Name,
    NumberOfPlatforms,
    NumberOfRegions,
    Path,
    Port,
    Seconds,
    Secret,
    Strict,
    Text,
    Url,
    Users,
    Value,
    check_url,
)
from chaosreprise.settings import TOO_MUCH, convert, read_text

T = TypeVar("T")
Serves = Literal["streamspace", "sandbox"]
Registry = Literal["memory", "file"]
Setting = Annotated[
    Text | bool | int | float | Secret,
    Meta(
        description='a text on one line, a number, true or false, or a secret by reference, {env = "NAME"} or {file = "path"}'
    ),
]


class Lab(Strict, frozen=True):
    """`serves`: the kind of platform that it is; a sandbox has one agent, and takes of the rest its `registry` only.
    `witness`: its sessions speak for themselves, and that and its rows are all that is seen.
    """

    agents: Agents = 3
    users: Users = 12
    control_planes: ControlPlanes = 1
    regions: NumberOfRegions = 1
    clusters: NumberOfRegions = 1
    agent_platforms: NumberOfPlatforms = 1
    disk_mib: Mebibytes = 0
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=60, description="seconds from 0.05 to 60")] = 1.0
    reconcile_s: Annotated[float, Meta(ge=0.02, le=60, description="seconds from 0.02 to 60")] = 0.5
    token_s: Annotated[float, Meta(ge=1, le=1e6, description="seconds from 1 to 1000000")] = 24 * 3600.0
    witness: bool = False
    serves: Serves = "streamspace"
    registry: Registry = "memory"

    def parts(self) -> str:
        """What it is made of, for people."""
        if self.serves == "sandbox":
            return "PostgreSQL, control plane, data plane, session agent"
        several = "s" if self.control_planes > 1 else ""
        return f"PostgreSQL, {self.control_planes} control plane{several}, {self.agents} agents"


class Control(Strict, frozen=True):
    url: Url
    user: Text
    password: Hidden
    template: Text
    steps: Url | None = None


class Sandbox(Strict, frozen=True):
    """Where the three services of a sandbox are, and what a create says. `tools`: where its control plane offers creates and steps once more.
    `token`: a bearer token, where it asks for one; `other_token`: that of another tenant, who must not reach sessions of ours.
    `registry`: the file in which its data plane keeps where each session runs, if it does.
    """

    control_plane: Url
    data_plane: Url
    agent: Url | None = None
    tools: Url | None = None
    token: Hidden | None = None
    other_token: Hidden | None = None
    tenant: Text = "reprise"
    agent_id: Text = "reprise"
    policy: Text = "default"
    runtime: Text = "python"
    ttl_s: Annotated[int, Meta(ge=1, le=86400, description="whole seconds from 1 to 86400")] = 3600
    create_every_s: Seconds = 1.05
    registry: Path | None = None


class Kubernetes(Strict, frozen=True):
    """Where the platform's objects are. Without a kubeconfig: what kubectl takes, or in a pod its own account.

    `sessions` selects the Deployments of sessions, of a sandbox their pods; they say whose by `session_label`.
    """

    namespace: Name
    context: Text | None = None
    kubeconfig: Path | None = None
    sessions: Text | None = None
    session_label: Text | None = None


class Evidence(Strict, frozen=True):
    """`listen`: where a run receives what the sessions' own processes say, who show `token`. `known`: of kind "processes", where the
    processes of its control plane may connect to, beside which each end is told.
    """

    kind: Literal["sql", "sqlite", "files", "kubernetes", "stdout", "witness", "processes", "statistics"]
    hz: Hertz = 1.0
    dsn: Hidden | None = None
    path: Path | None = None
    listen: Listen | None = None
    token: Hidden | None = None
    known: list[
        Annotated[str, Meta(pattern=r"^[^:]+:[0-9]{1,5}\Z", description="a host and a port, such as 10.0.0.5:5432")]
    ] = msgspec.field(default_factory=list)


class Components(Strict, frozen=True):
    """A group of components, or one of them, `agents/a1`: processes of a keeper of ours, which `keeper` names, or which is
    made for the run: that one starts `command` with `env` in `folder`, and takes it to be ready when `port` accepts. Or one
    of them is the pods of the one Deployment that `selector`, of its labels, selects. The sessions of a platform may be
    `descendants` of its other components: interpreters, which are found by what steps leave (evidence.NAME of kind "files"); those
    of a sandbox may be pods, which `kubernetes.sessions` selects.

    `admin`: the connection string of an administrator of the platform's PostgreSQL, for faults by SQL; of `database` only.
    """

    how: Literal["process", "kubernetes", "descendants", "none"]
    keeper: Path | None = None
    command: Annotated[list[Text], Meta(min_length=1)] | None = None
    env: dict[str, Value | Secret] = msgspec.field(default_factory=dict)
    folder: Path | None = None
    port: Port | None = None
    after: list[Text] = msgspec.field(default_factory=list)
    selector: Text | None = None
    admin: Hidden | None = None


class Link(Strict, frozen=True):
    """Where a link goes through a Toxiproxy: the server's HTTP API, and the name of the proxy there; several, where one end has
    several places, such as two control planes.

    `taps`: the HTTP API of a proxy server of ours that stands before it, or is it, and has the proxies under the same names.
    """

    admin: Url
    proxy: Text | Annotated[list[Text], Meta(min_length=1)]
    token: Hidden | None = None
    taps: Url | None = None
    taps_token: Hidden | None = None


class Budget(Strict, frozen=True):
    max_sessions: Count = 48
    max_rps: Annotated[float, Meta(gt=0, le=1e6, description="requests per second, from above 0 to 1000000")] = 200.0
    users: list[Text] = msgspec.field(default_factory=list)
    sessions_a_user: Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")] | None = (
        None
    )


class Settle(Strict, frozen=True):
    backoff_s: Seconds
    reconcile_s: Seconds
    slowest_s: Seconds

    def seconds(self, longest_queue: int) -> float:
        """Longest back-off + two reconcile rounds + slowest command x (1 + longest queue of one agent)."""
        return self.backoff_s + 2 * self.reconcile_s + self.slowest_s * (1 + longest_queue)


class Bounds(Strict, frozen=True):
    start_s: Seconds = 30.0
    stop_s: Seconds = 10.0
    hibernate_s: Seconds = 10.0
    wake_s: Seconds = 30.0
    step_s: Seconds = 30.0


NOT_STATED = Bounds()


class Timing(Strict, frozen=True):
    settle: Settle
    bounds: Bounds = NOT_STATED
    offline_s: Seconds = 60.0

    @property
    def states_bounds(self) -> bool:
        """Whether some stand in the file, be they what they would be without."""
        return self.bounds is not NOT_STATED


class Promises(Strict, frozen=True):
    durable: bool = True
    at_most_once: bool = True
    order: bool = True
    streams: bool = True
    coalesce: bool = False
    files: bool = True
    memory: bool | None = None
    placement: bool = False
    states: bool = False
    limits: list[Resource] | None = None
    takeover_s: Seconds | None = None

    def stated(self) -> dict[str, Any]:
        """As the contract has them."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class PlatformFile(Strict, frozen=True):
    version: Literal[1]
    kind: Name
    name: Name
    lab: Lab | None = None
    identity: Identity = Identity()
    control: Control | None = None
    sandbox: Sandbox | None = None
    settings: dict[Name, Setting] = msgspec.field(default_factory=dict)
    kubernetes: Kubernetes | None = None
    forward: dict[Name, Forward] = msgspec.field(default_factory=dict)
    evidence: dict[str, Evidence] = msgspec.field(default_factory=dict)
    components: dict[str, Components] = msgspec.field(default_factory=dict)
    regions: dict[str, list[Text]] = msgspec.field(default_factory=dict)
    links: dict[str, Link] = msgspec.field(default_factory=dict)
    allow: Allow = Allow()
    guard: Guard = Guard()
    budget: Budget = Budget()
    timing: Timing | None = None
    promises: Promises = Promises()


class Platform(msgspec.Struct, frozen=True):
    """A platform file and where it stands: paths in it are relative to `folder`."""

    path: str
    folder: pathlib.Path
    file: PlatformFile

    @property
    def id(self) -> str:
        """What its faults and its lock are filed under: the name and the host, so that two files of one name do not meet by chance."""
        return f"{self.file.name}@{self.file.identity.host or self.file.identity.context or 'local'}"

    def settings(self, into: type[T]) -> T:
        """[settings] as the adapter of a kind that is not built in wants them: as strict as a `Strict` is. Raises BadInput."""
        return convert(f"{self.path}: [settings]", msgspec.to_builtins(self.file.settings), into)

    def has(self, setting: str) -> bool:
        """Whether `table.name.setting` of the file, or a shorter one, is set."""
        found: Any = self.file
        for name in setting.split("."):
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        return found is not None

    @property
    def groups(self) -> set[str]:
        """Of its components that have a handle."""
        return {name.partition("/")[0] for name in self.file.components}

    @property
    def commands(self) -> dict[str, Components]:
        """Its components that are started for a run."""
        return {name: entry for name, entry in self.file.components.items() if entry.command is not None}

    @property
    def stack(self) -> pathlib.Path:
        """The folder of the stack that runs `commands`, while there is one."""
        name = hashlib.sha256(str(pathlib.Path(self.path).absolute()).encode()).hexdigest()[:12]
        return state_path("stacks") / f"of-{name}"

    @property
    def keepers(self) -> dict[str, pathlib.Path]:
        """Where the keeper of each group's processes, or of one component's, says how it is reached."""
        named = {name: entry.keeper for name, entry in self.file.components.items()}
        found = {name: self.folder / keeper for name, keeper in named.items() if keeper is not None}
        return found | dict.fromkeys(self.commands, self.stack / KEEPER_FILE)

    @property
    def cluster(self) -> Where | None:
        """Where its objects are, the same from any folder: for a fault's ledger too."""
        told = self.file.kubernetes
        if told is None:
            return None
        file = str(self.folder / told.kubeconfig) if told.kubeconfig else os.environ.get("KUBECONFIG")
        return Where(namespace=told.namespace, context=told.context, kubeconfig=file)

    @property
    def session_objects(self) -> tuple[str, str]:
        """What selects those of sessions in the cluster, and the label by which they say whose."""
        told = self.file.kubernetes
        assert told is not None
        selector, label = SESSION_OBJECTS[self.file.kind]
        return told.sessions or selector, told.session_label or label

    @property
    def session_pods(self) -> bool:
        """Whether its sessions are pods of their own."""
        return _has_session_pods(self.file)

    @property
    def agent_pods(self) -> bool:
        """Whether its agents are pods."""
        agents = [entry for name, entry in self.file.components.items() if name.startswith("agents/")]
        return bool(agents) and all(entry.how == KUBERNETES for entry in agents)

    @property
    def witnesses(self) -> list[str]:
        """The evidence in which the sessions' own processes speak."""
        return [name for name, entry in self.file.evidence.items() if entry.kind == WITNESS]

    @property
    def admin(self) -> Secret | None:
        """Where the connection string of the database's administrator stands, its path absolute: for a fault's ledger."""
        database = self.file.components.get(DATABASE)
        secret = database.admin if database else None
        return Secret(file=str(self.folder.absolute() / secret.file)) if secret and secret.file else secret


DATABASE, SESSIONS, SLOTS = "database", "sessions", "slots"
WORKSPACES, HOMES = "workspaces", "homes"
STDOUT = "stdout"
DESCENDANTS, KUBERNETES, WITNESS = "descendants", "kubernetes", "witness"
SEVERAL = ("agents", SESSIONS)
WATCHED = (("streamspace", SLOTS), ("streamspace", HOMES), ("sandbox", WORKSPACES))
OF_KINDS = {"streamspace": "control", "sandbox": "sandbox"}  # the table that says where a platform of this kind is
SESSION_OBJECTS = {
    "streamspace": ("app=streamspace-session", "session"),
    "sandbox": ("app=sandbox-session", "session_id"),
}
URLS = ("url", "steps", "control_plane", "data_plane", "agent", "tools")
PLACEHOLDER = re.compile(r"<[a-z-]+>")
KEEPER_FILE = "keeper.json"
LINK = re.compile(r"clients|database|data-plane|sessions|agents/[A-Za-z0-9._-]{1,63}")
COMPONENT = re.compile(r"(control-plane|agents|sessions)(/[A-Za-z0-9._-]{1,63})?|data-plane|database")
OF_EMBEDDED = {"version", "kind", "name", "lab"}
EMBEDDED = Platform("embedded", pathlib.Path(), PlatformFile(version=1, kind="embedded", name="embedded", lab=Lab()))


def load(where: str) -> Platform:
    """The platform called `embedded`, or the one that a platform file describes.

    Raises BadInput with the file, the setting, its value and what was expected.
    """
    if where == "embedded":
        return EMBEDDED
    told = _toml(where)
    file = convert(where, told, PlatformFile)
    if left := next(_placeholders(told), None):
        raise BadInput(f"{where}: {left}: it still stands there as in the template: fill it in, or take it out")
    _check(where, file)
    return Platform(where, pathlib.Path(where).absolute().parent, file)


def _placeholders(told: Any, at: str = "") -> Iterator[str]:
    """What a template wants to be filled in, `<url>`, and is not."""
    if isinstance(told, dict):
        for name, value in told.items():
            yield from [f"{at}{name}"] if PLACEHOLDER.search(name) else _placeholders(value, f"{at}{name}.")
    for value in told if isinstance(told, list) else [told]:
        if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
            yield f'{at.removesuffix(".")} = "{value}"'


def _toml(where: str) -> dict[str, Any]:
    text = read_text(where, "the platform file", "set REPRISE_PLATFORM to `embedded` or to a platform file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: {TOO_MUCH}") from error


def _check(where: str, file: PlatformFile) -> None:
    """What must or must not stand together, beyond the type of each setting."""
    kinds.check(f"{where}: kind", file.kind, kinds.EMBEDDED)
    if file.kind == "embedded":
        for table in PlatformFile.__struct_fields__:
            if table not in OF_EMBEDDED and getattr(file, table) != getattr(EMBEDDED.file, table):
                raise BadInput(
                    f'{where}: [{table}] does not go with kind = "embedded", which makes its own: leave it out'
                )
        return
    if file.lab is not None:
        raise BadInput(f'{where}: [lab] goes only with kind = "embedded": leave it out')
    _check_kind(where, file)
    if file.timing is None:
        raise BadInput(f'{where}: [timing] is missing: kind = "{file.kind}" needs it')
    if not file.budget.users and file.kind == "streamspace":
        raise BadInput(f"{where}: budget.users = []: name the users whose sessions may be made")
    dsn_or_path = {"sql": "dsn", "sqlite": "path", "files": "path", "statistics": "dsn"}
    _check_needs(where, "evidence", dsn_or_path, "kind", file.evidence)
    _check_witnesses(where, file)
    _check_watched(where, file)
    _check_kubernetes(where, file)
    _check_components(where, file.components)
    _check_links(where, file.links)
    limits.check(where, file.allow, file.guard)


def _check_kind(where: str, file: PlatformFile) -> None:
    """The table that says where the platform is: the one of its kind, and no other; [settings] for a kind that is not built in."""
    for kind, table in OF_KINDS.items():
        found = getattr(file, table)
        if kind == file.kind and found is None:
            raise BadInput(f'{where}: [{table}] is missing: kind = "{file.kind}" needs it')
        if kind != file.kind and found is not None:
            raise BadInput(f'{where}: [{table}] does not go with kind = "{file.kind}": leave it out')
        for name in URLS if found is not None else ():
            check_url(where, f"{table}.{name}", getattr(found, name, None))
    for name, value in file.settings.items():
        if isinstance(value, str) and value.startswith("http"):
            check_url(where, f"settings.{name}", value)
    if file.settings and file.kind in kinds.BUILT_IN:
        raise BadInput(
            f'{where}: [settings] does not go with kind = "{file.kind}", which has [{OF_KINDS[file.kind]}]: leave it out'
        )


def _check_witnesses(where: str, file: PlatformFile) -> None:
    """Sessions of StreamSpace are processes that stay: what they say of themselves is known of no other kind."""
    for name, entry in file.evidence.items():
        if (entry.kind == WITNESS) is (entry.listen is None) or (entry.kind == WITNESS) is (entry.token is None):
            raise BadInput(
                f'{where}: evidence.{name}: kind = "{WITNESS}", listen and token go together: give all three or none'
            )
        if entry.kind == WITNESS and (file.kind != "streamspace" or name in (SLOTS, WORKSPACES)):
            raise BadInput(
                f'{where}: evidence.{name}.kind = "{WITNESS}" goes only with kind = "streamspace", and not as {SLOTS} or {WORKSPACES}'
            )


def _has_session_pods(file: PlatformFile) -> bool:
    entry = file.components.get(SESSIONS)
    return entry is not None and entry.how == KUBERNETES


def _check_watched(where: str, file: PlatformFile) -> None:
    """The objects of StreamSpace's sessions, which stand for the ledger `slots`, their claims, and a sandbox's pods, which have `workspaces`."""
    for name, entry in file.evidence.items():
        if entry.kind == KUBERNETES and (file.kind, name) not in WATCHED:
            raise BadInput(
                f'{where}: evidence.{name}.kind = "kubernetes" goes only with evidence.{SLOTS} and evidence.{HOMES} of '
                f'kind = "streamspace", and evidence.{WORKSPACES} of kind = "sandbox"'
            )
        if entry.kind == STDOUT and (file.kind, name) != ("sandbox", WORKSPACES):
            raise BadInput(
                f'{where}: evidence.{name}.kind = "{STDOUT}" goes only with evidence.{WORKSPACES} of kind = "sandbox"'
            )
        if entry.kind == STDOUT and _has_session_pods(file):
            raise BadInput(
                f'{where}: evidence.{name}.kind = "{STDOUT}": a session that is a pod has no folder in common with others, and '
                f'prints nothing beside the step that it runs: state kind = "{KUBERNETES}", which reads in pods by exec'
            )
        slots = file.evidence.get(SLOTS)
        if name == HOMES and not (slots and slots.kind == entry.kind == KUBERNETES):
            raise BadInput(
                f'{where}: evidence.{HOMES} are claims of a cluster: it goes only with kind = "kubernetes", beside evidence.{SLOTS} of that kind'
            )


def _check_forwards(where: str, file: PlatformFile) -> None:
    if not file.forward:
        return
    name = next(iter(file.forward))
    if file.kubernetes is None:
        raise BadInput(f"{where}: [kubernetes] is missing: forward.{name} leads to pods there")
    if file.identity.context is None and file.identity.cluster_uid is None:
        raise BadInput(
            f"{where}: [identity] states neither context nor cluster_uid: forward.{name} leads to the cluster that a kubeconfig means, "
            "so a host tells nothing: state one of them"
        )


def _check_kubernetes(where: str, file: PlatformFile) -> None:
    _check_forwards(where, file)
    for name, entry in file.evidence.items():
        if entry.kind == "kubernetes" and file.kubernetes is None:
            raise BadInput(f'{where}: [kubernetes] is missing: evidence.{name}.kind = "kubernetes" needs it')
    for name, part in file.components.items():
        pods = (file.kind, name, part.how) == ("sandbox", SESSIONS, KUBERNETES)
        if pods and part.selector is not None:
            raise BadInput(
                f"{where}: components.{name}.selector: kubernetes.sessions says which pods these are: leave it out"
            )
        if not pods and (part.how == KUBERNETES) is (part.selector is None):
            raise BadInput(
                f'{where}: components.{name}: how = "kubernetes" and selector go together: give both or none'
            )
        if part.how == KUBERNETES and file.kubernetes is None:
            raise BadInput(f'{where}: [kubernetes] is missing: components.{name}.how = "kubernetes" needs it')
        if part.how == KUBERNETES and name in SEVERAL and not pods:
            raise BadInput(f'{where}: components.{name}: a Deployment is one component: name it, such as "{name}/NAME"')


def _check_links(where: str, links: dict[str, Link]) -> None:
    for name, link in links.items():
        if not LINK.fullmatch(name):
            raise BadInput(
                f"{where}: links.{shown(name)}: expected clients, database, data-plane, sessions or agents/NAME, which is what a link leads to"
            )
        check_url(where, f"links.{name}.admin", link.admin)
        check_url(where, f"links.{name}.taps", link.taps)


def _check_components(where: str, entries: dict[str, Components]) -> None:
    for name, entry in entries.items():
        if not COMPONENT.fullmatch(name):
            raise BadInput(
                f"{where}: components.{shown(name)}: expected agents, sessions, control-plane, data-plane or database, "
                "or one of several such as agents/a1"
            )
        if entry.how == "process" and (entry.keeper is None) is (entry.command is None):
            raise BadInput(
                f'{where}: components.{name}: how = "process" needs one of two: keeper, of processes that run, or command, to start one'
            )
        if entry.command is None and (entry.env or entry.folder or entry.port or entry.after):
            raise BadInput(
                f"{where}: components.{name}: env, folder, port and after go only with command: leave them out"
            )
        if entry.how == DESCENDANTS and (name != SESSIONS or entry.keeper or entry.command):
            raise BadInput(
                f'{where}: components.{name}: how = "{DESCENDANTS}" goes only with components.{SESSIONS}, without keeper and command'
            )
        if name != DATABASE and entry.admin is not None:
            raise BadInput(f"{where}: components.{name}.admin goes only with components.{DATABASE}: leave it out")


def _check_needs(where: str, table: str, needs: dict[str, str], by: str, entries: dict[str, Any]) -> None:
    for name, entry in entries.items():
        choice = getattr(entry, by)
        if choice in needs and getattr(entry, needs[choice]) is None:
            raise BadInput(f'{where}: {table}.{name}.{needs[choice]} is missing: {by} = "{choice}" needs it')
