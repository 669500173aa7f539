"""Slots as Deployments: a session is one, and its interpreter is the process of its one pod.

What a keeper keeps of a slot stands on the object, as an annotation. `gen` is the object's resourceVersion, so that comparing and
setting is one call. What is gone is not there: a stop that comes again has nothing to end. A pod that ends keeps its
session's home for a moment more, so no other one is asked for before it is gone.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable
from typing import Any, Self

import msgspec

from chaosreprise.kubernetes import api, deployments
from chaosreprise.kubernetes.where import Where
from chaosreprise.lab import session
from chaosreprise.procs import Incarnation
from chaosreprise.stack.client import Conflict
from chaosreprise.stack.protocol import ANEW, Process, Slot

LABEL, KIND = "session", {"app": "streamspace-session"}
KEPT = "chaosreprise/slot"
VOLUME = "lab"
SESSION_PORT = 8700
LOOK_EVERY_S = 0.5
HARDENED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


class Kept(msgspec.Struct):
    """What stands on a Deployment of a session."""

    note: Any
    spec: dict[str, Any]
    token: str
    workspace: str
    limits: dict[str, int]


class Deployed:
    """`like`: the pod that we run in, whose image, volume and user the sessions have."""

    def __init__(self, to: api.Api, like: deployments.Object) -> None:
        self._api, self._like = to, like

    @classmethod
    async def to(cls, namespace: str) -> Self:
        found = await api.Api.to(Where(namespace=namespace))
        return cls(found, await found.get(deployments.pods_path(found, os.environ["HOSTNAME"])))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, slot: str) -> Slot | None:
        try:
            found = await self._api.get(deployments.path(self._api, slot))
        except api.Missing:
            return None
        made = await self._slot(found)
        if made.state == "up" and not made.processes:
            await asyncio.sleep(
                LOOK_EVERY_S
            )  # who asks again and again, for each of many sessions, is a load on the server
        return made

    async def make(
        self, slot: str, gen: int, note: Any = None, spec: Any = None, limits: dict[str, int] | None = None
    ) -> Slot:
        kept = Kept(note, spec, secrets.token_hex(16), slot, limits or {})
        labels = KIND | {LABEL: slot}
        body = {
            "metadata": {"name": slot, "labels": labels, "annotations": _annotation(kept)},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {LABEL: slot}},
                "template": {"metadata": {"labels": labels}, "spec": self._pod(kept)},
            },
        }
        del gen  # a name that is taken is refused
        return await self._slot(await self._changed(slot, self._api.post(deployments.path(self._api), body)))

    async def up(self, slot: str, gen: int, note: Any = None, anew: bool = False) -> Slot:
        await self._until_gone(slot)
        kept = await self._kept(slot, note)
        if anew:
            kept.workspace = f"{slot}{ANEW}{gen}"
        return await self._set(slot, gen, kept, {"replicas": 1, "template": {"spec": self._pod(kept)}})

    async def down(self, slot: str, gen: int, note: Any = None) -> Slot:
        made = await self._set(slot, gen, await self._kept(slot, note), {"replicas": 0})
        await self._until_gone(slot)
        return made

    async def gone(self, slot: str, gen: int, note: Any = None) -> Slot:
        kept = await self._kept(slot, note)
        body = {"propagationPolicy": "Background", "preconditions": {"resourceVersion": str(gen)}}
        await self._changed(slot, self._api.delete(deployments.path(self._api, slot), body))
        await self._until_gone(slot)
        return _slot_of(slot, gen, "gone", kept, [])

    async def _kept(self, slot: str, note: Any) -> Kept:
        try:
            found = await self._api.get(deployments.path(self._api, slot))
        except api.Missing as error:
            raise Conflict(f"{slot} is gone", slot=None) from error
        return msgspec.structs.replace(_kept_of(found), note=note)

    async def _set(self, slot: str, gen: int, kept: Kept, spec: dict[str, Any]) -> Slot:
        metadata = {"resourceVersion": str(gen), "annotations": _annotation(kept)}
        change = self._api.patch(deployments.path(self._api, slot), {"metadata": metadata, "spec": spec})
        return await self._slot(await self._changed(slot, change))

    async def _changed(self, slot: str, change: Awaitable[deployments.Object]) -> deployments.Object:
        """Its answer. Raises the Conflict of slots, with what is there instead."""
        try:
            return await change
        except (api.Conflict, api.Missing) as error:
            raise Conflict(str(error), slot=await self.get(slot)) from error

    async def _slot(self, found: deployments.Object) -> Slot:
        name, kept = found["metadata"]["name"], _kept_of(found)
        running = [
            Process(inc=Incarnation(one["metadata"]["uid"], 0, 0, 0), port=SESSION_PORT, host=one["status"]["podIP"])
            for one in await self._pods(name)
            if "deletionTimestamp" not in one["metadata"] and one["status"].get("podIP")
        ]
        state = "up" if found["spec"]["replicas"] else "down"
        return _slot_of(name, int(found["metadata"]["resourceVersion"]), state, kept, running)

    async def _pods(self, slot: str) -> list[deployments.Object]:
        found: list[deployments.Object] = (
            await self._api.get(deployments.pods_path(self._api), labelSelector=f"{LABEL}={slot}")
        )["items"]
        return found

    async def _until_gone(self, slot: str) -> None:
        while await self._pods(slot):
            await asyncio.sleep(LOOK_EVERY_S)

    def _pod(self, kept: Kept) -> dict[str, Any]:
        like = self._like["spec"]
        home = {"name": VOLUME, "mountPath": "/home/session", "subPath": f"workspaces/{kept.workspace}"}
        env = {session.TOKEN: kept.token, session.PORT: str(SESSION_PORT)}
        return {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "shareProcessNamespace": True,  # an interpreter that is no process 1 ends when it is told to
            "terminationGracePeriodSeconds": 1,
            "securityContext": like["securityContext"],
            "volumes": [one for one in like["volumes"] if one["name"] == VOLUME],
            "containers": [
                {
                    "name": "interpreter",
                    "image": like["containers"][0]["image"],
                    "imagePullPolicy": like["containers"][0]["imagePullPolicy"],
                    "command": ["python3", "-I", "-S", session.__file__],
                    "workingDir": "/home/session",
                    "env": [{"name": name, "value": value} for name, value in env.items()],
                    "securityContext": HARDENED,
                    "volumeMounts": [home],
                    "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": _limits(kept)},
                }
            ],
        }


def _limits(kept: Kept) -> dict[str, str]:
    units = {"memory": "", "cpu": "m"}
    return {what: f"{amount}{units[what]}" for what, amount in kept.limits.items()}


def _annotation(kept: Kept) -> dict[str, str]:
    return {KEPT: msgspec.json.encode(kept).decode()}


def _kept_of(found: deployments.Object) -> Kept:
    return msgspec.json.decode(found["metadata"]["annotations"][KEPT], type=Kept)


def _slot_of(name: str, gen: int, state: Any, kept: Kept, processes: list[Process]) -> Slot:
    return Slot(
        slot=name,
        gen=gen,
        state=state,
        note=kept.note,
        spec=kept.spec,
        token=kept.token,
        processes=processes,
        workspace=kept.workspace,
    )
