"""Kill a component with SIGKILL; its supervisor brings it back by itself.

A session's memory dies with it, its files stay. A database recovers from its log before it lets anybody in. An interpreter below an
agent is brought back by nobody, unless its platform starts another: then that has lost the memory, and must say so.
"""

import signal

import msgspec

from chaosreprise.faults import local
from chaosreprise.faults.base import Context, Target


class Crash(local.OnProcess):
    momentary = True

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        local.strike(msgspec.convert(target, local.Process), signal.SIGKILL)


FAULT = Crash()
