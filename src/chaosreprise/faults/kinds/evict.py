"""Evict the pods of a component: each is asked to end, as by an operator's drain, unless a PodDisruptionBudget forbids it.

A budget that does not allow for all of them at once refuses the fault before anything is broken, with its numbers.
"""

from typing import Any

from chaosreprise.errors import NotPossible
from chaosreprise.faults import deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, evictions
from chaosreprise.kubernetes.api import Api


class Evict(on_pods.OnPods[Deployed]):
    momentary = True
    rights = evictions.RIGHTS

    async def more(self, api: Api, planned: Deployed, given: Any) -> Target:
        await _check_budgets(api, planned)
        return {}

    async def strike(self, api: Api, mark: str, planned: Deployed, lease_end: int) -> None:
        await _check_budgets(api, planned)
        for number, (name, uid) in enumerate(planned.pods.items()):
            if not await evictions.evict(api, name, uid):
                told = "; ".join(map(str, await _budgets(api, planned)))
                raise NotPossible(
                    f"{planned.component}: {number} of {len(planned.pods)} pods are evicted, and no more may be ({told})"
                )


async def _check_budgets(api: Api, planned: Deployed) -> None:
    for one in await _budgets(api, planned):
        if one.allowed < one.pods:
            raise NotPossible(f"{planned.component}: its {one.pods} pods can't be evicted at once: {one}")


async def _budgets(api: Api, planned: Deployed) -> list[evictions.Budget]:
    pods = await deployments.pods(api, await deployed.look_at(api, planned))
    return await evictions.budgets(api, [one for one in pods if one["metadata"]["uid"] in planned.pods.values()])


FAULT = Evict()
