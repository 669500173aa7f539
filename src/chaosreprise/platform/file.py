"""The platform file: where a platform is, how it is watched, what of it may be broken.

TOML, strict: an unknown name is an error, since a mistyped limit must never be no limit. Secrets stand in it by
reference only, `{env = "X"}` or `{file = "path"}` with paths relative to the file.
"""

import ipaddress
import os
import pathlib
import tomllib
import urllib.parse
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.settings import TOO_MUCH, convert, read_text

Agents = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")]
Users = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Count = Annotated[int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to 1000000")]
Seconds = Annotated[float, Meta(ge=0, le=86400, description="seconds from 0 to 86400")]
Hertz = Annotated[float, Meta(gt=0, le=1000, description="a rate from above 0 to 1000 per second")]
Share = Annotated[float, Meta(gt=0, le=1, description="a share from above 0 to 1")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z",
        description="a name of letters, digits, dots and dashes, at most 63",
    ),
]
Host = Annotated[str, Meta(pattern=r"^[!-~]{1,253}\Z", description="a name of at most 253 characters, without spaces")]
Text = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}\Z", description="a text on one line, 1 to 200 characters")
]
Path = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,1000}\Z", description="a path, relative to the platform file")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://(([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]{0,1000})?\Z",
        description="a URL with http:// or https://, a host, and a port or a path where needed",
    ),
]


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A table of the platform file."""


class Secret(Strict, frozen=True):
    """A value that stands elsewhere: in an environment variable or in a file."""

    env: Text | None = None
    file: Path | None = None

    def read(self, base: pathlib.Path) -> str:
        if (self.env is None) == (self.file is None):
            raise BadInput('a secret is given as {env = "NAME"} or {file = "path"}, one of the two')
        if self.env is not None:
            if value := os.environ.get(self.env):
                return value
            raise BadInput(
                f"environment variable {self.env} is not set, and the platform file takes a secret from it: export it"
            )
        path = base / (self.file or "")
        try:
            return path.read_text().strip()
        except OSError as error:
            raise BadInput(f"{path}: the secret can't be read ({error.strerror})") from error


Hidden = Annotated[
    Secret,
    Meta(description='a secret by reference, {env = "NAME"} or {file = "path"}', extra={"hidden": True}),
]


class Lab(Strict, frozen=True):
    agents: Agents = 3
    users: Users = 12
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=60, description="seconds from 0.05 to 60")] = 1.0
    reconcile_s: Annotated[float, Meta(ge=0.02, le=60, description="seconds from 0.02 to 60")] = 0.5


class Identity(Strict, frozen=True):
    host: Host | None = None
    context: Host | None = None
    cluster_uid: Host | None = None


class Control(Strict, frozen=True):
    url: Url
    user: Text
    password: Hidden
    template: Text
    steps: Url | None = None


class Evidence(Strict, frozen=True):
    kind: Literal["sql", "files"]
    hz: Hertz = 1.0
    dsn: Hidden | None = None
    path: Path | None = None


class Components(Strict, frozen=True):
    how: Literal["process", "none"]
    keeper: Path | None = None


class Allow(Strict, frozen=True):
    faults: list[str] = []
    share: Share = 0.34
    foreign_sessions: Count = 0


class Budget(Strict, frozen=True):
    max_sessions: Count = 48
    max_rps: Annotated[float, Meta(gt=0, le=1e6, description="requests per second, from above 0 to 1000000")] = 200.0
    users: list[Text] = []


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


class Timing(Strict, frozen=True):
    settle: Settle
    bounds: Bounds = Bounds()
    offline_s: Seconds = 60.0


class Promises(Strict, frozen=True):
    durable: bool = True
    at_most_once: bool = True
    order: bool = True
    coalesce: bool = False
    files: bool = True
    memory: bool = False
    takeover_s: Seconds | None = None


class PlatformFile(Strict, frozen=True):
    version: Literal[1]
    kind: Literal["embedded", "streamspace"]
    name: Name
    lab: Lab | None = None
    identity: Identity = Identity()
    control: Control | None = None
    evidence: dict[str, Evidence] = {}
    components: dict[str, Components] = {}
    allow: Allow = Allow()
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


EMBEDDED = Platform("embedded", pathlib.Path(), PlatformFile(version=1, kind="embedded", name="embedded", lab=Lab()))


def load(where: str) -> Platform:
    """The platform called `embedded`, or the one that a platform file describes.

    Raises BadInput with the file, the setting, its value and what was expected.
    """
    if where == "embedded":
        return EMBEDDED
    file = convert(where, _toml(where), PlatformFile)
    _check(where, file)
    return Platform(where, pathlib.Path(where).absolute().parent, file)


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
    if file.kind == "embedded":
        for table in ("identity", "control", "evidence", "components", "allow", "budget", "timing", "promises"):
            if getattr(file, table) != getattr(EMBEDDED.file, table):
                raise BadInput(
                    f'{where}: [{table}] does not go with kind = "embedded", which makes its own: leave it out'
                )
        return
    if file.lab is not None:
        raise BadInput(f'{where}: [lab] goes only with kind = "embedded": leave it out')
    for table in ("control", "timing"):
        if getattr(file, table) is None:
            raise BadInput(f'{where}: [{table}] is missing: kind = "{file.kind}" needs it')
    if file.control is not None:
        _check_url(where, "control.url", file.control.url)
        _check_url(where, "control.steps", file.control.steps or file.control.url)
    if not file.budget.users:
        raise BadInput(f"{where}: budget.users = []: name the users whose sessions may be made")
    _check_needs(where, "evidence", {"sql": "dsn", "files": "path"}, "kind", file.evidence)
    _check_needs(where, "components", {"process": "keeper"}, "how", file.components)


def _check_url(where: str, setting: str, url: str) -> None:
    """What the pattern of a URL can't say."""
    try:
        parts = urllib.parse.urlsplit(url)
        if ":" in (parts.hostname or ""):
            ipaddress.ip_address(parts.hostname or "")
        _ = parts.port
    except ValueError as error:
        raise BadInput(f"{where}: {setting} = {shown(url)}: {error}: expected a URL of the platform") from error


def _check_needs(where: str, table: str, needs: dict[str, str], by: str, entries: dict[str, Any]) -> None:
    for name, entry in entries.items():
        choice = getattr(entry, by)
        if choice in needs and getattr(entry, needs[choice]) is None:
            raise BadInput(f'{where}: {table}.{name}.{needs[choice]} is missing: {by} = "{choice}" needs it')
