"""Drain the node of a component: nothing new is placed on it (cordon), and its pods in the platform's namespace are evicted.

Pods of other namespaces stay. Budgets (PodDisruptionBudget) are respected: one that allows for nothing refuses the fault, another is waited for,
while pods of it become ready elsewhere. A node that had been cordoned before stays so.
"""

import asyncio
import time
from typing import Any

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import deployed, on_nodes
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, evictions, marks
from chaosreprise.kubernetes.api import Api

BUDGETS_S = 20.0


class Drain(on_nodes.OnNodes):
    rights = evictions.RIGHTS
    way_back = "the node is uncordoned, unless it had been cordoned before, and its Deployment makes new pods"
    proof = "the pods that it evicted are not in the API any more, and the node is cordoned"

    async def more(self, api: Api, planned: Deployed, given: on_nodes.Arguments) -> Target:
        target = await super().more(api, planned, given)
        budgets = await self._budgets(api, target["leaving"])
        for one in budgets:
            if not one.allowed:
                raise NotPossible(f"{planned.component}: the node {target['node']} can't be drained: {one}")
        return target | {"budgets": [str(one) for one in budgets]}

    async def hit(self, api: Api, node: str) -> list[deployments.Object]:
        return await on_nodes.here(api)

    def undoing(self, node: marks.Object, mark: str, lease_s: float) -> marks.Undo:
        if node["spec"].get("unschedulable"):
            return marks.Undo(mark, lease_s, {}, {})
        made, before = ({"spec": {"unschedulable": value}} for value in (True, None))
        return marks.Undo(mark, lease_s, made, before)

    async def strike(self, api: Api, mark: str, planned: on_nodes.OnNode, lease_end: int) -> None:
        await super().strike(api, mark, planned, lease_end)
        deadline, left = time.monotonic() + BUDGETS_S, dict(planned.leaving)
        while left:
            for name, uid in list(left.items()):
                if await evictions.evict(api, name, uid):
                    del left[name]
            if left and time.monotonic() > deadline:
                told = "; ".join(map(str, await self._budgets(api, left)))
                raise NotProven(f"the node {planned.node}: {', '.join(left)} may not be evicted: {told}")
            await asyncio.sleep(deployed.LOOK_EVERY_S if left else 0)

    async def gone(self, api: Api, mark: str, planned: on_nodes.OnNode) -> dict[str, Any]:
        seen = await super().gone(api, mark, planned)
        node = await self.bearer(api, mark, planned)
        if node is None or not node["spec"].get("unschedulable"):
            raise NotProven(f"somebody has uncordoned the node {planned.node}")
        return seen | {"budgets": planned.budgets}

    async def _budgets(self, api: Api, leaving: dict[str, str]) -> list[evictions.Budget]:
        pods = [one for one in await on_nodes.here(api) if one["metadata"]["uid"] in leaving.values()]
        return await evictions.budgets(api, pods)


FAULT = Drain()
