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
    """prlimit(2): `soft` again, if it still is what the fault had `set`. `resource` is a name like NOFILE."""

    inc: Incarnation
    resource: str
    soft: int
    set: int


class Affinity(Mend, tag="affinity", frozen=True):
    """sched_setaffinity(2) of all its threads: `cpus` again, for those that still have what the fault had `set`."""

    inc: Incarnation
    cpus: list[int]
    set: list[int]


class Cgroup(Mend, tag="cgroup", frozen=True):
    """The processes of the group at `path` go back to the group at `to`, and `path` is removed."""

    path: str
    to: str


AnyMend = Continue | End | Limit | Affinity | Cgroup


def apply(mend: AnyMend) -> None:
    """Do one. What is gone needs no mending."""
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


def _limit(mend: Limit) -> None:
    if not is_alive(mend.inc):
        return
    which = getattr(resource, f"RLIMIT_{mend.resource}")
    soft, hard = resource.prlimit(mend.inc.pid, which)
    if soft == mend.set:
        resource.prlimit(mend.inc.pid, which, (mend.soft, hard))


def _affinity(mend: Affinity) -> None:
    if not is_alive(mend.inc):
        return
    for thread in pathlib.Path(f"/proc/{mend.inc.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getaffinity(int(thread.name)) == set(mend.set):
                os.sched_setaffinity(int(thread.name), mend.cpus)


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
