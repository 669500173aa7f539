"""The ledger of faults: one line a state, on disk before the state is acted on, so that whoever comes later can undo.

`<state>/faults/<platform>/<run>.jsonl` and two locks beside it, both freed by the death of their holder: `lock` (one run
a platform) and `warden.lock` (one process that undoes). It belongs to the user's state and not to the run, whose
directory may be gone.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from chaosreprise.errors import BadInput, NotAllowed, RepriseError, RunBroken
from chaosreprise.history.events import Awaited, State
from chaosreprise.paths import boot_id, slug, state_dir, state_path
from chaosreprise.procs import Incarnation

SETTLED: tuple[State, ...] = ("planned", "clean", "moot")
KEEP_S = 7 * 86400.0  # settled ledgers are evidence for a week; the run's directory has a copy
POLL_S = 0.02
LOCK = "lock"
WARDEN_LOCK = "warden.lock"


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A fault at the moment when it reached a state, with all that undoing it needs.

    `lo` and `hi` are CLOCK_MONOTONIC, `lease_end` is CLOCK_BOOTTIME, all in ns of `boot`. `on` is the component, `by`
    is who undid it, `moment` what it waited for.
    """

    platform: str
    run: str
    fault: str
    kind: str
    on: str
    state: State
    lo: int
    hi: int
    target: dict[str, Any]
    boot: str = msgspec.field(default_factory=boot_id)
    keeper: str | None = None
    lease_end: int = 0
    by: str | None = None
    proof: dict[str, Any] | None = None
    say: str | None = None
    moment: Awaited | None = None

    @property
    def mark(self) -> str:
        """What the fault leaves on whatever it changes: unique over all runs."""
        return f"{self.run}/{self.fault}"

    @property
    def inc(self) -> Incarnation | None:
        found = self.target.get("inc")
        return None if found is None else msgspec.convert(found, Incarnation)


def folder(platform: str) -> pathlib.Path:
    return state_dir("faults", slug(platform))


def path(platform: str, run: str) -> pathlib.Path:
    return folder(platform) / f"{slug(run)}.jsonl"


def append(record: Record) -> None:
    """What is armed is on disk, file and directory, when this returns. Raises RunBroken when it can't be written.

    Later states outlive whoever writes them; if they go down with the machine, what is armed is undone again.
    """
    file = path(record.platform, record.run)
    try:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"  # its writer died in it
            line = b"\n" * torn + msgspec.json.encode(record) + b"\n"
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if record.state == "armed":
                os.fsync(fd)
                _sync_folder(file.parent)
        finally:
            os.close(fd)
    except OSError as error:
        raise RunBroken(
            f"{file}: can't be written ({error.strerror}): without it a fault could not be undone after a crash"
        ) from error


def read(file: pathlib.Path) -> list[Record]:
    """The last record of each fault of a run. A torn last line is legal: the state before it is what is known."""
    last: dict[str, Record] = {}
    for line in file.read_bytes().split(b"\n"):
        with contextlib.suppress(msgspec.DecodeError):
            record = _decoder.decode(line)
            last[record.fault] = record
    return list(last.values())


def leftovers(platform: str, run: str | None = None) -> list[Record]:
    """The faults of a platform (of one run of it) that somebody injected, or was about to, and nobody saw whole again."""
    where = state_path("faults", slug(platform))
    files = [where / f"{slug(run)}.jsonl"] if run is not None else sorted(where.glob("*.jsonl"))
    return [record for file in files if file.exists() for record in read(file) if record.state not in SETTLED]


def platforms() -> list[str]:
    """All platforms with a ledger, by the name in it."""
    return sorted({record.platform for file in state_dir("faults").glob("*/*.jsonl") for record in read(file)})


def prune() -> None:
    """Remove the folders of platforms where nothing is left to undo and nothing has happened for a week."""
    for where in state_dir("faults").iterdir():
        with contextlib.suppress(OSError, RepriseError):
            files = list(where.glob("*.jsonl"))
            newest = max((file.stat().st_mtime for file in [where, *files]), default=0.0)
            if time.time() - newest > KEEP_S and all(
                record.state in SETTLED for file in files for record in read(file)
            ):
                with _locked(where / LOCK, "in use", 0):
                    shutil.rmtree(where)


@contextlib.contextmanager
def lock(platform: str) -> Iterator[None]:
    """One run a platform. Raises NotAllowed when another one has it."""
    refusal = f"{platform} is being tested by another run: wait for its end, or see which one with `fuser {folder(platform) / LOCK}`"
    with _locked(folder(platform) / LOCK, refusal, 0):
        yield


def holder(platform: str) -> int | None:
    """The process that has `lock`, as the kernel shows it (proc(5)): taking the lock to see would turn a run away that begins now."""
    file = state_path("faults", slug(platform), LOCK)
    try:
        inode = str(file.stat().st_ino)
        lines = pathlib.Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    held = (line.split() for line in lines)
    return next((int(one[4]) for one in held if one[1] == "FLOCK" and one[5].rpartition(":")[2] == inode), None)


@contextlib.contextmanager
def warden_lock(platform: str, wait_s: float) -> Iterator[None]:
    """One process that undoes faults on a platform. Raises NotAllowed when another one keeps it for longer."""
    refusal = f"the faults of {platform} are still being undone by another process: try again, or see `fuser {folder(platform) / WARDEN_LOCK}`"
    with _locked(folder(platform) / WARDEN_LOCK, refusal, wait_s):
        yield


@contextlib.contextmanager
def _locked(file: pathlib.Path, refusal: str, wait_s: float) -> Iterator[None]:
    deadline = time.monotonic() + wait_s
    while (fd := _try_lock(file)) is None:
        if time.monotonic() >= deadline:
            raise NotAllowed(refusal)
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(fd)


def _try_lock(file: pathlib.Path) -> int | None:
    """A file descriptor that holds the lock; not of a file that `prune` removed in between."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(
            f"{file}: can't be locked ({error.strerror}): set XDG_STATE_HOME to a folder that you may write"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == os.stat(file).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _sync_folder(where: pathlib.Path) -> None:
    fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_decoder = msgspec.json.Decoder(Record)
