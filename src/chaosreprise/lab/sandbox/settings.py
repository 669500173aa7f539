"""What the environment says: the variables of the real processes, with their defaults, and one of our own.

An empty variable counts as one that is not set. `REPRISE_LAB_LIMIT_S` is ours: the time limit of one call to the next
process in seconds, 10 without it, so that tests need not wait that long.
"""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from chaosreprise.errors import BadInput, NotPossible, shown

LIMIT = "REPRISE_LAB_LIMIT_S"
LIMIT_S = 10.0
HERE = "127.0.0.1"  # these processes run anybody's code: who wants them elsewhere says where


class Address(NamedTuple):
    host: str
    port: int


class Keys(NamedTuple):
    """What a bearer token is held against. `issuer` and `audience` are asked for unless empty."""

    secret: str
    issuer: str = ""
    audience: str = ""


class Control(NamedTuple):
    """`tools` is where the same two calls are offered once more; `keys` are None where authentication is bypassed."""

    address: Address
    tools: Address | None
    data_plane: str
    driver: str
    database: str
    keys: Keys | None
    limit_s: float


class Data(NamedTuple):
    """`agent` is the session agent's URL, empty where steps run in the data plane; `routes` None: in memory."""

    address: Address
    agent: str
    enforced: bool
    routes: pathlib.Path | None
    workspaces: pathlib.Path
    keys: Keys | None
    limit_s: float


class Agent(NamedTuple):
    address: Address
    enforced: bool
    workspaces: pathlib.Path


def control(environ: Mapping[str, str]) -> Control:
    given = _Environment(environ)
    given.text("ENV")
    driver = given.one_of("DATABASE_DRIVER", ("postgres", "sqlite"), "postgres")
    return Control(
        address=Address(HERE, given.port("PORT", "8080")),
        tools=given.address("MCP_ADDR", ""),
        data_plane=given.url("DATA_PLANE_URL"),
        driver=driver,
        database=given.text("DATABASE_URL"),
        keys=given.keys(),
        limit_s=given.seconds(LIMIT, LIMIT_S),
    )


def data(environ: Mapping[str, str]) -> Data:
    given = _Environment(environ)
    given.text("ENV")
    if given.one_of("SESSION_RUNTIME_BACKEND", ("local", "k8s"), "local") == "k8s":
        raise NotPossible('SESSION_RUNTIME_BACKEND = "k8s": this build has no Kubernetes: set it to local')
    in_file = given.one_of("SESSION_REGISTRY_BACKEND", ("memory", "file"), "memory") == "file"
    routes = pathlib.Path(given.text("SESSION_REGISTRY_PATH")) if in_file else None
    if routes and not routes.absolute().parent.is_dir():
        raise BadInput(f"SESSION_REGISTRY_PATH = {shown(str(routes))}: expected a file in a folder that is there")
    return Data(
        address=Address(HERE, given.port("PORT", "8081")),
        agent=given.url("SESSION_AGENT_ENDPOINT", needed=False),
        enforced=given.one_of("SESSION_AGENT_AUTH_MODE", ("enforced", "bypass"), "enforced") == "enforced",
        routes=routes,
        workspaces=given.workspaces(),
        keys=given.keys(),
        limit_s=given.seconds(LIMIT, LIMIT_S),
    )


def agent(environ: Mapping[str, str]) -> Agent:
    given = _Environment(environ)
    given.text("ENV")
    address = given.address("SESSION_AGENT_ADDR", ":9000")
    assert address is not None
    return Agent(address, not given.flag("SESSION_AGENT_AUTH_BYPASS"), given.workspaces())


class _Environment:
    """Reads one variable at a time; BadInput names it, its value and what was expected."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environ.get(name) or default
        if value is None:
            raise BadInput(f"{name} is not set: set it in the environment of this process")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise BadInput(f"{name} = {shown(value)}: expected {' or '.join(choices)}")
        return value

    def flag(self, name: str) -> bool:
        return self.one_of(name, ("true", "false"), "false") == "true"

    def port(self, name: str, default: str) -> int:
        value = self.text(name, default)
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 1 << 16):
            raise BadInput(f"{name} = {shown(value)}: expected a port from 1 to 65535")
        return int(value)

    def address(self, name: str, default: str) -> Address | None:
        """HOST:PORT; without a host on this machine only. None where there is none."""
        value = self.text(name, default)
        if not value:
            return None
        host, colon, port = value.rpartition(":")
        if not (colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            raise BadInput(f"{name} = {shown(value)}: expected an address like :9000 or 127.0.0.1:9000")
        return Address(host.strip("[]") or HERE, int(port))

    def url(self, name: str, *, needed: bool = True) -> str:
        value = self.text(name, None if needed else "")
        try:
            parts = urlsplit(value)
            fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if value and not fits:
            raise BadInput(f"{name} = {shown(value)}: expected a URL like http://127.0.0.1:8081")
        return value.rstrip("/")

    def seconds(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        try:
            found = float(value)
        except ValueError:
            found = -1.0
        if not 0 < found <= 3600:
            raise BadInput(f"{name} = {shown(value)}: expected seconds above 0, up to 3600")
        return found

    def keys(self) -> Keys | None:
        if self.flag("AUTHZ_BYPASS"):
            return None
        secret = self._environ.get("AUTH_JWT_SECRET")
        if not secret:
            raise BadInput("AUTH_JWT_SECRET is not set: set it, or AUTHZ_BYPASS=true to let everybody in")
        return Keys(secret, self.text("AUTH_ISSUER", ""), self.text("AUTH_AUDIENCE", ""))

    def workspaces(self) -> pathlib.Path:
        return pathlib.Path(self.text("WORKSPACE_ROOT", "/tmp/sessions")).absolute()  # noqa: S108 - the contract's default
