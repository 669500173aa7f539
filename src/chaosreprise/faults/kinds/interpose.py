"""Put a proxy in between: the Service of a component leads to the proxy's pods, which carry on to the component by a way of their own.

For links that go through no proxy otherwise: the toxics of a Toxiproxy there act while it is in between. By itself it breaks
nothing but what the proxy does; what was connected before goes on past it, and what has connected meanwhile goes on by it, until they connect anew.
The Service's former selector stands on the Service.
"""

import asyncio
import contextlib
import functools
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, marks, reaping
from chaosreprise.kubernetes.api import Api, Missing, Right

OF_SERVICE = "kubernetes.io/service-name"
LEADS_S = 15.0
NAME = msgspec.Meta(min_length=1, max_length=63, title="the Service that leads to the component", description="a name")
SELECTOR = msgspec.Meta(
    min_length=1, max_length=1000, title="the proxy", description="a selector of labels that selects its one Deployment"
)


class Arguments(base.Arguments, frozen=True):
    service: Annotated[str, NAME]
    proxy: Annotated[str, SELECTOR]


class Switched(Deployed, kw_only=True):
    """With the Service by its uid, its selector, and that of the proxy's pods."""

    service: str
    service_uid: str
    selector: dict[str, str]
    proxy: dict[str, str]


class Interpose(on_pods.Changes[Switched]):
    arguments = Arguments
    shape = Switched
    rights = (
        Right("get", "", "services"),
        Right("patch", "", "services"),
        Right("list", "discovery.k8s.io", "endpointslices"),
    )
    way_back = "the Service gets the selector back that stands on it"
    proof = "the Service leads to the ready pods of the proxy and to nothing else"

    async def more(self, api: Api, planned: Deployed, given: Arguments) -> Target:
        try:
            proxy = await deployments.selected(api, given.proxy)
        except NotPossible as error:
            raise NotPossible(f"proxy = {error}") from error
        service = await api.get(f"{reaping.collection(api, '', 'services')}/{given.service}")
        selector, named = service["spec"].get("selector") or {}, proxy["spec"]["selector"].get("matchLabels") or {}
        own = await deployments.pods(api, await deployed.look_at(api, planned))
        if not selector or not all(deployments.selects({"matchLabels": selector}, _labels(one)) for one in own):
            raise NotPossible(
                f"the Service {given.service} does not lead to {planned.component}: its selector is {selector}"
            )
        if marks.of(service) is not None:
            raise NotPossible(f"a fault is on the Service {given.service} already: see `chaos reprise heal`")
        if not named or not any(map(deployments.is_ready, await deployments.pods(api, proxy))):
            raise NotPossible(f"no pod of the proxy {proxy['metadata']['name']} is ready, or none is known by labels")
        return {
            "service": given.service,
            "service_uid": service["metadata"]["uid"],
            "selector": selector,
            "proxy": named,
        }

    def path(self, api: Api, mark: str, planned: Switched) -> str:
        return f"{reaping.collection(api, '', 'services')}/{planned.service}"

    async def strike(self, api: Api, mark: str, planned: Switched, lease_end: int) -> None:
        made = dict.fromkeys(planned.selector) | planned.proxy
        before = dict.fromkeys(planned.proxy) | planned.selector
        set_to, set_back = ({"spec": {"selector": selector}} for selector in (made, before))
        undo = marks.Undo(mark, deployed.lease_s(lease_end), set_to, set_back)
        await self.begin(api, mark, planned, functools.partial(self._free, api, mark, planned), undo)

    async def _free(self, api: Api, mark: str, planned: Switched) -> marks.Object:
        found = await self.bearer(api, mark, planned)
        if found is None or marks.of(found) is not None or found["spec"].get("selector") != planned.selector:
            raise NotPossible(f"the Service {planned.service} changed after it was planned: nothing was done")
        return found

    async def bearer(self, api: Api, mark: str, planned: Switched) -> marks.Object | None:
        with contextlib.suppress(Missing):
            found = await api.get(self.path(api, mark, planned))
            return found if found["metadata"]["uid"] == planned.service_uid else None
        return None

    async def gone(self, api: Api, mark: str, planned: Switched) -> dict[str, Any]:
        deadline = time.monotonic() + LEADS_S
        while not (leads := await _leads_to(api, planned)) or leads != await _proxies(api, planned):
            if time.monotonic() > deadline:
                raise NotProven(f"the Service {planned.service} leads to {leads or 'nothing'}, not to the proxy")
            await asyncio.sleep(deployed.LOOK_EVERY_S)
        return {"service": planned.service, "leads_to": sorted(leads)}

    async def restore(self, api: Api, mark: str, planned: Switched) -> str | None:
        by = await super().restore(api, mark, planned)
        if await self.bearer(api, mark, planned) is not None:
            await self._until_past(api, planned)
        return by

    async def _until_past(self, api: Api, planned: Switched) -> None:
        """It leads somewhere, and to no proxy."""
        deadline = time.monotonic() + LEADS_S
        while not (leads := await _leads_to(api, planned)) or leads & await _proxies(api, planned):
            if time.monotonic() > deadline:
                raise Unreachable(f"the Service {planned.service} still leads to {leads or 'nothing'}")
            await asyncio.sleep(deployed.LOOK_EVERY_S)


async def _leads_to(api: Api, planned: Switched) -> set[str]:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{api.where.namespace}/endpointslices"
    slices = (await api.get(path, labelSelector=f"{OF_SERVICE}={planned.service}"))["items"]
    ends = [end for one in slices if one.get("ports") for end in one.get("endpoints") or []]
    return {address for end in ends if (end.get("conditions") or {}).get("ready") for address in end["addresses"]}


async def _proxies(api: Api, planned: Switched) -> set[str]:
    selector = ",".join(f"{name}={value}" for name, value in sorted(planned.proxy.items()))
    pods = (await api.get(deployments.pods_path(api), labelSelector=selector))["items"]
    return {one["status"]["podIP"] for one in pods if deployments.is_ready(one)}


def _labels(pod: deployments.Object) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}


FAULT = Interpose()
