"""Taint the node of a component (NoExecute), as a cluster does with one that it has lost: all that does not tolerate it must go.

No budget is asked, and the pods of every namespace are hit: `others` must allow for them. It is the way to cut a node off that the API has: its
network, its kubelet and its machine are out of the API's reach, so what runs there is told to end and does so, and its connections live as long as it does.
"""

from chaosreprise.faults import on_nodes
from chaosreprise.kubernetes import deployments, marks
from chaosreprise.kubernetes.api import Api, Right

KEY = "chaosreprise/cut-off"


class Taint(on_nodes.OnNodes):
    everywhere = (*on_nodes.OnNodes.everywhere, Right("list", "", "pods"))
    way_back = "the taint is taken off the node, and its Deployment makes new pods"
    proof = "its pods on the node are not in the API any more"

    async def hit(self, api: Api, node: str) -> list[deployments.Object]:
        found: list[deployments.Object] = (await api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}"))[
            "items"
        ]
        return found

    def undoing(self, node: marks.Object, mark: str, lease_s: float) -> marks.Undo:
        taint = {"key": KEY, "value": mark.replace("/", "."), "effect": "NoExecute"}
        return marks.Undo(mark, lease_s, {"spec": {"taints": [taint]}}, {"spec": {"taints": None}})


FAULT = Taint()
