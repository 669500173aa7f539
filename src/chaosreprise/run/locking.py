"""One run a platform: by a file lock on this machine, and where it is in a cluster by a Lease in its namespace too."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator

from chaosreprise.faults import client as faults
from chaosreprise.kubernetes import lease
from chaosreprise.platform.file import Platform

log = logging.getLogger("chaostoolkit")


@contextlib.contextmanager
def locked(platform: Platform, run: str) -> Iterator[None]:
    """Raises NotAllowed, with who has it. A Lease that is lost interrupts this process: another run may be at work there."""
    with contextlib.ExitStack() as stack:
        if platform.cluster is not None:  # first, since it names its holder
            stack.enter_context(lease.held(platform.cluster, f"{run} on {socket.gethostname()}", _interrupt))
        stack.enter_context(faults.lock(platform.id))
        yield


def _interrupt(why: str) -> None:
    log.error(f"lock      {why}: this run ends")
    os.kill(os.getpid(), signal.SIGTERM)
