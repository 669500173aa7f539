"""Starting a stack, finding the running ones, clearing what dead ones left.

An *owned* stack lives for one run: it ends when everybody who holds the write end of its pipe is dead. Any other stack
(`chaos reprise lab up`) outlives its starter. A start that fails, or is interrupted, leaves nothing. The lab is known by its
command line only.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, RepriseError, Unreachable
from chaosreprise.paths import state_dir
from chaosreprise.procs import Incarnation, incarnation, is_alive, myself, send_signal, wait_gone
from chaosreprise.stack import client, protocol, spec

READY_S = 20.0
PREPARE_S = 60.0
END_S = 5.0
POLL_S = 0.01
LOG_LINES = 3
FREE_S = 2.0  # within which a process that was ended gives its port back
GIVE_UP_AFTER = 3  # restarts of one component before it was ready for the first time
UNMARKED_S = 60.0  # a folder without a maker is a starter in its first millisecond, or litter
MAKER_FILE = "maker.json"


class Stack:
    """A running stack. `owner_write_fd` (owned stacks) keeps it alive: pass it to the warden. `address` is the keeper's."""

    def __init__(self, folder: pathlib.Path, keeper: protocol.KeeperFile, owner_write_fd: int | None = None) -> None:
        self.id = folder.name
        self.dir = folder
        self.platform_file = folder / "platform.toml"
        self.address = keeper.socket
        self.keeper = keeper.inc
        self.owner_write_fd = owner_write_fd

    def end(self) -> None:
        """Nothing of the stack is left afterwards. Does nothing the second time."""
        with contextlib.suppress(RepriseError), client.Keeper(self.address, END_S) as keeper:
            keeper.end()
        _end_keeper(self.keeper)
        _remove(self.dir)
        if self.owner_write_fd is not None:
            os.close(self.owner_write_fd)
            self.owner_write_fd = None


