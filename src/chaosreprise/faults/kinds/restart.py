"""Ask a component to end, as an operator would; its supervisor starts it again.

SIGTERM, for a database SIGINT: PostgreSQL's fast shutdown (postgres(1)), since SIGTERM waits for its clients for ever.
Proven when it has ended and its connections are closed; refusing to end within 10 s is not proven.
"""

import signal
from typing import Any

import msgspec

from chaosreprise.faults import local
from chaosreprise.faults.base import Context, Target

NICELY = {"database": signal.SIGINT}
ENDS_WITHIN_S = 10.0


class Restart(local.OnProcess):
    momentary = True

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        process = msgspec.convert(target, local.Process)
        local.strike(process, NICELY.get(process.component, signal.SIGTERM))

    async def prove(self, context: Context, target: Target) -> dict[str, Any]:
        return await local.prove_gone(msgspec.convert(target, local.Process), ENDS_WITHIN_S)


FAULT = Restart()
