"""Making one process for the keeper, and seeing it end.

Every child gets PR_SET_PDEATHSIG before its program runs, so the SIGKILL of a keeper ends its stack without the help of
the programs in it. Python can do that only between fork and exec, which costs 4.5 ms of processor time a child; setpriv(1)
and sh(1) do it behind a vfork for 1.7 ms, and the keeper waits for 0.2 ms of that. So the latter is the rule, the former
for namespaces and where util-linux is older than 2.33. The keeper has one thread: its code is safe after a fork.

As a child subreaper the keeper also inherits what its children leave behind, and kills it: a component is its whole
tree.
"""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from chaosreprise.errors import NotPossible
from chaosreprise.paths import boot_id
from chaosreprise.procs import PR_SET_PDEATHSIG, Incarnation

LISTEN_FD = 3
PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME")
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
NOBODY = 65534
UNLESS_ORPHANED = ["/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"']  # the keeper may have died before setpriv ran
_libc = ctypes.CDLL(None, use_errno=True)


class Program(NamedTuple):
    """What to run. `listen`: None for no socket, 0 for a free port of 127.0.0.1. `within`: the process whose namespaces it joins."""

    command: list[str]
    env: dict[str, str]
    cwd: pathlib.Path
    log: BinaryIO
    listen: int | None = None
    userns: bool = False
    within: int | None = None


class Child:
    """A process of the keeper's. `ended` is set once it has been reaped; stamps are CLOCK_MONOTONIC in ns."""

    def __init__(self, popen: "subprocess.Popen[bytes]", port: int | None) -> None:
        self.started_at = time.monotonic_ns()
        self.ended_at = 0
        self.ended = asyncio.Event()
        self.inc = _incarnation_of_child(popen.pid)
        self.port = port
        self._popen = popen

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def reap(self) -> bool:
        if self._popen.poll() is None:
            return False
        self.ended_at = time.monotonic_ns()
        self.ended.set()
        return True


class Reaper:
    """The children by pid; `reap`, after each SIGCHLD, calls back for those that ended and kills what they left, unless that is spared."""

    def __init__(self, *, spares_orphans: bool = False) -> None:
        self.spares_orphans = spares_orphans
        self._children: dict[int, tuple[Child, Callable[[], None]]] = {}
        self._setpriv = _setpriv()
        self._null = os.open(os.devnull, os.O_RDONLY)
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def spawn(self, program: Program, on_exit: Callable[[], None]) -> Child:
        """Start a program. Raises NotPossible when its port is taken or it can't be executed."""
        name = program.command[0]
        if "/" in name and not pathlib.Path(name).is_file():  # sh would say so, but in the log only
            raise NotPossible(f"{name}: can't be started: no such program")
        try:
            if program.listen is None:
                child = Child(self._popen(program, None), None)
            else:
                with _listener(program.listen) as listener:
                    child = Child(self._popen(program, listener.fileno()), listener.getsockname()[1])
        except (OSError, subprocess.SubprocessError) as error:
            raise NotPossible(f"{name}: can't be started: {error}") from error
        self._children[child.inc.pid] = (child, on_exit)
        return child

    def reap(self) -> None:
        for pid, (child, on_exit) in list(self._children.items()):
            if child.reap():
                del self._children[pid]
                on_exit()
        self.orphans()

    def orphans(self, *, at_the_end: bool = False) -> int:
        """Reap what ended children left behind, and kill it unless it is spared until the end; how many were killed.

        What was left by a child of a component that lives is the component's own business, unless it left its session.
        """
        left = 0
        for pid in _children_of_mine() - self._children.keys():
            with contextlib.suppress(OSError):  # it may end by itself in between
                if os.getsid(pid) not in self._children and (at_the_end or not self.spares_orphans):
                    os.kill(pid, signal.SIGKILL)
                    left += 1
                os.waitpid(pid, os.WNOHANG)
        return left

    def _popen(self, program: Program, listen_fd: int | None) -> "subprocess.Popen[bytes]":
        if program.userns or program.within or self._setpriv is None:
            return _popen(program, program.command, listen_fd, _between_fork_and_exec(program, listen_fd))
        command = [self._setpriv, "--pdeathsig", "KILL", *UNLESS_ORPHANED, str(os.getpid()), *program.command]
        if listen_fd is None:
            return _popen(program, command, None, None)
        os.dup2(listen_fd, LISTEN_FD)
        try:
            return _popen(program, command, LISTEN_FD, None)
        finally:
            os.dup2(self._null, LISTEN_FD, inheritable=False)


def take_listen_fd(other: int | None) -> int | None:
    """Take the children's file descriptor before anything of the keeper's gets it; where `other` is afterwards."""
    if other == LISTEN_FD:
        other = os.dup(other)
    null = os.open(os.devnull, os.O_RDONLY)
    if null != LISTEN_FD:
        os.dup2(null, LISTEN_FD, inheritable=False)
        os.close(null)
    return other


async def end_children(children: list[Child], first: signal.Signals, grace_s: float) -> None:
    """Ask with `first`, kill what is left after the grace (at once if it is 0), return when all have been reaped."""
    waiting = asyncio.gather(*(child.ended.wait() for child in children))
    if grace_s:
        for child in children:
            child.signal(first)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), grace_s)
    for child in children:
        if not child.ended.is_set():
            child.signal(signal.SIGKILL)
    await waiting


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _popen(
    program: Program, command: list[str], listen_fd: int | None, between: Callable[[], None] | None
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=program.log,
        stderr=subprocess.STDOUT,
        cwd=program.cwd,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | program.env,
        start_new_session=True,
        pass_fds=() if listen_fd is None else (LISTEN_FD,),
        preexec_fn=between,  # noqa: PLW1509 - one thread
    )


