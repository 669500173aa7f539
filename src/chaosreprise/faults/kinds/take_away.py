"""Take a component away: it is killed, and its keeper holds it down until it is brought back. Pods: their Deployment is scaled to 0.

The one for failover. Whether the platform notices is a result of the run, not the proof.
"""

import signal

import msgspec

from chaosreprise.faults import local, on_pods
from chaosreprise.faults.base import Context, Target


class TakeAway(local.OnProcess):
    groups: tuple[str, ...] = ("agents", "control-plane", "data-plane", "database")
    way_back = "it is started again with the same command"

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        process = msgspec.convert(target, local.Process)
        await local.hold(context, mark, process, lease_end, down=True)
        local.strike(process, signal.SIGKILL)


FAULT = on_pods.Anywhere(TakeAway(), on_pods.Scale())