def start(
    *,
    serves: str = "streamspace",
    agents: int,
    users: int,
    heartbeat_s: float,
    reconcile_s: float,
    control_planes: int = 1,
    regions: int = 1,
    clusters: int = 1,
    agent_platforms: int = 1,
    token_s: float = 24 * 3600.0,
    disk_mib: int = 0,
    witness: bool = False,
    registry: str = "memory",
    owned: bool,
    timeout_s: float = READY_S,
) -> Stack:
    """Prepare a lab and run it; returns when it is ready. The environment (REPRISE_LAB_DEFECT) is the lab's to read.

    Raises NotPossible with the last lines of the log that tells why.
    """
    sweep()
    options = {
        "serves": serves,
        "agents": agents,
        "users": users,
        "heartbeat-s": heartbeat_s,
        "reconcile-s": reconcile_s,
        "control-planes": control_planes,
        "regions": regions,
        "clusters": clusters,
        "agent-platforms": agent_platforms,
        "token-s": token_s,
        "disk-mib": disk_mib,
        "registry": registry,
        "witness": int(witness),
        "parent": os.getpid(),
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    folder = new_folder()
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        _prepare(folder, arguments)
        try:
            stack = launch(folder, owned=owned, timeout_s=timeout_s)
        except OSError as error:
            raise _no_room(folder, error) from error
        undo.pop_all()
    return stack


def start_spec(folder: pathlib.Path, stack: spec.StackSpec, *, owned: bool, timeout_s: float = READY_S) -> Stack:
    """Run a stack in a folder that is made for it; returns when it is ready. Raises NotPossible, also where one runs there."""
    sweep()
    with contextlib.ExitStack() as undo:
        new_folder(folder)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            spec.save(folder, stack)
            _ports_are_free(stack)
            started = launch(folder, owned=owned, timeout_s=timeout_s)
        except OSError as error:
            raise _no_room(folder, error) from error
        undo.pop_all()
    return started


def new_folder(folder: pathlib.Path | None = None) -> pathlib.Path:
    """A folder for a new stack, marked as being made by this process. Its name is the stack's id, by default a drawn one."""
    folder = folder or state_dir("stacks") / secrets.token_hex(4)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        say = "a stack of this platform file runs already: wait for the run that has started it"
        raise NotPossible(f"{folder}: {say}") from error
    except OSError as error:
        raise _no_room(folder, error) from error
    try:
        (folder / MAKER_FILE).write_bytes(msgspec.json.encode(myself()))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _no_room(folder, error) from error
    return folder


def _no_room(folder: pathlib.Path, error: OSError) -> NotPossible:
    return NotPossible(
        f"{folder}: no stack can be made there ({error.strerror}): make room, or set XDG_STATE_HOME to another folder"
    )


def launch(folder: pathlib.Path, *, owned: bool, timeout_s: float = READY_S) -> Stack:
    """Run what `folder/stack.json` says; returns when every component is ready. The folder is removed when this raises."""
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        read_end, write_end = os.pipe() if owned else (None, None)
        try:
            if write_end is not None:
                undo.callback(os.close, write_end)
            pid = _spawn_keeper(folder, read_end)
        finally:
            if read_end is not None:
                os.close(read_end)
        undo.callback(_kill, pid)
        stack = Stack(folder, _wait_ready(folder, pid, time.monotonic() + timeout_s), write_end)
        undo.pop_all()
    return stack


def find() -> list[Stack]:
    """The running stacks of this user, oldest first."""
    return [
        Stack(folder, keeper)
        for folder in _folders()
        if (keeper := _keeper_of(folder)) is not None and is_alive(keeper.inc)
    ]


def sweep() -> list[pathlib.Path]:
    """Remove the folders of stacks whose keeper and maker are dead, and nothing else; which ones."""
    swept = []
    for folder in _folders():
        keeper = _keeper_of(folder)
        if not _maker_lives(folder) and (keeper is None or not is_alive(keeper.inc)):
            _remove(folder)
            swept.append(folder)
    return swept


def _remove(folder: pathlib.Path) -> None:
    """And wake who sleeps in it: the children of a database that was paused can't notice that all the others are dead."""
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder):
                os.kill(int(entry.name), signal.SIGCONT)
    shutil.rmtree(folder, ignore_errors=True)


def _folders() -> list[pathlib.Path]:
    found = [folder for folder in state_dir("stacks").iterdir() if folder.is_dir()]
    return sorted(found, key=lambda folder: folder.stat().st_ctime_ns)


def _keeper_of(folder: pathlib.Path) -> protocol.KeeperFile | None:
    try:
        return client.read_file(folder / protocol.KEEPER_FILE)
    except Unreachable:
        return None


def _maker_lives(folder: pathlib.Path) -> bool:
    try:
        return is_alive(msgspec.json.decode((folder / MAKER_FILE).read_bytes(), type=Incarnation))
    except FileNotFoundError:
        with contextlib.suppress(FileNotFoundError):
            return abs(time.time() - folder.stat().st_mtime) < UNMARKED_S  # the clock may have been set back meanwhile
        return False
    except msgspec.DecodeError:
        return False


