"""What faults on the pod of one session share: it has no owner, so nothing brings it back, and undoing is nothing."""

import asyncio
import time
from typing import Any

import msgspec

from chaosreprise.errors import BadInput, NotPossible, NotProven
from chaosreprise.faults import deployed, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right
from chaosreprise.kubernetes.where import Where
from chaosreprise.platform.file import Platform

RIGHTS = (Right("list", "", "pods"), Right("delete", "", "pods"))
POD = "pod"


class OfSession(msgspec.Struct, kw_only=True):
    """What was planned: a pod by its name and uid."""

    where: Where
    component: str
    pod: str
    uid: str
    undo_s: float = 5.0


class DeleteOne:
    """Delete it, with the time to end that it states, or with `grace_s`."""

    proof = "it is not in the API any more"

    def __init__(self, grace_s: int | None) -> None:
        self._body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}

    async def plan(self, platform: Platform, on: str, args: dict[str, Any]) -> Target:
        if args:
            raise BadInput(f"{', '.join(args)}: this fault takes no arguments: leave them out")
        assert platform.cluster is not None
        selector, label = platform.session_objects
        async with await Api.to(platform.cluster) as api:
            await deployed.check_rights(api, RIGHTS)
            selected = f"{selector},{label}={on.partition('/')[2]}"
            found = (await api.get(deployments.pods_path(api), labelSelector=selected))["items"]
            ready = [pod["metadata"] for pod in found if deployments.is_ready(pod)]
            if len(found) != 1 or not ready:
                raise NotPossible(
                    f"{on}: {len(ready)} of {len(found)} pods with {selected!r} are ready: only one that is whole can be broken"
                )
        return local.target(OfSession(where=api.where, component=on, pod=ready[0]["name"], uid=ready[0]["uid"]))

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        planned = msgspec.convert(target, OfSession)
        async with await Api.to(planned.where) as api:
            try:
                path = deployments.pods_path(api, planned.pod)
                await api.delete(path, self._body | {"preconditions": {"uid": planned.uid}})
            except (Missing, Conflict) as error:
                raise NotPossible(f"the pod {planned.pod} of {planned.component} went by itself just before") from error

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        planned = msgspec.convert(target, OfSession)
        deadline = time.monotonic() + deployed.ENDED_S
        async with await Api.to(planned.where) as api:
            while await self._is_there(api, planned):
                if time.monotonic() > deadline:
                    raise NotProven(
                        f"{planned.component}: its pod {planned.pod} is still there {deployed.ENDED_S:g} s later"
                    )
                await asyncio.sleep(deployed.LOOK_EVERY_S)
        return {"pods": "gone", "count": 1}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        return None

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        """Whether the session is made again is the platform's business."""

    async def _is_there(self, api: Api, planned: OfSession) -> bool:
        try:
            return bool((await api.get(deployments.pods_path(api, planned.pod)))["metadata"]["uid"] == planned.uid)
        except Missing:
            return False
