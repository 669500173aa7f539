"""`chaos reprise stop`: end a run from another shell, with everything undone first.

A run says in `run.json`, beside its ledger of faults, who it is, until it ends. A file that a SIGKILL left behind is known by
its owner's incarnation, which is dead. Stopping asks the run's warden to halt, waits until all is undone, tells the owner
to end in order, waits for that, and last looks into the ledger: nothing but that says that nothing is left broken.
"""

import contextlib
import pathlib
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from chaosreprise.errors import RepriseError, RunBroken
from chaosreprise.faults import client, ledger, protocol
from chaosreprise.paths import state_dir
from chaosreprise.platform.file import Platform
from chaosreprise.procs import Incarnation, is_alive, myself, send_signal, wait_gone
from chaosreprise.run.directory import Directory

FILE = "run.json"
HALT_S = 45.0  # longer than any undo: nothing is done twice
END_S = 90.0  # undoing, tidying sessions up, judging
ENDS = {"clean": "undone, verified", "moot": "its stack is gone: nothing to undo", "planned": "had not begun"}


class Running(msgspec.Struct, kw_only=True):
    """A run under way. `platform` is the platform's id, `asked` and `file` what was asked for and the platform file that this
    became, `warden` the warden's address once it listens.
    """

    run: str
    platform: str
    asked: str
    file: str
    directory: str
    owner: Incarnation
    warden: str | None = None

    def names(self) -> set[str]:
        """What somebody may call it by."""
        paths = {str(pathlib.Path(path).resolve()) for path in (self.file, self.directory)}
        return paths | {self.run, self.asked, self.platform, self.platform.partition("@")[0]}


@contextlib.contextmanager
def announced(requested: Platform, platform: Platform, directory: Directory) -> Iterator[Running]:
    """This process's run can be found by others, until it ends. Call it with the platform's lock held."""
    running = Running(
        run=directory.run,
        platform=platform.id,
        asked=requested.path,
        file=str(pathlib.Path(platform.path).absolute()),
        directory=str(directory.path),
        owner=myself(),
    )
    announce(running)
    try:
        yield running
    finally:
        with contextlib.suppress(OSError):  # a read-only disk by now: whoever reads it sees that its owner is dead
            _path(running.platform).unlink()


def announce(running: Running, warden: str | None = None) -> None:
    """As a whole or not at all. Raises RunBroken when it can't be written: a run that can't be stopped is not begun."""
    path = _path(running.platform)
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_bytes(msgspec.json.encode(msgspec.structs.replace(running, warden=warden)))
        new.replace(path)
    except OSError as error:
        raise RunBroken(
            f"{path}: can't be written ({error.strerror}), and without it `chaos reprise stop` would not find the run: "
            "make room, or set XDG_STATE_HOME to another folder"
        ) from error


def why(status: dict[str, Any]) -> str | None:
    """Who halted the run, by what its warden says of itself; None when nobody did."""
    halted = status.get("halted") or {}
    if halted.get("by") == "stop":
        return "by `chaos reprise stop`"
    return f"by the guard: {halted['why']}" if halted.get("by") == "guard" else None


def running() -> list[Running]:
    """The runs of this user that are alive."""
    return [one for _, one in _announced() if is_alive(one.owner)]


def sweep() -> None:
    """Remove what runs that were killed had announced."""
    for path, one in _announced():
        if not is_alive(one.owner):
            with contextlib.suppress(OSError):
                path.unlink()


def stop(where: str | None) -> Iterator[tuple[str, bool]]:
    """End the runs that `where` names (a run, its directory, a platform or its file), or all: lines, and whether all is well."""
    runs = running()
    names = {where, str(pathlib.Path(where).resolve())} if where is not None else None
    chosen = [one for one in runs if names is None or names & one.names()]
    if not chosen:
        others = f" (running are: {', '.join(one.run for one in runs)})" if runs else ""
        yield f"no run is under way{f' for {where}' if where is not None else ''}{others}: nothing to stop", True
    for one in chosen:
        yield from _stop(one)


def _stop(one: Running) -> Iterator[tuple[str, bool]]:
    yield f"run {one.run} on {one.platform}: stopping", True
    try:
        for line in _halt(one):
            yield line, True
    except (OSError, RepriseError) as error:
        yield f"its warden does not answer ({error}): the run undoes its faults itself", True
    send_signal(one.owner, signal.SIGTERM)
    if wait_gone(one.owner, END_S):
        yield f"run {one.run} has ended: {one.directory}", True
    else:
        yield f"run {one.run} (pid {one.owner.pid}) has not ended within {END_S:g} s: see {one.directory}/logs", False
    left = ledger.leftovers(one.platform, one.run)
    for record in left:
        say = record.say or "not undone"
        yield f"{record.fault} {record.kind} on {record.on} is {record.state}: {say}: run `chaos reprise heal`", False
    if not left:
        yield "nothing of it is left broken", True


def _halt(one: Running) -> Iterator[str]:
    """Ask the warden to undo everything and inject no more; what became of each fault, in a line."""
    if one.warden is None:
        return
    request = protocol.Request(id=secrets.randbits(62) | 1 << 62, do="halt", by="stop")
    answer = client.exchange(one.warden, request, time.monotonic() + HALT_S)
    for fault in answer.get("faults", []):
        yield f"{fault['fault']} {fault['kind']} on {fault['on']}: {ENDS.get(fault['state'], fault['state'])}"


def _announced() -> Iterator[tuple[pathlib.Path, Running]]:
    """What runs of this user have said of themselves, those that were killed included."""
    for path in sorted(state_dir("faults").glob(f"*/{FILE}")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            yield path, msgspec.json.decode(path.read_bytes(), type=Running)


def _path(platform: str) -> pathlib.Path:
    return ledger.folder(platform) / FILE
