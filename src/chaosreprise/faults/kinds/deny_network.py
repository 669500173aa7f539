"""Deny the pods of a component all traffic, by a NetworkPolicy; it is an object of its own, which bears the fault's mark.

Many networks of clusters ignore policies, so it is tried: a connection to each pod, which was accepted when it was planned, must not be any more. So its pods
must listen, and be reachable from where Reprise runs. What was connected before may stay so, as the network likes.
"""

import asyncio
import contextlib
import hashlib
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, marks, reaping
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right

GROUP, RESOURCE = "networking.k8s.io", "networkpolicies"
CONNECT_S = 1.0
BITES_S = 8.0  # a network takes some seconds until a policy holds everywhere
MANAGED_BY = {"app.kubernetes.io/managed-by": "reprise"}


class Arguments(base.Arguments, frozen=True):
    port: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=65535,
            title="where a connection is tried",
            description="a port of its pods; 0: the first that they state",
        ),
    ] = 0


class Reachable(Deployed, kw_only=True):
    """With the address of each pod."""

    addresses: list[str]
    port: int


class DenyNetwork(on_pods.Changes[Reachable]):
    arguments = Arguments
    shape = Reachable
    rights = tuple(Right(verb, GROUP, RESOURCE) for verb in ("get", "create", "delete"))
    way_back = "the NetworkPolicy is deleted"
    proof = f"none of its pods, all of which were reachable, accepts a connection from here within {CONNECT_S:g} s"

    async def more(self, api: Api, planned: Deployed, given: Arguments) -> Target:
        pods = await deployments.pods(api, await deployed.look_at(api, planned))
        port = given.port or _stated_port(pods[0])
        addresses = [one["status"]["podIP"] for one in pods]
        for address in addresses if port else ():
            if not await _accepts(address, port):
                raise NotPossible(
                    f"{planned.component}: {address}:{port} can't be reached from here, so a denial could not be proven: "
                    "run Reprise in the cluster, or name another `port`"
                )
        if not port:
            raise NotPossible(f"{planned.component}: its pods state no port: name the `port` at which they listen")
        return {"addresses": addresses, "port": port}

    def path(self, api: Api, mark: str, planned: Reachable) -> str:
        return f"{reaping.collection(api, GROUP, RESOURCE)}/{_name(mark)}"

    async def strike(self, api: Api, mark: str, planned: Reachable, lease_end: int) -> None:
        found = await deployed.look_at(api, planned)
        undo = marks.Undo(mark, deployed.lease_s(lease_end))
        metadata = {"name": _name(mark), "labels": MANAGED_BY, "annotations": marks.marked(undo)}
        spec = {"podSelector": found["spec"]["selector"], "policyTypes": ["Ingress", "Egress"]}
        body = {"apiVersion": f"{GROUP}/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        try:
            await api.post(reaping.collection(api, GROUP, RESOURCE), body)
        except Conflict as error:
            raise NotPossible(f"there is a NetworkPolicy {_name(mark)} already: see `chaos reprise heal`") from error
        self.made(mark)

    async def bearer(self, api: Api, mark: str, planned: Reachable) -> marks.Object | None:
        with contextlib.suppress(Missing):
            return await api.get(self.path(api, mark, planned))
        return None

    async def restore(self, api: Api, mark: str, planned: Reachable) -> str | None:
        by, tried_from_here = await super().restore(api, mark, planned), self.has_made(mark)
        deadline = time.monotonic() + BITES_S
        while tried_from_here:
            pods = await deployments.pods(api, await deployed.look_at(api, planned))
            addresses = [one["status"]["podIP"] for one in pods if deployments.is_ready(one)]
            if all(await asyncio.gather(*(_accepts(address, planned.port) for address in addresses))):
                break
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"{planned.component}: a pod accepts no connection {BITES_S:g} s after the denial ended"
                )
            await asyncio.sleep(deployed.LOOK_EVERY_S)
        return by

    async def gone(self, api: Api, mark: str, planned: Reachable) -> dict[str, Any]:
        deadline = time.monotonic() + BITES_S
        while True:
            accepting = await asyncio.gather(*(_accepts(address, planned.port) for address in planned.addresses))
            if not any(accepting):
                await _check_alive(api, planned)
                return {"connections": "denied", "port": planned.port, "count": len(planned.addresses)}
            if time.monotonic() > deadline:
                address = next(one for one, accepts in zip(planned.addresses, accepting, strict=True) if accepts)
                raise NotProven(
                    f"{planned.component}: {address}:{planned.port} still accepts connections {BITES_S:g} s after its NetworkPolicy was made: "
                    "does this cluster's network know policies?"
                )
            await asyncio.sleep(deployed.LOOK_EVERY_S)


async def _check_alive(api: Api, planned: Reachable) -> None:
    """What is dead accepts no connection either."""
    there = {one["metadata"]["uid"]: one for one in await deployments.pods(api, await deployed.look_at(api, planned))}
    for name, uid in planned.pods.items():
        pod = there.get(uid)
        states = [one["state"] for one in (pod or {}).get("status", {}).get("containerStatuses") or []]
        if pod is None or "deletionTimestamp" in pod["metadata"] or not all("running" in state for state in states):
            raise NotProven(
                f"{planned.component}: its pod {name} has ended meanwhile: whether it was denied anything is not known"
            )


def _name(mark: str) -> str:
    """Of an object: a mark has what a name may not have."""
    return f"reprise-{hashlib.sha256(mark.encode()).hexdigest()[:12]}"


def _stated_port(pod: deployments.Object) -> int:
    stated = (port for container in pod["spec"]["containers"] for port in container.get("ports") or [])
    return next((int(one["containerPort"]) for one in stated if one.get("protocol", "TCP") == "TCP"), 0)


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


FAULT = DenyNetwork()
