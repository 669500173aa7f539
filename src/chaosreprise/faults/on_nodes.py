"""What faults on the node of a component share: which node that is, whom else it would hit, and how the node is made whole.

A node is broken for a component that is named: one on which its pods run. What undoes it stands on the node, in the same patch
(`kubernetes.marks`). Pods of DaemonSets, and those that the node itself runs, stay.
"""

import asyncio
import functools
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotAllowed, NotPossible, NotProven
from chaosreprise.faults import base, deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Missing, Right

MIRROR = "kubernetes.io/config.mirror"
ENDED = ("Succeeded", "Failed")


class Arguments(base.Arguments, frozen=True):
    node: Annotated[
        str,
        msgspec.Meta(
            max_length=253, title="which one", description="a name; empty: the one on which all of its pods run"
        ),
    ] = ""
    others: Annotated[
        bool,
        msgspec.Meta(title="whether pods of others on that node may be hit as well", description="true or false"),
    ] = False


class OnNode(Deployed, kw_only=True):
    """With the node, its pods that must go, and the budgets of these as they were."""

    node: str
    node_uid: str
    leaving: dict[str, str]
    budgets: list[str] = msgspec.field(default_factory=list)


class OnNodes(on_pods.Changes[OnNode]):
    arguments = Arguments
    shape = OnNode
    everywhere: tuple[Right, ...] = (Right("get", "", "nodes"), Right("patch", "", "nodes"))

    async def more(self, api: Api, planned: Deployed, given: Arguments) -> Target:
        own = await deployments.pods(api, await deployed.look_at(api, planned))
        there = sorted({one["spec"].get("nodeName", "") for one in own})
        name = given.node or there[0]
        if name not in there or (len(there) > 1 and not given.node):
            raise NotPossible(f"{planned.component}: its pods run on {', '.join(there)}: say which `node` it is to be")
        node = await api.get(f"/api/v1/nodes/{name}")
        if marks.of(node) is not None:
            raise NotPossible(f"a fault is on the node {name} already: see `chaos reprise heal`")
        on_it = [one for one in await self.hit(api, name) if one["spec"].get("nodeName") == name and _leaves(one)]
        others = [one for one in on_it if one["metadata"]["uid"] not in planned.pods.values()]
        if others and not given.others:
            names = ", ".join(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in others)
            raise NotAllowed(
                f"{planned.component}: the node {name} has pods of others as well: {names}: allow `others`"
            )
        leaving = {one["metadata"]["name"]: one["metadata"]["uid"] for one in on_it if one not in others}
        leaving |= {one["metadata"]["name"]: one["metadata"]["uid"] for one in others if _is_here(api, one)}
        return {"node": name, "node_uid": node["metadata"]["uid"], "leaving": leaving}

    async def hit(self, api: Api, node: str) -> list[deployments.Object]:
        """The pods among which are all that it would end on this node."""
        raise NotImplementedError

    def undoing(self, node: marks.Object, mark: str, lease_s: float) -> marks.Undo:
        raise NotImplementedError

    def path(self, api: Api, mark: str, planned: OnNode) -> str:
        return f"/api/v1/nodes/{planned.node}"

    async def bearer(self, api: Api, mark: str, planned: OnNode) -> marks.Object | None:
        try:
            found = await api.get(self.path(api, mark, planned))
        except Missing:
            return None
        return found if found["metadata"]["uid"] == planned.node_uid else None

    async def strike(self, api: Api, mark: str, planned: OnNode, lease_end: int) -> None:
        look = functools.partial(self._free, api, mark, planned)
        found, lease_s = await look(), deployed.lease_s(lease_end)
        await self.begin(api, mark, planned, look, self.undoing(found, mark, lease_s))

    async def _free(self, api: Api, mark: str, planned: OnNode) -> marks.Object:
        found = await self.bearer(api, mark, planned)
        if found is None or marks.of(found) is not None:
            raise NotPossible(f"the node {planned.node} changed after it was planned: nothing was done")
        return found

    async def gone(self, api: Api, mark: str, planned: OnNode) -> dict[str, Any]:
        deadline = time.monotonic() + deployed.ENDED_S
        while left := [one for one in await here(api) if one["metadata"]["uid"] in planned.leaving.values()]:
            if time.monotonic() > deadline:
                name = left[0]["metadata"]["name"]
                raise NotProven(f"the node {planned.node}: its pod {name} is still there {deployed.ENDED_S:g} s later")
            await asyncio.sleep(deployed.LOOK_EVERY_S)
        return {"node": planned.node, "pods": "gone", "count": len(planned.leaving)}


async def here(api: Api) -> list[deployments.Object]:
    """All pods of the namespace."""
    found: list[deployments.Object] = (await api.get(deployments.pods_path(api)))["items"]
    return found


def _leaves(pod: deployments.Object) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    stays = any(one["kind"] == "DaemonSet" for one in owners) or MIRROR in (pod["metadata"].get("annotations") or {})
    return not stays and pod["status"].get("phase") not in ENDED


def _is_here(api: Api, pod: deployments.Object) -> bool:
    return bool(pod["metadata"]["namespace"] == api.where.namespace)
