"""Ask a component to end, as an operator would; its supervisor starts it again.

SIGTERM, for a database SIGINT: PostgreSQL's fast shutdown (postgres(1)), since SIGTERM waits for its clients for ever.
Pods are deleted with the time to end that they state.
"""

import signal
from typing import Any

import msgspec

from chaosreprise.faults import local, on_pods
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.on_session_pods import DeleteOne

NICELY = {"database": signal.SIGINT}
ENDS_WITHIN_S = 10.0


class Restart(local.OnProcess):
    proof = f"it has ended by itself within {ENDS_WITHIN_S:g} s, with all that it had started and its connections"
    momentary = True

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        process = msgspec.convert(target, local.Process)
        local.strike(process, NICELY.get(process.component, signal.SIGTERM))

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        return await local.prove_gone(msgspec.convert(target, local.Process), ENDS_WITHIN_S)


FAULT = on_pods.Anywhere(Restart(), on_pods.Delete({}), DeleteOne(None))
