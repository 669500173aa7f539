"""Kill a component with SIGKILL; its supervisor brings it back by itself.

A session's memory dies with it, its files stay. Pods are deleted with no time to end (grace period 0): the API forgets them at
once, their containers may live on for a moment. A database recovers from its log before it lets anybody in. A session's own pod, and an interpreter
below an agent, are brought back by nobody, unless their platform starts another: then that has lost the memory, and must say so.
"""

import signal

import msgspec

from chaosreprise.faults import local, on_pods
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.on_session_pods import DeleteOne


class Crash(local.OnProcess):
    momentary = True

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        local.strike(msgspec.convert(target, local.Process), signal.SIGKILL)


FAULT = on_pods.Anywhere(Crash(), on_pods.Delete({"gracePeriodSeconds": 0}), DeleteOne(0))
