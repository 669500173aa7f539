"""The one Deployment of a component as a fault planned for it: its pods, whether they are gone, and when it is whole again.

Whole means: as many pods are ready as the Deployment asks for.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotAllowed, NotPossible, NotProven, Unreachable
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Missing, Right
from chaosreprise.kubernetes.where import Where
from chaosreprise.stack.client import StackEnded

ENDED_S = 40.0  # pods have 30 s to end, where nothing else is said
BACK_S = 40.0  # to be placed, started and ready; who asks for an undo waits for a minute
LOOK_EVERY_S = 0.1


class Deployed(msgspec.Struct, kw_only=True):
    """What was planned: a Deployment by its uid, and its pods by theirs."""

    where: Where
    component: str
    deployment: str
    uid: str
    replicas: int
    pods: dict[str, str]
    undo_s: float = BACK_S + 5


def lease_s(lease_end: int) -> float:
    """How long a lease still lasts, as it stands on an object: who reads it there knows nothing of our clock. Raises NotPossible when it is over."""
    left = round((lease_end - boottime()) / SECOND, 3)
    if left <= 0:
        raise NotPossible(
            f"its lease ended {-left:g} s before it could be made, as nothing moved here: nothing was done"
        )
    return left


async def until_gone(api: Api, planned: Deployed, uids: Sequence[str] | None = None, within_s: float = ENDED_S) -> None:
    """Of these pods, or of all that there are, none is left. Raises NotProven."""
    deadline = time.monotonic() + within_s
    while True:
        found = await look_at(api, planned)
        if uids is None:
            _check_zero(found, planned)
        pods = await deployments.pods(api, found)
        left = [one["metadata"]["name"] for one in pods if uids is None or one["metadata"]["uid"] in uids]
        if not left:
            return
        if time.monotonic() >= deadline:
            raise NotProven(f"{planned.component}: its pod {left[0]} is still there {within_s:g} s later")
        await asyncio.sleep(LOOK_EVERY_S)


async def check_scaled(api: Api, planned: Deployed) -> None:
    _check_zero(await look_at(api, planned), planned)


def _check_zero(found: deployments.Object, planned: Deployed) -> None:
    if now := found["spec"]["replicas"]:
        raise NotProven(
            f"{planned.component}: somebody has scaled its Deployment {planned.deployment} back to {now}: an autoscaler, or GitOps?"
        )


async def planned(api: Api, on: str, selector: str) -> Deployed:
    try:
        found = await deployments.selected(api, selector)
    except NotPossible as error:
        raise NotPossible(f"components.{on}.selector: {error}") from error
    metadata, replicas = found["metadata"], found["spec"]["replicas"]
    if marks.of(found) is not None:
        raise NotPossible(f"{on}: a fault is on its Deployment {metadata['name']} already: see `chaos reprise heal`")
    pods = await deployments.pods(api, found)
    ready = {one["metadata"]["name"]: one["metadata"]["uid"] for one in pods if deployments.is_ready(one)}
    if not replicas or len(ready) != replicas or len(pods) != replicas:
        raise NotPossible(
            f"{on}: its Deployment {metadata['name']} asks for {replicas} pods, {len(ready)} of {len(pods)} are ready: only what is whole can be broken"
        )
    return Deployed(
        where=api.where,
        component=on,
        deployment=metadata["name"],
        uid=metadata["uid"],
        replicas=replicas,
        pods=ready,
    )


async def check_rights(api: Api, rights: Sequence[Right], everywhere: bool = False) -> None:
    if lacking := await api.refused(rights, everywhere):
        where = "the cluster" if everywhere else f"the namespace {api.where.namespace}"
        raise NotAllowed(
            f"the account may not {', '.join(map(str, lacking))} in {where}: give it a role with these verbs"
        )


async def look_at(api: Api, planned: Deployed) -> deployments.Object:
    """The Deployment that was planned for. Raises StackEnded when it is not there any more."""
    try:
        found = await api.get(deployments.path(api, planned.deployment))
    except Missing:
        found = None
    if found is None or found["metadata"]["uid"] != planned.uid:
        raise StackEnded(f"the Deployment {planned.deployment} is not there any more: there is nothing left to mend")
    return found


async def until_whole(api: Api, planned: Deployed) -> None:
    deadline = time.monotonic() + BACK_S
    while True:
        found = await look_at(api, planned)
        status, wanted = found.get("status") or {}, found["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        pods = await deployments.pods(api, found)
        ready = sum(map(deployments.is_ready, pods))
        if seen and ready >= wanted:
            return
        if time.monotonic() > deadline:
            why = "".join(f" ({lacks})" for lacks in {deployments.lacks(one) for one in pods} if lacks)
            raise Unreachable(f"{planned.component}: {ready} of {wanted} pods are ready {BACK_S:g} s later{why}")
        await asyncio.sleep(LOOK_EVERY_S)
