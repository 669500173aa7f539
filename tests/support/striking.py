"""Faults that stand on objects of a cluster, made without the rest of a run; as a program, by a process that holds them.

`python striking.py NAMESPACE KUBECONFIG LEASE_S KIND...` says `made`; for each line that it reads it undoes all and says who had. In a pod KUBECONFIG
is empty; with `eat` as a kind it takes all the memory that there is once the others are made, with `late` it undoes them once their lease is over.
"""

import asyncio
import json
import sys
from typing import Any

from chaosreprise.clock import SECOND, boottime
from chaosreprise.faults import on_pods, registry
from chaosreprise.faults.deployed import Deployed
from chaosreprise.faults.kinds.deny_network import Reachable
from chaosreprise.faults.kinds.interpose import Switched
from chaosreprise.faults.on_nodes import OnNode
from chaosreprise.kubernetes import deployments, reaping
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.where import Where

KINDS = ("take_away", "interpose", "deny_network", "drain_node", "taint_node", "rollout_restart")
HOLD_S = 1000.0
Made = tuple[on_pods.Changes[Any], str, Any]
"""A fault, its mark, what was planned."""


def node_of(namespace: str, kind: str) -> str:
    return f"{namespace}-{kind.partition('_')[0]}"


async def planned(api: Api, kind: str, namespace: str) -> Made:
    """For a Deployment (`k1`, to be restarted `k2`), the Service `s1` and a node, as a plan would find them; of pods nothing is asked."""
    name = "k2" if kind == "rollout_restart" else "k1"
    found = await api.get(deployments.path(api, name))
    base: dict[str, Any] = {"where": api.where, "component": f"agents/{name}", "deployment": name, "pods": {}}
    base |= {"uid": found["metadata"]["uid"], "replicas": found["spec"]["replicas"]}
    fault = on_pods.Scale() if kind == "take_away" else registry.get(f"agents.{kind}")
    assert isinstance(fault, on_pods.Changes)
    if kind == "interpose":
        service = await api.get(f"{reaping.collection(api, '', 'services')}/s1")
        known = {"service": "s1", "service_uid": service["metadata"]["uid"], "selector": service["spec"]["selector"]}
        return fault, f"r1/{kind}", Switched(**base, **known, proxy={"session": "k2"})
    if kind == "deny_network":
        return fault, f"r1/{kind}", Reachable(**base, addresses=[], port=1)
    if kind == "take_away":
        return fault, f"r1/{kind}", Deployed(**base)
    if kind == "rollout_restart":
        return fault, f"r1/{kind}", Deployed(**base | {"pods": {"k2-1": "told to end by now"}})
    named = node_of(namespace, kind)
    uid = (await api.get(f"{reaping.NODES}/{named}"))["metadata"]["uid"]
    return fault, f"r1/{kind}", OnNode(**base, node=named, node_uid=uid, leaving={})


async def strike(api: Api, made: Made, lease_s: float) -> None:
    fault, mark, plan = made
    await fault.strike(api, mark, plan, boottime() + int(lease_s * SECOND))


async def undo(api: Api, made: Made) -> str | None:
    """What is on the object; not whether pods serve again."""
    fault, mark, plan = made
    return await on_pods.Changes.restore(fault, api, mark, plan)


async def main(namespace: str, kubeconfig: str, lease_s: str, *kinds: str) -> None:
    async with await Api.to(Where(namespace=namespace, kubeconfig=kubeconfig or None)) as api:
        made = [await planned(api, kind, namespace) for kind in kinds if kind in KINDS]
        for one in made:
            await strike(api, one, float(lease_s))
        print("made", flush=True)
        over = boottime() + int(float(lease_s) * SECOND)
        while "late" in kinds and boottime() < over:
            await asyncio.sleep(0.1)
        if "late" in kinds:
            print(json.dumps([await undo(api, one) for one in made]), flush=True)
        if "eat" in kinds:
            eaten = []
            while True:
                eaten.append(b"x" * (16 << 20))
                await asyncio.sleep(0.05)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps([await undo(api, one) for one in made]), flush=True)
        await asyncio.sleep(HOLD_S)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
