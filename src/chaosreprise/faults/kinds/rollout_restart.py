"""Restart a component as `kubectl rollout restart` does: its Deployment replaces the pods by new ones, in its own order.

How many serve meanwhile is the Deployment's own strategy. Nothing of it has to be undone: undoing is waiting until it is through.
"""

from datetime import UTC, datetime
from typing import Any

from chaosreprise.errors import NotPossible
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


FAULT = RolloutRestart()
