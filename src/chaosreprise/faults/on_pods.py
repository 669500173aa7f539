"""What faults on pods share: the one Deployment of a component, its pods, and when it is whole again.

Whole means: as many pods are ready as the Deployment had asked for, and nothing on it bears the fault's mark. How a Deployment
that was changed is undone stands on it (`kubernetes.marks`), so undoing reads it there.
"""

import asyncio
import functools
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import BadInput, NotAllowed, NotPossible, NotProven, Unreachable
from chaosreprise.faults import local
from chaosreprise.faults.base import Context, Fault, Target
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right
from chaosreprise.kubernetes.where import Where
from chaosreprise.platform.file import KUBERNETES, load
from chaosreprise.stack.client import StackEnded

NEEDS = 'pods (components.NAME with how = "kubernetes")'
DEPLOYMENT = "deployment"
ENDED_S = 40.0  # pods have 30 s to end, where nothing else is said
BACK_S = 40.0  # to be placed, started and ready; who asks for an undo waits for a minute
LOOK_EVERY_S = 0.1
SOMEBODY = "somebody else"
LOOK = (Right("list", "apps", "deployments"), Right("get", "apps", "deployments"), Right("list", "", "pods"))


class Deployed(msgspec.Struct, kw_only=True):
    """What was planned: a Deployment by its uid, and its pods by theirs."""

    where: Where
    component: str
    deployment: str
    uid: str
    replicas: int
    pods: dict[str, str]
    undo_s: float = BACK_S + 5


