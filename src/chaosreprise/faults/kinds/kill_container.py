"""Kill a container of each pod of a component, by a signal from inside; its kubelet starts it again in the same pod.

The API has no call for it, so `kill` is executed in the container, which must have a `sh`. From inside the kernel lets no signal through to process 1 but
those that it handles: the first of TERM, INT and QUIT that it does is sent, so it may end nicely; one that handles none can't be killed so.
"""

import asyncio
import re
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, deployed, on_pods
from chaosreprise.faults.base import Target
from chaosreprise.faults.deployed import Deployed
from chaosreprise.kubernetes import deployments, executing
from chaosreprise.kubernetes.api import Api

SIGNALS = {"TERM": 15, "INT": 2, "QUIT": 3}
HANDLED = 'while read -r name value; do case $name in SigCgt:) echo "$value";; esac; done < /proc/1/status'
BY_DEFAULT = "kubectl.kubernetes.io/default-container"
KILLED_WITH_IT = "137"  # with process 1 everything else in its namespace ends by SIGKILL
MASK = re.compile(r"\s*([0-9a-f]{16})\s*")


class Arguments(base.Arguments, frozen=True):
    container: Annotated[
        str,
        msgspec.Meta(
            max_length=63,
            title="which one",
            description=f"a name; empty: the one that the annotation {BY_DEFAULT} names, else the first",
        ),
    ] = ""


class Contained(Deployed, kw_only=True):
    """With the container's name, and of each pod its id and the signal that ends it."""

    container: str
    containers: dict[str, tuple[str, str]]


class KillContainer(on_pods.OnPods[Contained]):
    momentary = True
    arguments = Arguments
    shape = Contained
    rights = executing.RIGHTS
    way_back = "its kubelet starts the container again"
    proof = "in each of its pods, which is the same, the container is dead or another one"

    async def more(self, api: Api, planned: Deployed, given: Arguments) -> Target:
        found = await _pods(api, planned)
        container = given.container or _by_default(found[0])
        containers = {}
        for pod in found:
            name = pod["metadata"]["name"]
            if pod["spec"].get("hostPID") or pod["spec"].get("shareProcessNamespace"):
                raise NotPossible(f"{name}: its containers share their processes: process 1 is not that of {container}")
            if (container_id := _ids(pod).get(container)) is None:
                raise NotPossible(f"{name} has no container {container!r}: it has {', '.join(_ids(pod))}")
            containers[name] = container_id, await _signal(api, name, container)
        return {"container": container, "containers": containers}

    async def strike(self, api: Api, mark: str, planned: Contained, lease_end: int) -> None:
        for pod in await _pods(api, planned):
            name = pod["metadata"]["name"]
            if planned.containers[name][0] != _ids(pod).get(planned.container):
                raise NotPossible(f"{name}: its container {planned.container} started anew after it was planned")
        for name, (_, signal) in planned.containers.items():
            try:
                await executing.execute(api, name, planned.container, "sh", "-c", f"kill -s {signal} 1")
            except executing.Failed as error:
                if error.exit_code != KILLED_WITH_IT:
                    raise
            except Unreachable:
                pass  # it may have gone with the container: the proof tells

    async def gone(self, api: Api, mark: str, planned: Contained) -> dict[str, Any]:
        deadline = time.monotonic() + deployed.ENDED_S
        while True:
            ids = {pod["metadata"]["name"]: _ids(pod).get(planned.container) for pod in await _pods(api, planned)}
            left = [name for name, (before, _) in planned.containers.items() if ids.get(name, before) == before]
            if not left:
                return {"container": planned.container, "killed": len(ids)}
            if time.monotonic() > deadline:
                signal = planned.containers[left[0]][1]
                raise NotProven(f"{left[0]}: {planned.container} lives on {deployed.ENDED_S:g} s after SIG{signal}")
            await asyncio.sleep(deployed.LOOK_EVERY_S)


async def _pods(api: Api, planned: Deployed) -> list[deployments.Object]:
    """Those that were planned for, and that are there."""
    found = await deployments.pods(api, await deployed.look_at(api, planned))
    return [one for one in found if one["metadata"]["uid"] in planned.pods.values()]


def _by_default(pod: deployments.Object) -> str:
    named = (pod["metadata"].get("annotations") or {}).get(BY_DEFAULT)
    return str(named or pod["spec"]["containers"][0]["name"])


def _ids(pod: deployments.Object) -> dict[str, str]:
    """The containers that run, by their names."""
    statuses = pod["status"].get("containerStatuses") or []
    return {one["name"]: one["containerID"] for one in statuses if "running" in one["state"]}


async def _signal(api: Api, pod: str, container: str) -> str:
    """One that process 1 handles. Raises NotPossible when there is none, or no `sh` that could tell."""
    told = MASK.fullmatch(await executing.execute(api, pod, container, "sh", "-c", HANDLED))
    mask = int(told[1], 16) if told else 0
    for name, number in SIGNALS.items():
        if mask >> (number - 1) & 1:
            return name
    raise NotPossible(
        f"{pod}: process 1 of {container} handles none of {', '.join(SIGNALS)}: no signal from inside can end it"
    )


FAULT = KillContainer()
