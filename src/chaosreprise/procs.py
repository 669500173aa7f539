"""Processes and their connections as the kernel sees them (Linux, proc(5)).

A process is named by its incarnation, never by its pid alone: pids come back. A parent's pid is no identity either,
since it becomes 1 when the parent dies. Signals go through a pidfd whose start time was compared after opening.
"""

import contextlib
import ctypes
import os
import pathlib
import select
import signal
import socket
from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.paths import boot_id

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
ESTABLISHED = "01"  # include/net/tcp_states.h
LISTEN = "0A"
_libc = ctypes.CDLL(None, use_errno=True)


class Incarnation(NamedTuple):
    """One life of a local process: (boot id, inode of its pid namespace, pid, start time in clock ticks since boot)."""

    boot: str
    pidns: int
    pid: int
    start: int


class Connection(NamedTuple):
    """One TCP connection of a kernel table, addresses as hexadecimal words of /proc/net/tcp."""

    local: str
    remote: str
    state: str
    inode: int


def incarnation(pid: int) -> Incarnation | None:
    """The incarnation that now has this pid; None if there is none, or a zombie waiting to be reaped."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pidns = os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None
    if stat[0] in "ZX":
        return None
    return Incarnation(boot_id(), pidns, pid, int(stat[19]))


def children() -> dict[int, list[int]]:
    """The pids of the children of every process that has some. Reads all of /proc: ask once for many families."""
    found: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
                found.setdefault(parent, []).append(int(entry.name))
    return found


def family(inc: Incarnation, below: dict[int, list[int]] | None = None) -> list[Incarnation]:
    """This process and its descendants (`below`: those of all processes), parents first; empty when it is gone."""
    if not is_alive(inc):
        return []
    below = children() if below is None else below
    found, waiting = [inc], [inc.pid]
    while waiting:
        pids = below.get(waiting.pop(0), [])
        found += [child for pid in pids if (child := incarnation(pid)) is not None]
        waiting += pids
    return found


def marked(module: str, mark: str) -> list[Incarnation]:
    """All living processes that were started as `python -P -m MODULE MARK ...`."""
    wanted, found = [module.encode(), mark.encode()], []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().split(b"\0")[3:5] == wanted:
                    found.append(incarnation(int(entry.name)))
    return [inc for inc in found if inc is not None]


def is_stopped(inc: Incarnation) -> bool:
    """Whether it is frozen by a signal (state T)."""
    try:
        return pathlib.Path(f"/proc/{inc.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T" and is_alive(inc)
    except OSError:
        return False


def myself() -> Incarnation:
    found = incarnation(os.getpid())
    assert found is not None
    return found


def is_alive(inc: Incarnation) -> bool:
    return inc.boot == boot_id() and incarnation(inc.pid) == inc


@contextlib.contextmanager
def pidfd(inc: Incarnation) -> Iterator[int | None]:
    """A file descriptor of exactly this incarnation; None if it is gone. Readable once the process has ended."""
    try:
        fd = os.pidfd_open(inc.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield fd if is_alive(inc) else None
    finally:
        os.close(fd)


def send_signal(inc: Incarnation, number: signal.Signals) -> bool:
    """Signal exactly this incarnation; False if it is gone."""
    with pidfd(inc) as fd:
        if fd is None:
            return False
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        return True


def wait_gone(inc: Incarnation, timeout_s: float) -> bool:
    """Wait until this incarnation has ended (a zombie has)."""
    with pidfd(inc) as fd:
        return fd is None or bool(select.select([fd], [], [], timeout_s)[0])


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies. Ends the process at once if that has happened already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def wake_on_time() -> None:
    """Timers of this thread may be late by a microsecond, not by the usual fifty."""
    _libc.prctl(PR_SET_TIMERSLACK, 1_000, 0, 0, 0)


def connections() -> list[Connection]:
    """All TCP connections of this network namespace."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                found.append(Connection(fields[1], fields[2], fields[3], int(fields[9])))
    return found


def connections_of(pid: int, among: list[Connection] | None = None) -> list[Connection]:
    """The TCP connections (`among`: all that there are) that a process holds open; empty when it is gone or not ours to look at."""
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(entry)
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    if not inodes:
        return []
    return [connection for connection in (connections() if among is None else among) if connection.inode in inodes]


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(raw[4:8], "little", signed=True)
