"""The components of a platform that are pods: each is the one Deployment that its selector selects, and each session of a sandbox one pod."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chaosreprise.errors import NotPossible
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, context_of
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import KUBERNETES, SESSIONS, Platform

T = TypeVar("T")


def components(platform: Platform) -> list[Component]:
    """One whose selector does not select one Deployment has the reason why it can't be broken. Raises Unreachable."""
    selectors = {name: one.selector for name, one in platform.file.components.items() if one.how == KUBERNETES}
    where = platform.cluster
    if where is None or not selectors:
        return []

    async def look() -> list[Component]:
        async with await Api.to(where) as api:
            found = [
                await _component(api, name, selector or "") for name, selector in selectors.items() if name != SESSIONS
            ]
            return found + (await _sessions(api, *platform.session_objects) if platform.session_pods else [])

    return _at_once(look)


def identity(platform: Platform) -> dict[str, str]:
    """The context, and the cluster's own uid where the platform file states one: reading it takes a right that few need."""
    where = platform.cluster
    if where is None:
        return {}
    told = {"context": name} if (name := context_of(where)) else {}
    if platform.file.identity.cluster_uid is None:
        return told

    async def look() -> str:
        async with await Api.to(where) as api:
            return str((await api.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"])

    return told | {"cluster_uid": _at_once(look)}


async def _component(api: Api, name: str, selector: str) -> Component:
    group = name.partition("/")[0]
    try:
        deployment = await deployments.selected(api, selector)
        held = marks.of(deployment) is not None
        ready = [one for one in await deployments.pods(api, deployment) if deployments.is_ready(one)]
    except NotPossible as error:
        return Component(name=name, group=group, reason=f"components.{name}.selector: {error}")
    inc = [ready[0]["metadata"]["uid"], ready[0]["status"]["containerStatuses"][0]["containerID"]] if ready else None
    return Component(name=name, group=group, inc=inc, state="held" if held else "up" if ready else "down")


async def _sessions(api: Api, selector: str, label: str) -> list[Component]:
    """Each session that is a pod of its own, while it serves."""
    found = (await api.get(deployments.pods_path(api), labelSelector=f"{selector},{label}"))["items"]
    return [
        Component(
            name=f"{SESSIONS}/{pod['metadata']['labels'][label]}",
            group=SESSIONS,
            inc=[pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["containerID"]],
        )
        for pod in found
        if deployments.is_ready(pod)
    ]


def _at_once(look: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Whether or not an event loop runs here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, look()).result()
