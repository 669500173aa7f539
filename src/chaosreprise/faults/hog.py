"""`python -m chaosreprise.faults.hog MARK PROCESSOR LEASE_END PARENT`: one process that wants one processor all the time.

It ends with its parent, by its lease (CLOCK_BOOTTIME in ns), and when `end` is called, in whatever process: its mark stands
in its command line. Each is started in a session of its own, since Linux shares a processor among sessions first
(sched(7), autogroups): several in one session would want no more than one.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

from chaosreprise.clock import boottime
from chaosreprise.errors import Unreachable
from chaosreprise.procs import Incarnation, die_with_parent, marked, send_signal

MODULE = "chaosreprise.faults.hog"
ENDS_WITHIN_S = 2.0
LOOK_EVERY_S = 0.01


def start(mark: str, processor: int, lease_end: int) -> "subprocess.Popen[bytes]":
    """Start one; from the main thread, since what it dies with is the thread that started it (prctl(2))."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, mark, str(processor), str(lease_end), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def find(mark: str, module: str = MODULE) -> list[Incarnation]:
    """All that carry this mark and live."""
    return marked(module, mark)


async def end(mark: str, module: str = MODULE) -> None:
    """None of this mark lives afterwards. Raises Unreachable when one can't be ended."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while left := find(mark, module):
        if time.monotonic() > deadline:
            raise Unreachable(f"process {left[0].pid}, which works for fault {mark}, does not end")
        for inc in left:
            send_signal(inc, signal.SIGKILL)
        await asyncio.sleep(LOOK_EVERY_S)


def main() -> None:
    _, processor, lease_end, parent = sys.argv[1:]
    die_with_parent(int(parent))
    os.sched_setaffinity(0, [int(processor)])
    while boottime() < int(lease_end):
        for _ in range(100_000):
            pass


if __name__ == "__main__":
    main()