class OnPods:
    """The base of faults on the pods of one Deployment. As it stands: they are gone, and others come by themselves."""

    rights: tuple[Right, ...] = ()
    """Beyond those to look."""
    way_back = "its Deployment makes new pods"
    proof = "its pods are not in the API any more"

    @property
    def needed(self) -> tuple[Right, ...]:
        return (*LOOK, *self.rights)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        if args:
            raise BadInput(f"{', '.join(args)}: this fault takes no arguments: leave them out")
        platform = load(context.platform_file or "")
        where = platform.cluster
        assert where is not None
        async with await Api.to(where) as api:
            await _check_rights(api, self.needed)
            return local.target(await _planned(api, on, platform.file.components[on].selector or ""))

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        raise NotImplementedError

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        planned = msgspec.convert(target, Deployed)
        async with await Api.to(planned.where) as api:
            return await self.gone(api, mark, planned)

    async def gone(self, api: Api, mark: str, planned: Deployed) -> dict[str, Any]:
        """Until none of the planned pods is there. Raises NotProven."""
        await until_gone(api, planned, [*planned.pods.values()])
        return {"pods": "gone", "count": len(planned.pods)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        planned = msgspec.convert(target, Deployed)
        async with await Api.to(planned.where) as api:
            by: str | None = await local.patiently(None, self._mend, api, mark, planned, for_s=BACK_S)
        return by

    async def _mend(self, api: Api, mark: str, planned: Deployed) -> str | None:
        by = await self.restore(api, mark, planned)
        await _until_whole(api, planned)
        return by

    async def restore(self, api: Api, mark: str, planned: Deployed) -> str | None:
        """Take back what was changed on the Deployment; who had done so already."""
        return None

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        planned = msgspec.convert(target, Deployed)
        async with await Api.to(planned.where) as api:
            left = marks.of(await _found(api, planned))
        if left is not None and left.mark == mark:
            raise Unreachable(f"the Deployment {planned.deployment} still bears the mark of fault {mark}")


class Delete(OnPods):
    """Delete the pods, with the time to end that each states, or with none."""

    rights = (Right("delete", "", "pods"),)

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        planned = msgspec.convert(target, Deployed)
        async with await Api.to(planned.where) as api:
            for name, uid in planned.pods.items():
                try:
                    await api.delete(deployments.pods_path(api, name), self._body | {"preconditions": {"uid": uid}})
                except (Missing, Conflict) as error:
                    raise NotPossible(f"the pod {name} of {planned.component} went by itself just before") from error


class Scale(OnPods):
    """Scale the Deployment to nothing. Fault and undo are one patch, of the object that was looked at and no other."""

    rights = (Right("patch", "apps", "deployments"),)
    way_back = "its Deployment gets the number of replicas back that stands on it"
    proof = "its pods are not in the API any more, and nobody has scaled its Deployment back a second later"
    still_s = 1.0

    def __init__(self) -> None:
        self._made: set[str] = set()

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        planned = msgspec.convert(target, Deployed)
        async with await Api.to(planned.where) as api:
            made, before = ({"spec": {"replicas": number}} for number in (0, planned.replicas))
            undo = marks.Undo(mark, lease_s(lease_end), made, before)
            path = deployments.path(api, planned.deployment)
            await marks.begin(api, path, functools.partial(self._unchanged, api, planned), undo)
        self._made.add(mark)

    async def _unchanged(self, api: Api, planned: Deployed) -> deployments.Object:
        found = await _found(api, planned)
        if found["spec"]["replicas"] != planned.replicas or marks.of(found) is not None:
            raise NotPossible(f"the Deployment {planned.deployment} changed after it was planned: nothing was done")
        return found

    async def gone(self, api: Api, mark: str, planned: Deployed) -> dict[str, Any]:
        await until_gone(api, planned)
        until = time.monotonic() + self.still_s
        while time.monotonic() < until:
            await _check_scaled(api, planned)
            await asyncio.sleep(LOOK_EVERY_S)
        await until_gone(api, planned, within_s=0)
        return {"replicas": 0, "pods": "gone", "count": len(planned.pods)}

    async def restore(self, api: Api, mark: str, planned: Deployed) -> str | None:
        made = mark in self._made
        self._made.discard(mark)
        path = deployments.path(api, planned.deployment)
        still = await marks.end(api, path, functools.partial(_found, api, planned), mark)
        return None if still or (still is None and not made) else SOMEBODY


class Anywhere:
    """A fault on a component wherever that runs: a local process, or pods. Its arguments go with the former alone."""

    def __init__(self, process: Fault, pods: OnPods) -> None:
        self._process = process
        self._pods = pods
        self.groups, self.momentary, self.arguments = process.groups, process.momentary, process.arguments
        self.undo_s, self.rights = process.undo_s, pods.needed
        self.needs = f"{process.needs}, or {NEEDS}"
        self.way_back = process.way_back
        self.proof = f"{process.proof}; of pods: {pods.proof}"

    def asks(self, group: str) -> tuple[str, ...]:
        return self._process.asks(group)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        entry = load(context.platform_file).file.components.get(on) if context.platform_file else None
        if entry is not None and entry.how == KUBERNETES:
            return await self._pods.plan(context, on, args)
        return await self._process.plan(context, on, args)

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        await self._of(target).inject(context, mark, target, lease_end)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        return await self._of(target).prove(context, mark, target)

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        return await self._of(target).undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        await self._of(target).verify(context, mark, target)

    def _of(self, target: Target) -> Fault | OnPods:
        return self._pods if DEPLOYMENT in target else self._process


def lease_s(lease_end: int) -> float:
    """How long a lease still lasts, as it stands on an object: who reads it there knows nothing of our clock."""
    return round((lease_end - boottime()) / SECOND, 3)


async def until_gone(api: Api, planned: Deployed, uids: Sequence[str] | None = None, within_s: float = ENDED_S) -> None:
    """Of these pods, or of all that there are, none is left. Raises NotProven."""
    deadline = time.monotonic() + within_s
    while True:
        found = await _found(api, planned)
        if uids is None:
            _check_zero(found, planned)
        pods = await deployments.pods(api, found)
        left = [one["metadata"]["name"] for one in pods if uids is None or one["metadata"]["uid"] in uids]
        if not left:
            return
        if time.monotonic() >= deadline:
            raise NotProven(f"{planned.component}: its pod {left[0]} is still there {within_s:g} s later")
        await asyncio.sleep(LOOK_EVERY_S)


async def _check_scaled(api: Api, planned: Deployed) -> None:
    _check_zero(await _found(api, planned), planned)


def _check_zero(found: deployments.Object, planned: Deployed) -> None:
    if now := found["spec"]["replicas"]:
        raise NotProven(
            f"{planned.component}: somebody has scaled its Deployment {planned.deployment} back to {now}: an autoscaler, or GitOps?"
        )


async def _planned(api: Api, on: str, selector: str) -> Deployed:
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


async def _check_rights(api: Api, rights: Sequence[Right]) -> None:
    if lacking := await api.refused(rights):
        raise NotAllowed(
            f"the account may not {', '.join(map(str, lacking))} in the namespace {api.where.namespace}: give it a role with these verbs"
        )


async def _found(api: Api, planned: Deployed) -> deployments.Object:
    """The Deployment that was planned for. Raises StackEnded when it is not there any more."""
    try:
        found = await api.get(deployments.path(api, planned.deployment))
    except Missing:
        found = None
    if found is None or found["metadata"]["uid"] != planned.uid:
        raise StackEnded(f"the Deployment {planned.deployment} is not there any more: there is nothing left to mend")
    return found


async def _until_whole(api: Api, planned: Deployed) -> None:
    deadline = time.monotonic() + BACK_S
    while True:
        found = await _found(api, planned)
        status, wanted = found.get("status") or {}, found["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        pods = await deployments.pods(api, found)
        ready = sum(map(deployments.is_ready, pods))
        if seen and ready >= wanted:
            return
        if time.monotonic() > deadline:
            raise Unreachable(f"{planned.component}: {ready} of {wanted} pods are ready {BACK_S:g} s later")
        await asyncio.sleep(LOOK_EVERY_S)
