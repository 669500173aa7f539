"""What faults on pods share: they are planned for the one Deployment of a component, and undone when that is whole again.

How an object that was changed is undone stands on it (`kubernetes.marks`), so undoing reads it there.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from chaosreprise.errors import BadInput, NotPossible, Unreachable
from chaosreprise.faults import deployed, local
from chaosreprise.faults.base import Arguments, Context, Fault, Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.faults.on_session_pods import POD, DeleteOne
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right
from chaosreprise.platform.file import EMBEDDED, KUBERNETES, load
from chaosreprise.settings import convert

NEEDS = 'pods (components.NAME with how = "kubernetes")'
DEPLOYMENT = "deployment"
SOMEBODY = "somebody else"
LOOK = (Right("list", "apps", "deployments"), Right("get", "apps", "deployments"), Right("list", "", "pods"))


Plan = TypeVar("Plan", bound=Deployed)


class OnPods(Generic[Plan]):
    """The base of faults on the pods of one Deployment. As it stands: they are gone, and others come by themselves."""

    groups: tuple[str, ...] = ("agents", "control-plane", "data-plane")
    needs = NEEDS
    momentary = False
    undo_s = deployed.BACK_S + 5
    arguments: type[Arguments] = Arguments
    shape: type[Deployed] = Deployed
    """What its plan is."""
    rights: tuple[Right, ...] = ()
    """Beyond those to look."""
    everywhere: tuple[Right, ...] = ()
    """Those that it needs in the whole cluster."""
    way_back = "its Deployment makes new pods"
    proof = "its pods are not in the API any more"

    def asks(self, group: str) -> tuple[str, ...]:
        return (KUBERNETES,)

    @property
    def needed(self) -> tuple[Right, ...]:
        return (*LOOK, *self.rights)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        if args and not self.arguments.__struct_fields__:
            raise BadInput(f"{', '.join(args)}: this fault takes no arguments: leave them out")
        given = convert("fault", args, self.arguments)
        platform = load(context.platform_file) if context.platform_file else EMBEDDED
        entry, where = platform.file.components.get(on), platform.cluster
        if entry is None or where is None or entry.how != KUBERNETES:
            raise NotPossible(f'{on} is no pods: this fault needs components."{on}" with how = "{KUBERNETES}"')
        async with await Api.to(where) as api:
            await deployed.check_rights(api, self.needed)
            await deployed.check_rights(api, self.everywhere, everywhere=True)
            plan = await deployed.planned(api, on, entry.selector or "")
            return local.target(plan) | await self.more(api, plan, given)

    async def more(self, api: Api, planned: Deployed, given: Any) -> Target:
        """What else belongs to the target; changes nothing. Raises NotPossible or NotAllowed."""
        return {}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        planned = self._of(target)
        async with await Api.to(planned.where) as api:
            await self.strike(api, mark, planned, lease_end)

    async def strike(self, api: Api, mark: str, planned: Plan, lease_end: int) -> None:
        """Break it. Raises NotPossible when it is not what was planned any more."""
        raise NotImplementedError

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        planned = self._of(target)
        async with await Api.to(planned.where) as api:
            return await self.gone(api, mark, planned)

    async def gone(self, api: Api, mark: str, planned: Plan) -> dict[str, Any]:
        """Until none of the planned pods is there. Raises NotProven."""
        await deployed.until_gone(api, planned, [*planned.pods.values()])
        return {"pods": "gone", "count": len(planned.pods)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        planned = self._of(target)
        async with await Api.to(planned.where) as api:
            by: str | None = await local.patiently(None, self._mend, api, mark, planned, for_s=deployed.BACK_S)
        return by

    async def _mend(self, api: Api, mark: str, planned: Plan) -> str | None:
        by = await self.restore(api, mark, planned)
        await deployed.until_whole(api, planned)
        return by

    async def restore(self, api: Api, mark: str, planned: Plan) -> str | None:
        """Take back what was changed; who had done so already."""
        return None

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        planned = self._of(target)
        async with await Api.to(planned.where) as api:
            found = await self.bearer(api, mark, planned)
            left = marks.of(found) if found is not None else None
        if found is not None and left is not None and left.mark == mark:
            raise Unreachable(f"{found['metadata']['name']} in the cluster still bears the mark of fault {mark}")

    async def bearer(self, api: Api, mark: str, planned: Plan) -> marks.Object | None:
        """What would bear the fault's mark, if it is there."""
        return await deployed.look_at(api, planned)

    def _of(self, target: Target) -> Plan:
        return cast("Plan", msgspec.convert(target, self.shape))