def _prepare(folder: pathlib.Path, arguments: list[str]) -> None:
    """Run the lab's `prepare`, which dies with us (--parent). An interrupt or a time-out here ends its whole process group."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "chaosreprise.lab", "prepare", str(folder), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process, contextlib.ExitStack() as undo:
        undo.callback(_kill_group, process)
        try:
            _, said = process.communicate(timeout=PREPARE_S)
        except subprocess.TimeoutExpired as error:
            raise NotPossible(
                f"the lab was not prepared within {PREPARE_S:.0f} s: is this machine overloaded?"
            ) from error
        undo.pop_all()
    if process.returncode != 0:
        raise NotPossible(
            (said.strip().splitlines() or [f"the lab's prepare ended with {process.returncode} and said nothing"])[-1]
        )


def _kill_group(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:  # not reaped, so the group is still this one's
        os.killpg(process.pid, signal.SIGKILL)


def _spawn_keeper(folder: pathlib.Path, owner_fd: int | None) -> int:
    """In a session of its own, so that no terminal and no process group of the starter reaches it."""
    (folder / "logs").mkdir(mode=0o750, exist_ok=True)
    command = [sys.executable, "-P", "-m", "chaosreprise.stack.keeper", str(folder)]
    log = os.open(folder / "logs" / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        if owner_fd is not None:
            command += ["--owner-fd", str(owner_fd)]
            os.set_inheritable(owner_fd, True)
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    finally:
        os.close(log)


def _wait_ready(folder: pathlib.Path, pid: int, deadline: float) -> protocol.KeeperFile:
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise NotPossible(f"the keeper of the stack ended at once: {_last_lines(folder, 'keeper')}")
        keeper = _keeper_of(folder)
        if keeper is not None:
            if keeper.ready:
                return keeper
            _give_up_on_crashes(folder, keeper)
        time.sleep(POLL_S)
    raise NotPossible(f"the stack was not ready in time: {_unready(folder)}")


def _give_up_on_crashes(folder: pathlib.Path, keeper: protocol.KeeperFile) -> None:
    with client.Keeper(keeper.socket) as connection:
        for component in connection.status().components:
            if component.restarts >= GIVE_UP_AFTER and component.state != "up":
                made = next(one for one in spec.load(folder).components if one.name == component.name)
                taken = _port_taken(made)
                raise NotPossible(
                    f"{taken}: try again, other ports are drawn then"
                    if taken
                    else f"{component.name} of the stack does not stay up: {_last_lines(folder, component.name)}"
                )


def _ports_are_free(stack: spec.StackSpec) -> None:
    """Else somebody else's process would answer in the name of one of ours. Raises NotPossible; waits for one that is just ending."""
    end = time.monotonic() + FREE_S
    while taken := next(filter(None, map(_port_taken, stack.components)), None):
        if time.monotonic() > end:
            raise NotPossible(f"{taken}: end what has it, or set other ports in the platform file")
        time.sleep(POLL_S)


def _port_taken(component: spec.ComponentSpec) -> str | None:
    """What to say when a component that does not run can't have its port."""
    port = component.listen or (component.ready and component.ready.tcp)
    if port is None:
        return None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return (
                f"port {port} of 127.0.0.1, which {component.name} of the stack needs, is not free ({error.strerror})"
            )
    return None


def _unready(folder: pathlib.Path) -> str:
    keeper = _keeper_of(folder)
    if keeper is None:
        return f"its keeper says nothing: {_last_lines(folder, 'keeper')}"
    with client.Keeper(keeper.socket) as connection:
        for component in connection.status().components:
            if component.state != "up" and component.inc is not None:
                return f"{component.name} does not answer: {_last_lines(folder, component.name)}"
    return "no component is running"


def _last_lines(folder: pathlib.Path, name: str) -> str:
    """The end of a log, on one line."""
    try:
        lines = (folder / "logs" / f"{name.replace('/', '-')}.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " | ".join(lines[-LOG_LINES:]) or "its log is empty"


def _kill(pid: int) -> None:
    """End a keeper that is a child of ours, and reap it."""
    inc = incarnation(pid)
    if inc is not None:
        send_signal(inc, signal.SIGTERM)
        _end_keeper(inc)
    else:
        os.waitpid(pid, 0)


def _end_keeper(inc: Incarnation) -> None:
    """See it gone, by force if need be: its children die with it."""
    if not wait_gone(inc, END_S):
        send_signal(inc, signal.SIGKILL)
        wait_gone(inc, END_S)
    with contextlib.suppress(ChildProcessError):  # not started by this process
        os.waitpid(inc.pid, 0)
