"""How long the pods of a sandbox's sessions took: until they were ready, and until the agent in them was reached on its port.

Samples, of each pod that came while we looked: `ready_s` and `reached_s` when it was so, and so far at each look before that; both are
how long it surely took. `stuck` is how many wait for what does not come by waiting, such as an image that is not there, or
ended before they were ready; `stuck.why` says in what words Kubernetes has it. Reached is an agent by its health through the API
server, as by `kubectl port-forward`. A pod that was told to end, or has gone, is not waited for.
"""

import asyncio
from typing import Any

import msgspec

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import NotPossible, RepriseError
from chaosreprise.history import Observe
from chaosreprise.kubernetes import deployments, forwarding
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.where import Where
from chaosreprise.observe import Emit, sample
from chaosreprise.platform.file import Platform

READINESS = "readiness"
PORT, HEALTH = 9000, "/v1/health"
SERVES = 200
Object = dict[str, Any]


class Wait(msgspec.Struct):
    """Of one pod: since when it is surely there, and what came of it."""

    since: int
    ready: bool = False
    reached: bool = False


async def reach(platform: Platform, session: str) -> None:
    """The agent in the pod of this session, once. Raises NotPossible, with what its pod waits for, or Unreachable."""
    assert platform.cluster is not None
    selector, label = platform.session_objects
    async with await Api.to(platform.cluster) as api:
        found = (await api.get(deployments.pods_path(api), labelSelector=f"{selector},{label}={session}"))["items"]
        if not found:
            raise NotPossible(
                f"no pod in the namespace {api.where.namespace} has {selector},{label}={session}: is it the right one?"
            )
        if not deployments.is_ready(found[0]):
            raise NotPossible(f"its pod is not ready: {deployments.lacks(found[0]) or 'it is being started, or ended'}")
        name = found[0]["metadata"]["name"]
        if (status := await status_of(api, name)) != SERVES:
            raise NotPossible(f"the agent in the pod {name} does not answer on :{PORT} ({status or 'nobody is there'})")


def waiting(platform: Platform) -> str:
    """The end of a sentence about sessions that could not be made: what their pods wait for that does not come, of the newest one."""
    if not platform.session_pods:
        return ""
    try:
        found = asyncio.run(_stuck(platform))
    except RepriseError as error:
        return f"; its pods can't be seen: {error}"
    return f"; of its pods {len(found)} wait for what does not come, such as {found[-1]}" if found else ""


async def _stuck(platform: Platform) -> list[str]:
    assert platform.cluster is not None
    async with await Api.to(platform.cluster) as api:
        found = (await api.get(deployments.pods_path(api), labelSelector=platform.session_objects[0]))["items"]
    found.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return [f"{pod['metadata']['name']}: {lacks}" for pod in found if (lacks := deployments.lacks(pod))]


async def status_of(api: Api, pod: str) -> int | None:
    """Raises Unreachable."""
    try:
        return await forwarding.status_of(api, pod, PORT, HEALTH)
    except TimeoutError:
        return None


class Readiness:
    """A source of evidence."""

    name = READINESS

    def __init__(self, hz: float, where: Where, selector: str, label: str) -> None:
        self._hz, self._where, self._selector, self._label = hz, where, selector, label
        self._waits: dict[str, Wait] | None = None
        self._stuck: int | None = None

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async with await Api.to(self._where) as api:

            async def look(since: int, last: bool) -> None:
                del last
                began = clock.now()
                pods = await self._pods(api)
                if self._waits is None:  # since when these are there nobody knows
                    self._waits = {uid: Wait(0, ready=True, reached=True) for uid in pods}
                there = {uid: self._waits.setdefault(uid, Wait(clock.now())) for uid in pods}
                unready = {uid: wait for uid, wait in there.items() if not wait.ready}
                unreached = {uid: wait for uid, wait in there.items() if not wait.reached}
                for uid, wait in unready.items():
                    wait.ready = deployments.is_ready(pods[uid])
                await self._reach(api, [pods[uid] for uid, wait in unreached.items() if wait.ready])
                found: dict[str, object] = {
                    "ready_s": [_took(wait, since if wait.ready else began) for wait in unready.values()],
                    "reached_s": [_took(wait, since if wait.reached else began) for wait in unreached.values()],
                }
                why = [f"{self._of(pods[uid])}: {lacks}" for uid in unready if (lacks := deployments.lacks(pods[uid]))]
                if why or self._stuck != len(why):
                    found |= {"stuck": len(why), "stuck.why": why}
                    self._stuck = len(why)
                now = clock.now()
                for signal, value in found.items():
                    if value != []:
                        emit(Observe(lo=since, hi=now, source=self.name, signal=signal, value=value))

            await sample(self.name, self._hz, clock, emit, stop, look)

    async def _pods(self, api: Api) -> dict[str, Object]:
        """Those that were not told to end."""
        found = (await api.get(deployments.pods_path(api), labelSelector=self._selector))["items"]
        return {one["metadata"]["uid"]: one for one in found if "deletionTimestamp" not in one["metadata"]}

    async def _reach(self, api: Api, pods: list[Object]) -> None:
        """Raises Unreachable where what broke lies between us and a pod that is ready all the same."""
        assert self._waits is not None
        for pod in pods:
            uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
            try:
                self._waits[uid].reached = await status_of(api, name) == SERVES
            except RepriseError:
                still = (await self._pods(api)).get(uid)
                if still is not None and deployments.is_ready(still):
                    raise

    def _of(self, pod: Object) -> str:
        return str(pod["metadata"]["labels"].get(self._label) or pod["metadata"]["name"])


def _took(wait: Wait, until: int) -> float:
    return round(max(0, until - wait.since) / SECOND, 3)