class Changes(OnPods[Plan]):
    """The base of faults that stand on an object with what undoes them: `path` is where, `bearer` is that."""

    def __init__(self) -> None:
        self._here: set[str] = set()
        self._unheard: set[str] = set()
        self._by: dict[str, str | None] = {}

    def path(self, api: Api, mark: str, planned: Plan) -> str:
        raise NotImplementedError

    def made(self, mark: str) -> None:
        """By this process: if nothing of it is found later, it was somebody else who has undone it."""
        self._here.add(mark)

    async def begin(
        self, api: Api, mark: str, planned: Plan, look: Callable[[], Awaitable[marks.Object]], undo: marks.Undo
    ) -> None:
        """Fault and undo, in one patch of what `look` finds. Without an answer it may be made yet."""
        try:
            await marks.begin(api, self.path(api, mark, planned), look, undo)
        except (marks.Unheard, asyncio.CancelledError):
            self._unheard.add(mark)
            raise
        self.made(mark)

    def has_made(self, mark: str) -> bool:
        return mark in self._here

    async def restore(self, api: Api, mark: str, planned: Plan) -> str | None:
        path, look = self.path(api, mark, planned), functools.partial(self.bearer, api, mark, planned)
        try:
            still = await marks.end(api, path, look, mark, outrun=mark in self._unheard)
        except marks.Unheard:  # the next try may find that it was undone: by us
            self._by[mark] = None
            raise
        self._unheard.discard(mark)
        if still is not None:
            self._by[mark] = None if still else SOMEBODY
        return self._by.get(mark, SOMEBODY if self.has_made(mark) else None)


class Delete(OnPods[Deployed]):
    """Delete the pods, with the time to end that each states, or with none."""

    rights = (Right("delete", "", "pods"),)

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    async def strike(self, api: Api, mark: str, planned: Deployed, lease_end: int) -> None:
        for name, uid in planned.pods.items():
            try:
                await api.delete(deployments.pods_path(api, name), self._body | {"preconditions": {"uid": uid}})
            except (Missing, Conflict) as error:
                raise NotPossible(f"the pod {name} of {planned.component} went by itself just before") from error


class Scale(Changes[Deployed]):
    """Scale the Deployment to nothing. Fault and undo are one patch, of the object that was looked at and no other."""

    rights = (Right("patch", "apps", "deployments"),)
    way_back = "its Deployment gets the number of replicas back that stands on it"
    proof = "its pods are not in the API any more, and nobody has scaled its Deployment back a second later"
    still_s = 1.0

    def path(self, api: Api, mark: str, planned: Deployed) -> str:
        return deployments.path(api, planned.deployment)

    async def strike(self, api: Api, mark: str, planned: Deployed, lease_end: int) -> None:
        made, before = ({"spec": {"replicas": number}} for number in (0, planned.replicas))
        undo = marks.Undo(mark, deployed.lease_s(lease_end), made, before)
        await self.begin(api, mark, planned, functools.partial(self._unchanged, api, planned), undo)

    async def _unchanged(self, api: Api, planned: Deployed) -> deployments.Object:
        found = await deployed.look_at(api, planned)
        if found["spec"]["replicas"] != planned.replicas or marks.of(found) is not None:
            raise NotPossible(f"the Deployment {planned.deployment} changed after it was planned: nothing was done")
        return found

    async def gone(self, api: Api, mark: str, planned: Deployed) -> dict[str, Any]:
        await deployed.until_gone(api, planned)
        until = time.monotonic() + self.still_s
        while time.monotonic() < until:
            await deployed.check_scaled(api, planned)
            await asyncio.sleep(deployed.LOOK_EVERY_S)
        await deployed.until_gone(api, planned, within_s=0)
        return {"replicas": 0, "pods": "gone", "count": len(planned.pods)}


class Anywhere:
    """A fault on a component wherever that runs: a local process, pods, or the pod of one session. Its arguments go with the first alone."""

    def __init__(self, process: Fault, pods: OnPods[Deployed], own: DeleteOne | None = None) -> None:
        self._process = process
        self._pods, self._own = pods, own
        self.groups, self.momentary, self.arguments = process.groups, process.momentary, process.arguments
        self.undo_s, self.rights = process.undo_s, pods.needed
        self.needs = f"{process.needs}, or {NEEDS}"
        self.way_back = process.way_back
        self.proof = f"{process.proof}; of pods: {pods.proof}" + (
            f"; of a session's own pod: {own.proof}" if own else ""
        )

    def asks(self, group: str) -> tuple[str, ...]:
        return self._process.asks(group)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        platform = load(context.platform_file) if context.platform_file else EMBEDDED
        if self._own and platform.session_pods and on.startswith(local.SESSIONS):
            return await self._own.plan(platform, on, args)
        entry = platform.file.components.get(on)
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

    def _of(self, target: Target) -> Fault | OnPods[Deployed] | DeleteOne:
        if self._own and POD in target:
            return self._own
        return self._pods if DEPLOYMENT in target else self._process
