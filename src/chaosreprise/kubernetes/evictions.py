"""Evictions: pods that are asked to go as an operator's drain asks them, which a PodDisruptionBudget may refuse."""

from collections.abc import Iterable
from typing import NamedTuple

from chaosreprise.errors import NotPossible
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right, TooMany

RIGHTS = (Right("create", "", "pods/eviction"), Right("list", "policy", "poddisruptionbudgets"))


class Budget(NamedTuple):
    """As its controller has worked it out, and how many of the pods in question it is about."""

    name: str
    allowed: int
    healthy: int
    needed: int
    pods: int

    def __str__(self) -> str:
        return f"PodDisruptionBudget {self.name}: {self.healthy} healthy, {self.needed} needed, {self.allowed} may be disrupted now"


async def budgets(api: Api, pods: Iterable[deployments.Object]) -> list[Budget]:
    """Those that are about some of these pods."""
    listed = await api.get(f"/apis/policy/v1/namespaces/{api.where.namespace}/poddisruptionbudgets")
    labels = [pod["metadata"].get("labels") or {} for pod in pods]
    found = []
    for one in listed["items"]:
        status = one.get("status") or {}
        about = sum(deployments.selects(one["spec"].get("selector"), of) for of in labels)
        if about:
            allowed, healthy, needed = (
                status.get(name, 0) for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy")
            )
            found.append(Budget(one["metadata"]["name"], allowed, healthy, needed, about))
    return found


async def evict(api: Api, name: str, uid: str) -> bool:
    """Whether it is told to end now; not if a budget forbids it for now. Raises NotPossible when it is another one, or gone."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": api.where.namespace},
        "deleteOptions": {"preconditions": {"uid": uid}},
    }
    try:
        await api.post(f"{deployments.pods_path(api, name)}/eviction", body)
    except TooMany as error:
        if "disruption budget" in str(error):
            return False
        raise
    except (Missing, Conflict) as error:
        raise NotPossible(f"the pod {name} went by itself just before") from error
    return True