def _between_fork_and_exec(program: Program, listen_fd: int | None) -> Callable[[], None]:
    keeper, uid, gid = os.getpid(), os.getuid(), os.getgid()

    def between() -> None:
        if listen_fd is not None:
            os.dup2(listen_fd, LISTEN_FD)
        if program.within:
            _join(program.within, program.cwd)
        elif program.userns:
            _enter_namespaces(uid, gid)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: a change of credentials clears it
        if os.getppid() != keeper:
            os._exit(1)

    return between


def _setpriv() -> str | None:
    """Where setpriv(1) is, if it knows --pdeathsig."""
    for folder in os.get_exec_path():
        path = f"{folder}/setpriv"
        if os.access(path, os.X_OK):
            tried = subprocess.run(
                [path, "--pdeathsig", "KILL", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            return path if tried.returncode == 0 else None
    return None


def _enter_namespaces(uid: int, gid: int) -> None:
    """Root becomes uid 65534 in there (PostgreSQL refuses to run as root), anybody else stays what he is."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWIPC) != 0:
        if uid == 0:
            raise OSError(ctypes.get_errno(), "this kernel refuses user namespaces")
        return
    for file, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid or NOBODY} {uid} 1"),
        ("gid_map", f"{gid or NOBODY} {gid} 1"),
    ):
        pathlib.Path("/proc/self", file).write_text(line)


def _join(pid: int, cwd: pathlib.Path) -> None:
    """The user and mount namespaces of a process; those for IPC are one's own here too."""
    for kind in ("user", "mnt"):
        with open(f"/proc/{pid}/ns/{kind}", "rb") as file:
            if _libc.setns(file.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), f"the {kind} namespace of pid {pid} can't be joined")
    _libc.unshare(CLONE_NEWIPC)
    os.chdir(cwd)  # where it was is another file system's


def _incarnation_of_child(pid: int) -> Incarnation:
    """Also of a zombie, whose namespace can't be read any more: our children share ours."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Incarnation(boot_id(), pathlib.Path("/proc/self/ns/pid").stat().st_ino, pid, int(stat[19]))


def _children_of_mine() -> set[int]:
    pid = os.getpid()
    with contextlib.suppress(OSError):  # a kernel without CONFIG_PROC_CHILDREN: nothing is cleared there
        return {int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()
