"""Restart a component as `kubectl rollout restart` does: its Deployment replaces the pods by new ones, in its own order.

How many serve meanwhile is the Deployment's own strategy: it strikes when the first of the old pods is told to end, which under a rolling
update is after a new one is ready. Undoing is waiting until it is through. A rollout that is stuck, since new pods do not become ready, is
rolled back: the former template stands on the Deployment.
"""

import asyncio
import functools
import time
from datetime import UTC, datetime
from typing import Any

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Right

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
ROLLBACK = "rollback"
"""Who undid a restart that was stuck."""


class RolloutRestart(on_pods.Changes[Deployed]):
    momentary = True
    rights = (Right("patch", "apps", "deployments"),)
    undo_s = 2 * deployed.BACK_S + 5
    way_back = (
        "its Deployment makes new pods before or after it ends the old ones; where it is stuck, it is rolled back"
    )
    proof = "each of its pods is another one"

    def __init__(self) -> None:
        super().__init__()
        self._until: dict[str, float] = {}
        self._rolled_back: set[str] = set()

    async def more(self, api: Api, planned: Deployed, given: Any) -> Target:
        if (await deployed.look_at(api, planned))["spec"].get("paused"):
            raise NotPossible(
                f"{planned.component}: its Deployment {planned.deployment} is paused: `kubectl rollout resume` it first"
            )
        return {"undo_s": self.undo_s}

    def path(self, api: Api, mark: str, planned: Deployed) -> str:
        return deployments.path(api, planned.deployment)

    async def strike(self, api: Api, mark: str, planned: Deployed, lease_end: int) -> None:
        former = _annotations(await deployed.look_at(api, planned)).get(RESTARTED_AT)
        made, before = map(_template, (datetime.now(UTC).isoformat(timespec="seconds"), former))
        undo = marks.Undo(mark, deployed.lease_s(lease_end), made, before, once=True)
        await self.begin(api, mark, planned, functools.partial(self._unmarked, api, planned), undo)
        try:
            await _until_told_to_end(api, planned)
        except NotProven:
            self._until[mark] = time.monotonic()
            raise

    async def _unmarked(self, api: Api, planned: Deployed) -> deployments.Object:
        found = await deployed.look_at(api, planned)
        if marks.of(found) is not None:
            raise NotPossible(f"the Deployment {planned.deployment} changed after it was planned: nothing was done")
        return found

    async def restore(self, api: Api, mark: str, planned: Deployed) -> str | None:
        until = self._until.setdefault(mark, time.monotonic() + deployed.BACK_S)
        while not (through := deployments.is_through(await deployed.look_at(api, planned))):
            if time.monotonic() > until:
                break
            await asyncio.sleep(deployed.LOOK_EVERY_S)
        if not through:
            self._rolled_back.add(mark)
        return await super().restore(api, mark, planned) or (ROLLBACK if mark in self._rolled_back else None)


def _annotations(deployment: deployments.Object) -> dict[str, str]:
    return deployment["spec"]["template"]["metadata"].get("annotations") or {}


def _template(restarted_at: str | None) -> dict[str, Any]:
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: restarted_at}}}}}


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
                f"{planned.component}: none of its pods is told to end {deployed.BACK_S:g} s later: does a new one become ready? "
                "Its Deployment is rolled back to its former template"
            )
        await asyncio.sleep(deployed.LOOK_EVERY_S)


FAULT = RolloutRestart()
