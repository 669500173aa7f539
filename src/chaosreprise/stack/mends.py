"""What the keeper itself does when a hold ends, so that a local fault is undone although nobody else is alive.

Each is said before the fault is made, names exactly one incarnation or folder, may be done twice, and leaves alone what
somebody else has changed meanwhile. Whether it helped is not judged here: the warden looks at the component.
"""

import contextlib
import os
import pathlib
import resource
import signal
import time

import msgspec

from chaosreprise.procs import Incarnation, family, is_alive, send_signal
from chaosreprise.stack import remount

ROUNDS = 5  # what is started while its parent is mended inherits what that had
CGROUP_BUSY_S = 0.5  # a group whose last process has just been moved may be busy for a moment


class Mend(msgspec.Struct, tag_field="do", forbid_unknown_fields=True, frozen=True):
    """Base of all."""


class Continue(Mend, tag="continue", frozen=True):
    """SIGCONT to a process and its descendants."""

    inc: Incarnation


class End(Mend, tag="end", frozen=True):
    """SIGKILL to exactly this process."""

    inc: Incarnation


class Limit(Mend, tag="limit", frozen=True):
    """prlimit(2): `soft` again, where it still is what the fault had `set`, of a process and its descendants.

    `resource` is a name like NOFILE. Descendants, since what is started meanwhile inherits it.
    """

    inc: Incarnation
    resource: str
    soft: int
    set: int


class Affinity(Mend, tag="affinity", frozen=True):
    """sched_setaffinity(2): `cpus` again, where it still is what the fault had `set`, of all threads of a process and its
    descendants.
    """

    inc: Incarnation
    cpus: list[int]
    set: list[int]


class Cgroup(Mend, tag="cgroup", frozen=True):
    """The processes of the group at `path` go back to the group at `to`, and `path` is removed."""

    path: str
    to: str


class Remount(Mend, tag="remount", frozen=True):
    """The file system at `path`, as this process sees it, has `kib` and may be written again, where `mark` lies in it."""

    inc: Incarnation
    path: str
    mark: str
    kib: int


class PutBack(Mend, tag="put-back", frozen=True):
    """What was cut off the file at `path`, of which the share `keep` stayed, is appended again from the whole `copy`.

    The copy is removed, and nothing else done, where the file is not its beginning any more: somebody has written another one.
    """

    path: str
    copy: str
    keep: float


class Toxics(Mend, tag="toxics", frozen=True):
    """The toxics of a proxy whose names begin with `mark` are removed from a Toxiproxy at `admin`, as `untoxic` does it.

    `token_file`: what the server wants to be sent. A proxy that bears the mark and is disabled is enabled first.
    """

    admin: str
    proxy: str
    mark: str
    token_file: str | None = None


AnyMend = Continue | End | Limit | Affinity | Cgroup | Remount | PutBack | Toxics


def apply(mend: AnyMend) -> None:
    """Do one, but for `Toxics`, which takes a server's answers. What is gone needs no mending."""
    with contextlib.suppress(OSError):
        match mend:
            case Continue():
                for inc in family(mend.inc):
                    send_signal(inc, signal.SIGCONT)
            case End():
                send_signal(mend.inc, signal.SIGKILL)
            case Limit():
                _limit(mend)
            case Affinity():
                _affinity(mend)
            case Cgroup():
                _cgroup(mend)
            case Remount():
                _remount(mend)
            case PutBack():
                _put_back(mend)


def limited(inc: Incarnation, name: str, soft: int) -> list[int]:
    """Which of a process and its descendants have this soft limit."""
    which, found = getattr(resource, f"RLIMIT_{name}"), []
    for one in family(inc):
        with contextlib.suppress(OSError):
            if resource.prlimit(one.pid, which)[0] == soft:
                found.append(one.pid)
    return found


def pinned(inc: Incarnation, cpus: list[int]) -> list[int]:
    """Which threads of a process and its descendants may run on exactly these processors."""
    return [thread for thread, may in affinities(inc) if may == sorted(cpus)]


def affinities(inc: Incarnation) -> list[tuple[int, list[int]]]:
    """All threads of a process and its descendants, and the processors that each may run on."""
    found = []
    for one in family(inc):
        with contextlib.suppress(OSError):
            for thread in pathlib.Path(f"/proc/{one.pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    found.append((int(thread.name), sorted(os.sched_getaffinity(int(thread.name)))))
    return found


def _limit(mend: Limit) -> None:
    which = getattr(resource, f"RLIMIT_{mend.resource}")
    for _ in range(ROUNDS if mend.soft != mend.set else 0):
        for pid in (found := limited(mend.inc, mend.resource, mend.set)):
            with contextlib.suppress(OSError):
                resource.prlimit(pid, which, (mend.soft, resource.prlimit(pid, which)[1]))
        if not found:
            return


def _affinity(mend: Affinity) -> None:
    for _ in range(ROUNDS if sorted(mend.cpus) != sorted(mend.set) else 0):
        for thread in (found := pinned(mend.inc, mend.set)):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, mend.cpus)
        if not found:
            return


def marked(inc: Incarnation, path: str, mark: str) -> pathlib.Path:
    """The empty file that says whose fault is on a file system."""
    return pathlib.Path(f"/proc/{inc.pid}/root{path}", f".reprise.{mark.replace('/', '.')}")


def _remount(mend: Remount) -> None:
    found = marked(mend.inc, mend.path, mend.mark)
    if is_alive(mend.inc) and found.exists():
        remount.remount(mend.inc.pid, mend.path, mend.kib, read_only=False)
        found.unlink(missing_ok=True)


def kept(size: int, keep: float) -> int:
    """How many bytes of a file are left when this share stays."""
    return max(1, int(size * keep))


def _put_back(mend: PutBack) -> None:
    copy = pathlib.Path(mend.copy)
    whole = copy.read_bytes()
    with contextlib.suppress(FileNotFoundError), open(mend.path, "r+b") as file:
        now = file.read()
        if len(now) >= kept(len(whole), mend.keep) and whole.startswith(now):
            file.write(whole[len(now) :])
            file.flush()
            os.fsync(file.fileno())
    copy.unlink()


def _cgroup(mend: Cgroup) -> None:
    path, to = pathlib.Path(mend.path), pathlib.Path(mend.to)
    if not path.is_dir():
        return
    deadline = time.monotonic() + CGROUP_BUSY_S
    while True:
        for pid in (path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (to / "cgroup.procs").write_text(pid)
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
