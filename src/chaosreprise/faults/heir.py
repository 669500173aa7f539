"""`python -m chaosreprise.faults.heir MARK`: undoes one fault when the warden and its run are both dead, or its lease is over.

For what no keeper can mend and no process of ours holds, such as a setting of a server: it is started before the fault is
made, in a session of its own, and told on its standard input what undoing needs. Its mark stands in its command line, so
that whoever has undone the fault can end it.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import RepriseError
from chaosreprise.procs import Incarnation, marked, pidfd, send_signal, wait_gone

MODULE = "chaosreprise.faults.heir"
LOOK_EVERY_S = 1.0  # for the lease, by a clock that no timer follows
LATER_S = 1.0  # than the lease: the warden is first
PATIENCE_S = 60.0
AGAIN_S = 0.2
ENDS_WITHIN_S = 2.0


class Will(msgspec.Struct):
    """What it needs to know. `owners`: when all are dead, it acts."""

    kind: str
    mark: str
    target: dict[str, object]
    keeper: str | None
    owners: list[Incarnation]
    lease_end: int


def start(will: Will) -> "subprocess.Popen[bytes]":
    """It knows all when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, will.mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(msgspec.json.encode(will))
    return process


def end(mark: str) -> None:
    """There is none of this mark afterwards, but for this process."""
    for inc in marked(MODULE, mark):
        if inc.pid != os.getpid() and send_signal(inc, signal.SIGKILL):
            wait_gone(inc, ENDS_WITHIN_S)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        will = msgspec.json.decode(sys.stdin.buffer.read(), type=Will)
    except msgspec.DecodeError:
        return 1  # who started it died before the fault could be made
    undo = _prepared(will)
    _wait(will)
    return 0 if undo() else 2


def _wait(will: Will) -> None:
    """Until all owners are dead, or the lease is over."""
    with contextlib.ExitStack() as stack:
        living = [fd for owner in will.owners if (fd := stack.enter_context(pidfd(owner))) is not None]
        while living and boottime() < will.lease_end + int(LATER_S * SECOND):
            ended = select.select(living, [], [], LOOK_EVERY_S)[0]
            living = [fd for fd in living if fd not in ended]


def _prepared(will: Will) -> Callable[[], bool]:
    """The undo, with all that it takes imported: it says whether all is whole, or nothing is left to mend."""
    import asyncio  # noqa: PLC0415 - not for who only starts one

    import psycopg  # noqa: F401, PLC0415

    from chaosreprise.faults import registry  # noqa: PLC0415
    from chaosreprise.faults.base import Context  # noqa: PLC0415
    from chaosreprise.stack.client import StackEnded  # noqa: PLC0415

    fault, context = registry.get(will.kind), Context(will.keeper, [])

    def undo() -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                asyncio.run(fault.undo(context, will.mark, will.target))
            except StackEnded:
                return True
            except RepriseError:
                time.sleep(AGAIN_S)
            else:
                return True
        return False

    return undo


if __name__ == "__main__":
    sys.exit(main())
