"""The processes of StreamSpace's sessions on Kubernetes: each life of the first container of their pods, from what pods say.

What a pod says of its containers is the word of the kubelet of its node: it comes late, and not at all from a node that is lost. So a life
began after its pod was bound to a node, and at the latest when that was told. When it ended is known by the node's own clock, in whole
seconds: by how much that is ahead of ours shows in all that it has told (`Ahead`). Until when a process surely lived is not known any more
from the moment on in which its pod was told to end, or its node was missed, until the end is told: a gap of that pod alone.

An effect's generation is the resourceVersion after which it happened, or before which it had: an order where intervals overlap.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from chaosreprise.clock import SECOND
from chaosreprise.history import Coverage, Effect, Timed
from chaosreprise.history.events import Mark, Resource
from chaosreprise.kubernetes.watching import Change, Object

LEDGER = "pods"
FIRST: Mark = "up"
AGAIN: Mark = "back"
DRIFT = SECOND // 10  # between a node's clock and ours, in one run
NOT_FOUND = "ContainerStatusUnknown"  # the kubelet's reason for an end that it did not see
TOLD_TO_END = "its pod was told to end, and nothing says when it did"
DELETED = "its pod is not there any more, and nothing says whether it had ended"
MISSED = "its node was missed, and nothing says whether it goes on"


class Ahead:
    """By how much a node's clock is ahead of ours, in ns, at least and at most."""

    def __init__(self) -> None:
        self.least, self.most = -math.inf, math.inf

    def shown(self, second: int, lo: int, hi: int) -> None:
        """At some moment of [lo, hi] it showed this second."""
        self.least = max(self.least, second - hi - DRIFT)
        self.most = min(self.most, second + SECOND - lo + DRIFT)

    def since(self, second: int) -> int:
        """From when on it can have shown it; nobody knows, of a clock that was set meanwhile."""
        return 0 if self.most == math.inf or self.least > self.most else int(second - self.most)


class Told(NamedTuple):
    """One life, as the kubelet tells it, in seconds of its clock. It runs, has `ended` then, or (0) nobody knows when."""

    container: str
    began: int
    runs: bool
    ended: int = 0


class Pod(msgspec.Struct):
    """What is known of a pod: since when it is bound, since when each of its lives may last, and what is not sure of it.

    `last`: the last end.
    """

    since: int
    revision: int
    lives: dict[str, int] = msgspec.field(default_factory=dict)
    ended: set[str] = msgspec.field(default_factory=set)
    last: Effect | None = None
    doubt: str = ""


