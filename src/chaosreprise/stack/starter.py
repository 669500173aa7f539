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
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from chaosreprise.errors import BadInput, NotPossible, RepriseError, Unreachable
from chaosreprise.paths import state_dir
from chaosreprise.procs import Incarnation, is_alive, myself, send_signal, wait_gone
from chaosreprise.stack import client, protocol

READY_S = 20.0
PREPARE_S = 60.0
END_S = 5.0
POLL_S = 0.01
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
        shutil.rmtree(self.dir, ignore_errors=True)
        if self.owner_write_fd is not None:
            os.close(self.owner_write_fd)
            self.owner_write_fd = None


def start(
    *, agents: int, users: int, heartbeat_s: float, reconcile_s: float, owned: bool, defect: str | None = None, timeout_s: float = READY_S
) -> Stack:
    """Prepare a lab and run it; returns when it is ready. The environment (REPRISE_LAB_DEFECT) is the lab's to read.

    Raises NotPossible with the last lines of the log that tells why.
    """
    sweep()
    options = {"agents": agents, "users": users, "heartbeat-s": heartbeat_s, "reconcile-s": reconcile_s, "parent": os.getpid()}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    folder = new_folder()
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        _prepare(folder, [*arguments, *(["--defect", defect] if defect else [])])
        stack = launch(folder, owned=owned, timeout_s=timeout_s)
        undo.pop_all()
    return stack


def new_folder() -> pathlib.Path:
    """A folder for a new stack, marked as being made by this process. Its name is the stack's id."""
    folder = state_dir("stacks") / secrets.token_hex(4)
    folder.mkdir(mode=0o700)
    (folder / MAKER_FILE).write_bytes(msgspec.json.encode(myself()))
    return folder


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
    return [Stack(folder, keeper) for folder in _folders() if (keeper := _keeper_of(folder)) is not None and is_alive(keeper.inc)]


def sweep() -> list[pathlib.Path]:
    """Remove the folders of stacks whose keeper and maker are dead, and nothing else; which ones."""
    swept = []
    for folder in _folders():
        keeper = _keeper_of(folder)
        if not _maker_lives(folder) and (keeper is None or not is_alive(keeper.inc)):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept


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
            return time.time() - folder.stat().st_mtime < UNMARKED_S
        return False
    except msgspec.DecodeError:
        return False


def _prepare(folder: pathlib.Path, arguments: list[str]) -> None:
    """Run the lab's `prepare`. Its process group ends with it, whatever ends it; the SIGKILL of ours ends it too (--parent)."""
    command = [sys.executable, "-P", "-m", "chaosreprise.lab", "prepare", str(folder), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            _, said = process.communicate(timeout=PREPARE_S)
        except subprocess.TimeoutExpired as error:
            raise NotPossible(f"the lab was not prepared within {PREPARE_S:.0f} s: is this machine overloaded?") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        lines = said.strip().splitlines() or [f"it ended with {process.returncode} and said nothing"]
        raise (BadInput if process.returncode == BAD_INPUT else NotPossible)(lines[-1])
