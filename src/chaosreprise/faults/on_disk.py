"""What faults on a component's file system share: that it is one in memory that only this component and its keeper see.

Shrinking any other would break more than was asked for, so it is refused. The lab has one with `--disk-mib`. Whose fault is
on it says an empty file in it. What keeps it mounted while the component dies and comes back is another process.
"""

import contextlib
import errno
import os
import pathlib
import time
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import Incarnation, incarnation
from chaosreprise.stack import mends, remount

PAGE = 4096
NEEDS = f"{local.NEEDS}, and a small file system of its own under the component (of a lab: `--disk-mib`)"


class OnDisk(local.Process, kw_only=True):
    """`host` is the process that keeps it mounted, at `path`."""

    host: Incarnation
    path: str
    kib: int

    def mend(self, mark: str) -> mends.Remount:
        return mends.Remount(self.host, self.path, mark, self.kib)

    @property
    def seen(self) -> str:
        """The same path from here."""
        return f"/proc/{self.host.pid}/root{self.path}"


class DiskFault(local.OnProcess):
    """The base of faults on the file system of a database. `read_only`: what it is made."""

    groups: tuple[str, ...] = ("database",)
    needs = NEEDS
    read_only = False
    survives = True

    async def more(self, process: local.Process, given: Any) -> Target:
        del given
        return find(process)

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        disk = msgspec.convert(target, OnDisk)
        mends.apply(disk.mend(mark))
        return await super().undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        disk = msgspec.convert(target, OnDisk)
        if mends.marked(disk.host, disk.path, mark).exists():
            raise Unreachable(f"{disk.component}: its file system still carries the mark of this fault")
        if (left := refusal(disk)) is not None:
            raise Unreachable(f"{disk.component}: its file system can't be written: {os.strerror(left)}")
        await super().verify(context, mark, target)


def find(process: local.Process) -> Target:
    """Where a component's files are, if that is nobody else's. Raises NotPossible."""
    name, pid = f"{process.component} (pid {process.inc.pid})", process.inc.pid
    try:
        folder = pathlib.Path(f"/proc/{pid}/cwd").resolve()
        device = os.stat(f"/proc/{pid}/cwd").st_dev
    except OSError as error:
        raise NotPossible(f"{name}: where its files are can't be read ({error.strerror}): are you its user?") from error
    number = f"{os.major(device)}:{os.minor(device)}"
    there = [place for place in remount.places(pid) if place.device == number]
    whole = next((place for place in there if place.root == "/"), None)
    if whole is None or whole.kind != "tmpfs" or remount.namespace(pid) == remount.namespace(os.getpid()):
        raise NotPossible(
            f"{name}: {folder} is on no small file system of its own, and any other is shared: of a lab, start it with --disk-mib 256"
        )
    host = _host(process)
    if host is None:
        raise NotPossible(f"{name}: nobody else keeps its file system: it would be gone with it")
    return {"host": list(host), "path": whole.path, "kib": whole.kib}


def _host(process: local.Process) -> Incarnation | None:
    """Another process in its namespaces, none of its own."""
    own, where = {inc.pid for inc in process.family}, remount.namespace(process.inc.pid)
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own and remount.namespace(int(entry.name)) == where:
            return incarnation(int(entry.name))
    return None


def change(disk: OnDisk, mark: str, *, full: bool, read_only: bool) -> None:
    """Put the mark on it, and make it so. Raises NotPossible."""
    mends.marked(disk.host, disk.path, mark).touch()
    for _ in range(50):  # what is written meanwhile would not fit
        try:
            remount.remount(disk.host.pid, disk.path, _used_kib(disk) if full else disk.kib, read_only=read_only)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise NotPossible(f"{disk.component}: {disk.path} can't be changed: {error.strerror}") from error
        else:
            return
    raise NotPossible(f"{disk.component}: {disk.path} grows faster than it can be filled")


def _used_kib(disk: OnDisk) -> int:
    seen = os.statvfs(disk.seen)
    return (seen.f_blocks - seen.f_bfree) * seen.f_frsize // 1024


def refusal(disk: OnDisk) -> int | None:
    """Why a page can't be written there, as an errno."""
    trial = pathlib.Path(disk.seen, f".reprise.trial.{os.getpid()}.{time.monotonic_ns()}")
    try:
        trial.write_bytes(b"\0" * PAGE)
    except OSError as error:
        return error.errno
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()
    return None


def prove(disk: OnDisk, why: int) -> dict[str, Any]:
    """That nothing can be written there, for this reason, by whoever stands in it."""
    found = refusal(disk)
    if found != why:
        said = "can be written" if found is None else f"says {os.strerror(found)}"
        raise NotProven(f"{disk.component}: its file system {disk.path} {said}, not {os.strerror(why)}")
    free = os.statvfs(disk.seen).f_bavail
    return {"file_system": disk.path, "says": os.strerror(why), "blocks_free": free}
