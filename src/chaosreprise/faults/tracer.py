"""`python -m chaosreprise.faults.tracer MARK LEASE_END PARENT DELAY_US PID...`: strace(1), which holds up file operations of processes.

It ends with its parent, by its lease (CLOCK_BOOTTIME in ns), and when `end` is called, in whatever process: its mark stands in
its command line. Its strace dies with it, and the kernel lets go whom a dead tracer had. Each operation that was held up is
a line of its standard output.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotPossible
from chaosreprise.faults import hog
from chaosreprise.procs import Incarnation, die_with_parent

MODULE = "chaosreprise.faults.tracer"
CALLS = (
    "pread64,preadv,pwrite64,pwritev,pwritev2,fsync,fdatasync,fallocate,ftruncate"  # those of files, and of no socket
)
DELAYED = b"(DELAYED)"


def program(name: str, package: str) -> str:
    """Where it is. Raises NotPossible."""
    found = shutil.which(name)
    if found is None:
        raise NotPossible(f"{name} is not there: file operations can't be held up: install the package {package}")
    return found


def start(mark: str, lease_end: int, delay_us: int, pids: list[int], said: int) -> "subprocess.Popen[bytes]":
    """Start one; from the main thread, since what it dies with is the thread that started it (prctl(2))."""
    arguments = [mark, str(lease_end), str(os.getpid()), str(delay_us), *map(str, pids)]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def find(mark: str) -> list[Incarnation]:
    return hog.find(mark, MODULE)


async def end(mark: str) -> None:
    """None of this mark lives afterwards, nor its strace. Raises Unreachable when one can't be ended."""
    await hog.end(mark, MODULE)


def of(pid: int) -> int:
    """Who traces a process; 0: nobody."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(pathlib.Path(f"/proc/{pid}/status").read_text().split("TracerPid:")[1].split()[0])
    return 0


def main() -> None:
    lease_end, parent, delay_us, *pids = map(int, sys.argv[2:])
    die_with_parent(parent)
    command = [program("setpriv", "util-linux"), "--pdeathsig", "KILL", program("strace", "strace"), "-f", "-qq"]
    command += ["-e", f"trace={CALLS}", "-e", f"inject={CALLS}:delay_enter={delay_us}"]
    for pid in pids:
        command += ["-p", str(pid)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as strace:
        try:
            strace.wait(max(0.0, (lease_end - boottime()) / SECOND))
        except subprocess.TimeoutExpired:
            strace.kill()


if __name__ == "__main__":
    main()
