"""stack.json: what the keeper runs.

Strict: an unknown key, a wrong type or a dangling name is BadInput before anything starts. The lab's `prepare` writes it,
the keeper reads it; neither knows the other. Times are seconds.
"""

import ipaddress
import os
import pathlib
import signal
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.settings import convert

FILE = "stack.json"
VERSION = 1

Port = Annotated[int, msgspec.Meta(ge=1, le=65535, description="a port from 1 to 65535")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600, description="seconds from 0 to 3600")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", description="a name like agents/a1")]
Command = Annotated[list[str], msgspec.Meta(min_length=1, description="a list of a program and its arguments")]


class Ready(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When a component counts as ready: 127.0.0.1 accepts a connection, or a GET is answered with 200, by whom of several
    does not matter. Exactly one of both.
    """

    tcp: Port | None = None
    http: str | list[str] | None = None

    @property
    def urls(self) -> list[str]:
        return [self.http] if isinstance(self.http, str) else self.http or []


class Secret(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A value that is read when a process is started: in a file, or in the environment of the keeper. One of both."""

    env: str | None = None
    file: str | None = None

    def read(self) -> str:
        """Raises NotPossible when it is not there."""
        try:
            return os.environ[self.env] if self.env is not None else pathlib.Path(self.file or "").read_text().strip()
        except KeyError:
            raise NotPossible(f"environment variable {self.env} is not set, which holds a secret of it") from None
        except OSError as error:
            raise NotPossible(f"{self.file}: can't be read ({error.strerror}), which holds a secret of it") from error


class ComponentSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One process that is kept running. `homes`: the ports of which it holds a connection to one when it is whole; empty:
    to where it was connected before.

    `secrets` are variables whose values stand elsewhere, and `folder` is where it is started, by default the stack's.
    `listen` is bound on 127.0.0.1 and handed over as file descriptor 3. `after` are the components that must be ready
    first. `userns`: in a user and IPC namespace of its own; `within`: in the user and mount namespaces of that component, whose
    file systems it so sees.
    """

    name: Name
    command: Command
    env: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    folder: str = ""
    listen: Port | None = None
    ready: Ready | None = None
    homes: list[Port] = []
    after: list[str] = []
    stop_signal: str = "TERM"
    backoff_s: Seconds = 0.2
    userns: bool = False
    within: str = ""


class SessionSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a slot runs. `grace_s` 0: killed at once; else asked with SIGTERM first."""

    command: Command
    env: dict[str, str] = {}
    grace_s: Seconds = 0.0
    backoff_s: Seconds = 0.2


class StackSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole of stack.json. `links` are names that faults may hold although no process has them: `links/database`.

    `spares_orphans`: what a component leaves behind when it dies lives on as it would elsewhere, until the stack ends.
    """

    v: int
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="up to 64 of A-Z a-z 0-9 . _ -")]
    components: list[ComponentSpec]
    session: SessionSpec = msgspec.field(
        default_factory=lambda: SessionSpec(command=["false"])
    )  # where nobody makes slots
    links: list[Name] = []
    spares_orphans: bool = False


def load(folder: pathlib.Path) -> StackSpec:
    """Read and check `folder/stack.json`."""
    path = folder / FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: can't be read ({error.strerror}): expected what `python -m chaosreprise.lab prepare` writes"
        ) from error
    spec = _decode(path, data)
    _check(path, spec)
    return spec


def save(folder: pathlib.Path, spec: StackSpec) -> None:
    """Check and write `folder/stack.json`: who prepares a stack builds the structs and needs no JSON of its own."""
    _check(folder / FILE, spec)
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(spec)) + b"\n")


def _decode(path: pathlib.Path, data: bytes) -> StackSpec:
    try:
        raw = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    return convert(str(path), raw, StackSpec)


def _check(path: pathlib.Path, spec: StackSpec) -> None:
    if spec.v != VERSION:
        raise BadInput(f"{path}: v = {spec.v}: this Reprise runs version {VERSION}")
    names = [component.name for component in spec.components]
    logs = [name.replace("/", "-") for name in [*names, "sessions", "keeper"]]  # one log file each
    for name, log in zip(names, logs, strict=False):
        if logs.count(log) > 1:
            raise BadInput(
                f"{path}: components: {name!r} shares the log {log}.log with another name: expected names that differ"
            )
    for name in spec.links:
        if name in names:
            raise BadInput(f"{path}: links: {name!r} is a component's name: expected names that differ")
    for component in spec.components:
        _check_component(path, component, names)
    _check_order(path, spec.components)


def _check_component(path: pathlib.Path, component: ComponentSpec, names: list[str]) -> None:
    where = f"{path}: component {component.name!r}"
    if f"SIG{component.stop_signal}" not in signal.Signals.__members__:
        raise BadInput(f"{where}: stop_signal = {component.stop_signal!r}: expected a signal's name like TERM or QUIT")
    for setting, name in [*(("after", name) for name in component.after), ("within", component.within)]:
        if name and (name not in names or name == component.name):
            raise BadInput(f"{where}: {setting} = {name!r}: expected the name of another component")
    if component.ready is not None:
        _check_ready(where, component.ready)


def _check_ready(where: str, ready: Ready) -> None:
    if (ready.tcp is None) == (not ready.urls):
        raise BadInput(f'{where}: ready: expected either {{"tcp": PORT}} or {{"http": URL}}')
    for url in ready.urls:
        _check_url(where, url)


def _check_url(where: str, text: str) -> None:
    try:
        url = urlsplit(text)
        ipaddress.ip_address(url.hostname or "")
        port = url.port
    except ValueError:
        port = None
    if (
        port is None or url.scheme != "http"
    ):  # names would need a resolver, and with it a thread: the keeper has one thread
        raise BadInput(f"{where}: ready.http = {text!r}: expected http://127.0.0.1:PORT/PATH, the host as a number")


def _check_order(path: pathlib.Path, components: list[ComponentSpec]) -> None:
    waiting = {component.name: set(component.after) for component in components}
    while waiting:
        free = {name for name, after in waiting.items() if not after & waiting.keys()}
        if not free:
            raise BadInput(
                f"{path}: components: {', '.join(sorted(waiting))} wait for each other in `after`: expected an order"
            )
        waiting = {name: after for name, after in waiting.items() if name not in free}
