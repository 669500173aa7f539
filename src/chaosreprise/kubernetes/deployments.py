"""One Deployment and its pods: which one is meant, and what is there of it."""

from typing import Any

from chaosreprise.errors import NotPossible
from chaosreprise.kubernetes.api import Api

Object = dict[str, Any]
SHOWN = 200
COMES = ("ContainerCreating", "PodInitializing")


def path(api: Api, name: str = "") -> str:
    return f"/apis/apps/v1/namespaces/{api.where.namespace}/deployments{name and '/'}{name}"


def pods_path(api: Api, name: str = "") -> str:
    return f"/api/v1/namespaces/{api.where.namespace}/pods{name and '/'}{name}"


async def selected(api: Api, selector: str) -> Object:
    """The one that a selector of labels selects. Raises NotPossible when there is none, or more than one."""
    found: list[Object] = (await api.get(path(api), labelSelector=selector))["items"]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one["metadata"]["name"] for one in found)
    what = f"matches {len(found)} Deployments ({names})" if found else "matches no Deployment"
    raise NotPossible(f"{selector!r} {what} in the namespace {api.where.namespace}: it must match one")


async def pods(api: Api, deployment: Object) -> list[Object]:
    """Those that its own selector selects, also while they end."""
    found: list[Object] = (await api.get(pods_path(api), labelSelector=selector_of(deployment)))["items"]
    return found


def selector_of(deployment: Object) -> str:
    """The pods of a Deployment, as a query asks for them. Raises NotPossible for what a query can't say here."""
    selector = deployment["spec"]["selector"]
    if selector.get("matchExpressions"):
        raise NotPossible(
            f"{deployment['metadata']['name']} selects its pods by expressions: only labels are understood"
        )
    return ",".join(f"{name}={value}" for name, value in sorted(selector["matchLabels"].items()))


def is_ready(pod: Object) -> bool:
    """It serves, and has not been told to end."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions") or []}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def is_through(deployment: Object) -> bool:
    """All its pods are of its newest template, and are available."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return seen and counts == [wanted] * len(counts)


def lacks(pod: Object) -> str:
    """What it waits for that does not come by waiting; nothing for one that is just being started."""
    for told in pod["status"].get("containerStatuses") or []:
        for kind in ("waiting", "terminated"):
            state = told["state"].get(kind)
            if state and state.get("reason") not in COMES:
                return f"{state.get('reason') or kind}: {state.get('message') or 'no more is said'}"[:SHOWN]
    for one in pod["status"].get("conditions") or []:
        if (one["type"], one["status"]) == ("PodScheduled", "False"):
            return f"{one.get('reason', 'it has no node')}: {one.get('message', '')}"[:SHOWN]
    return ""


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector selects what has these labels; none selects nothing."""
    if selector is None:
        return False
    wanted = (selector.get("matchLabels") or {}).items()
    return wanted <= labels.items() and all(_meets(one, labels) for one in selector.get("matchExpressions") or [])


def _meets(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise NotPossible(f"a selector says {expression['operator']!r} of {key}: it is not known what that means")
