"""Restart a component as `kubectl rollout restart` does: its Deployment replaces the pods by new ones, in its own order.

How many serve meanwhile is the Deployment's own strategy: it strikes when the first of the old pods is told to end, which under a rolling
update is after a new one is ready. Nothing of it has to be undone: undoing is waiting until it is through.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Right

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class RolloutRestart(on_pods.OnPods[Deployed]):
    momentary = True
    rights = (Right("patch", "apps", "deployments"),)
    way_back = "its Deployment makes new pods before or after it ends the old ones"
    proof = "each of its pods is another one"

    async def more(self, api: Api, planned: Deployed, given: Any) -> Target:
        if (await deployed.look_at(api, planned))["spec"].get("paused"):
            raise NotPossible(
                f"{planned.component}: its Deployment {planned.deployment} is paused: `kubectl rollout resume` it first"
            )
        return {}

    async def strike(self, api: Api, mark: str, planned: Deployed, lease_end: int) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        template = {"metadata": {"annotations": {RESTARTED_AT: now}}}
        await api.patch(deployments.path(api, planned.deployment), {"spec": {"template": template}})
        await _until_told_to_end(api, planned)


async def _until_told_to_end(api: Api, planned: Deployed) -> None:
    """What an old pod did before that, it did undisturbed."""
    deadline = time.monotonic() + deployed.BACK_S
    while True:
        pods = await deployments.pods(api, await deployed.look_at(api, planned))
        serving = {one["metadata"]["uid"] for one in pods if "deletionTimestamp" not in one["metadata"]}
        if not serving.issuperset(planned.pods.values()):
            return
        if time.monotonic() > deadline:
            raise NotProven(
                f"{planned.component}: none of its pods is told to end {deployed.BACK_S:g} s later: does a new one become ready?"
            )
        await asyncio.sleep(deployed.LOOK_EVERY_S)


FAULT = RolloutRestart()
