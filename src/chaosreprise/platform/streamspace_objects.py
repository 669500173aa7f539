"""The effects of StreamSpace's commands on its Kubernetes objects: the Deployment of each session, as it is made, scaled and deleted,
and the PersistentVolumeClaims that are their homes, as they are made and deleted (`homes`).

A Deployment is told by its uid, since one that is made again is another one with the same name. Scaling to what it is leaves
no trace, and changes nothing: what a second wake does to the world is more replicas. The processes are those of its pods (`streamspace_pods`).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from chaosreprise.history import Effect
from chaosreprise.history.events import Attribution, Mark
from chaosreprise.kubernetes.api import Api, Right
from chaosreprise.kubernetes.watching import Change, ObjectSource
from chaosreprise.platform import streamspace_pods
from chaosreprise.platform.file import HOMES, Platform
from chaosreprise.platform.said import Said

LEDGER = "slots"
RIGHTS = {
    name: [Right(verb, *resource) for resource in resources for verb in ("list", "watch")]
    for name, resources in (
        (LEDGER, (("apps", "deployments"), ("", "pods"))),
        (HOMES, (("", "persistentvolumeclaims"),)),
    )
}
"""By the evidence that takes them."""
ATTRIBUTION = [
    Attribution(op="start", ledger=LEDGER, level="keyed", mark="made"),
    Attribution(op="hibernate", ledger=LEDGER, level="counted", mark="down", repeat=False),
    Attribution(op="wake", ledger=LEDGER, level="counted", mark="up"),
    Attribution(op="stop", ledger=LEDGER, level="counted", mark="gone", repeat=False),
]
KeyOf = Callable[[dict[str, Any]], str | None]


def sources(platform: Platform, name: str, key_of: KeyOf) -> list[ObjectSource]:
    """`key_of` finds our key in what a session was made from. A pod is of a session if it has its label: no more is known of it."""
    where, hz = platform.cluster, platform.file.evidence[name].hz
    assert where is not None
    selector, label = platform.session_objects
    if name == HOMES:
        claims = f"/api/v1/namespaces/{where.namespace}/persistentvolumeclaims"
        return [ObjectSource(name, hz, where, claims, selector, partial(homes, label=label))]
    deployments = f"/apis/apps/v1/namespaces/{where.namespace}/deployments"
    pods = f"/api/v1/namespaces/{where.namespace}/pods"
    of_objects = partial(effects, key_of=key_of, label=label)
    return [
        ObjectSource(name, hz, where, deployments, selector, of_objects),
        ObjectSource(streamspace_pods.LEDGER, hz, where, pods, label, streamspace_pods.Processes(label).told),
    ]


async def rights(platform: Platform, name: str) -> list[Said]:
    """Whether we may list and watch."""
    where = platform.cluster
    assert where is not None
    async with await Api.to(where) as api:
        lacking = await api.refused(RIGHTS[name])
    if not lacking:
        what = " and ".join(dict.fromkeys(f"{one.resource}.{one.group}".strip(".") for one in RIGHTS[name]))
        return [Said(about="evidence", name=name, say=f"may list and watch {what} in {where.namespace}")]
    say = f"may not {' and '.join(map(str, lacking))} in the namespace {where.namespace}"
    return [Said(about="evidence", name=name, state="not ok", say=say, do="give the account a role with these verbs")]


def effects(change: Change, key_of: KeyOf, label: str) -> Iterator[Effect]:
    mark = _come_or_gone(change) or _scaled(change)
    if mark is not None:
        effect = _effect(change, LEDGER, mark, label)
        effect.gen = change.now["metadata"]["generation"] + (mark == "gone")  # that it ended is a transition of its own
        effect.key = _key(change.now, key_of) if mark == "made" else None
        yield effect


def homes(change: Change, label: str) -> Iterator[Effect]:
    """One that was told to go stays while a pod has it: nothing is lost before."""
    if mark := _come_or_gone(change):
        yield _effect(change, HOMES, mark, label)


def _effect(change: Change, ledger: str, mark: Mark, label: str) -> Effect:
    metadata = change.now["metadata"]
    session = (metadata.get("labels") or {}).get(label, metadata["name"])
    name = f"{metadata['name']}.{metadata['uid'][:8]}"
    return Effect(lo=change.lo, hi=change.hi, ledger=ledger, object=name, session=session, mark=mark)


def _come_or_gone(change: Change) -> Mark | None:
    return "gone" if change.gone else "made" if change.before is None else None


def _scaled(change: Change) -> Mark | None:
    assert change.before is not None
    before, now = (one["spec"]["replicas"] for one in (change.before, change.now))
    return "up" if now > before else "down" if before and not now else None


def _key(deployment: dict[str, Any], key_of: KeyOf) -> str | None:
    """The memory that its containers ask for, in bytes: the server writes 134500000 as 134500k."""
    from kubernetes.utils import parse_quantity  # noqa: PLC0415 - there already, with what has watched it

    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for amounts in (container.get("resources") or {}).values():
            if isinstance(amounts, dict) and "memory" in amounts:
                key = key_of({"memory": str(int(parse_quantity(amounts["memory"])))})
                if key is not None:
                    return key
    return None