class Processes:
    """Makes effects of changes. `label`: that by which a pod says whose session it is."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._pods: dict[str, Pod] = {}
        self._ahead: dict[str, Ahead] = {}

    def told(self, change: Change) -> Iterator[Timed]:
        uid = change.now["metadata"]["uid"]
        if uid not in self._pods and not change.now["spec"].get("nodeName"):
            return  # nothing of it can run
        pod = self._pods.get(uid) or self._pods.setdefault(uid, _met(change))
        runs = False
        for life in _lives(change.now):
            if life.container not in pod.lives:
                yield from self._begin(change, pod, life)
            if life.runs:
                runs = True
            elif life.container not in pod.ended:
                yield self._end(change, pod, life.container, life.ended)
        doubt = _doubt(change) if runs else ""
        if bool(doubt) != bool(pod.doubt):
            of, why = f"{LEDGER}/{_name(change.now)}", doubt or "it is told again"
            yield Coverage(lo=change.lo, hi=change.hi, of=of, on=not doubt, why=why)
        pod.doubt = doubt
        if change.gone:
            del self._pods[uid]

    def _begin(self, change: Change, pod: Pod, life: Told) -> Iterator[Effect]:
        """The first one after the pod was bound, each later one after the end of the one before, whoever told that."""
        for left in pod.lives.keys() - pod.ended:
            yield self._end(change, pod, left, 0)
        lo, revision, mark = pod.since, pod.revision, FIRST
        if pod.last is not None:
            lo, revision, mark = pod.last.lo, pod.last.gen or 0, AGAIN
        elif not pod.lives:
            self._clock(change).shown(life.began, lo, change.hi)
        pod.lives[life.container] = lo
        begun = self._effect(change, mark, life.container, lo, revision)
        begun.limits, begun.homes = _limits(change.now), _homes(change.now)
        yield begun

    def _end(self, change: Change, pod: Pod, container: str, ended: int) -> Effect:
        lo = pod.lives[container]
        if ended:
            clock = self._clock(change)
            clock.shown(ended, lo, change.hi)
            lo = min(max(lo, clock.since(ended)), change.hi)
        mark: Mark = "down" if "deletionTimestamp" in change.now["metadata"] else "crash"
        pod.ended.add(container)
        pod.last = self._effect(change, mark, container, lo, _revision(change.now))
        return pod.last

    def _clock(self, change: Change) -> Ahead:
        return self._ahead.setdefault(change.now["spec"]["nodeName"], Ahead())

    def _effect(self, change: Change, mark: Mark, container: str, lo: int, revision: int) -> Effect:
        metadata = change.now["metadata"]
        return Effect(
            lo=lo,
            hi=change.hi,
            ledger=LEDGER,
            object=_name(change.now),
            session=metadata["labels"].get(self._label),
            mark=mark,
            gen=revision,
            inc=[metadata["uid"], container],
        )


def _met(change: Change) -> Pod:
    """A pod at its first change. What ran in it before we looked is none of ours."""
    if change.before is None or not change.before["spec"].get("nodeName"):
        return Pod(change.lo, _revision(change.now))
    before = list(_lives(change.before))
    return Pod(0, 0, {life.container: 0 for life in before}, {life.container for life in before if not life.runs})


def _limits(pod: Object) -> dict[Resource, int | None]:
    """Of its first container: what its kubelet says that it has, where that says it, else what it was to have."""
    from kubernetes.utils import parse_quantity  # noqa: PLC0415 - there already, with what has watched it

    container = pod["spec"]["containers"][0]
    statuses = pod["status"].get("containerStatuses") or []
    told = next((one.get("resources") for one in statuses if one["name"] == container["name"]), None)
    limits = (told or container.get("resources") or {}).get("limits") or {}
    units: dict[Resource, int] = {"memory": 1, "cpu": 1000}
    return {what: int(parse_quantity(limits[what]) * unit) if what in limits else None for what, unit in units.items()}


def _homes(pod: Object) -> list[str]:
    """The claims that it has among its volumes."""
    claims = (one.get("persistentVolumeClaim") for one in pod["spec"].get("volumes") or [])
    return sorted(claim["claimName"] for claim in claims if claim)


def _lives(pod: Object) -> Iterator[Told]:
    """Of its first container: the one before, and the last one."""
    name = pod["spec"]["containers"][0]["name"]
    for status in pod["status"].get("containerStatuses") or []:
        for state in (status.get("lastState") or {}, status.get("state") or {}) if status["name"] == name else ():
            if running := state.get("running"):
                yield Told(_id(status), _second(running["startedAt"]), runs=True)
            elif (over := state.get("terminated")) and over.get("containerID") and over.get("startedAt"):
                yield Told(_id(over), _second(over["startedAt"]), runs=False, ended=_ended(over))


def _id(told: Object) -> str:
    """Without the name of the runtime."""
    return str(told["containerID"].rpartition("//")[2])


def _ended(over: Object) -> int:
    return _second(over["finishedAt"]) if over.get("finishedAt") and over.get("reason") != NOT_FOUND else 0


def _doubt(change: Change) -> str:
    """Why it is not sure of a container which is called running that it runs."""
    metadata, status = change.now["metadata"], change.now["status"]
    if change.gone:
        return DELETED
    if "deletionTimestamp" in metadata:
        return TOLD_TO_END
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    ready = all(one.get("ready") for one in status["containerStatuses"])
    return (
        MISSED if ready and conditions.get("Ready") != "True" else ""
    )  # its kubelet says ready, who watches nodes does not


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def _revision(pod: Object) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _name(pod: Object) -> str:
    return f"{pod['metadata']['name']}.{pod['metadata']['uid'][:8]}"
