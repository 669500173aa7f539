"""Undo by mark: what bears the mark of a fault for longer than its lease, whatever has become of the run that made it.

How old a mark is, nobody's clock is trusted with: whoever looks again and again counts from when it first saw it, and the API server
has stamped when it was written (`managedFields`; where an object has none, the mark says what time the server had), which is compared with
the server's own time. The older one of both counts, and neither is ever older than the mark: so nothing is undone early, and a reaper that was
started anew is not late.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from chaosreprise.errors import NotAllowed, NotPossible, RepriseError
from chaosreprise.kubernetes import marks
from chaosreprise.kubernetes.api import Api, Conflict, Missing, Right

TICK_S = 1.0  # both times of the server are whole seconds
NODES = "/api/v1/nodes"
MARKED = ("apps/deployments", "/services", "networking.k8s.io/networkpolicies", "/nodes")
"""What a fault may bear its mark on, as group/resource."""
RIGHTS = (
    *(Right("list", *one.split("/")) for one in MARKED),
    Right("patch", "apps", "deployments"),
    Right("patch", "", "services"),
    Right("delete", "networking.k8s.io", "networkpolicies"),
    Right("patch", "", "nodes"),
)
First = dict[tuple[str, str], float]
"""When a mark on an object, by its uid, was seen for the first time, by the clock of who looks."""


class Reaped(msgspec.Struct, frozen=True):
    """An object whose fault has outlived its lease, and what became of it. What is not `well` is tried again at the next look."""

    what: str
    mark: str
    age_s: float
    say: str
    well: bool = True

    def __str__(self) -> str:
        return f"{self.what}: fault {self.mark} was left, {self.age_s:.0f} s old -> {self.say}"


class _Marked(NamedTuple):
    what: str
    path: str
    found: marks.Object
    server_s: float
    """The server's time of the look."""


async def reap(api: Api, now: float, first: First | None = None) -> list[Reaped]:
    """Undo what is older than its lease, in the namespace and, where we may, on nodes. What is gone or changes meanwhile is left to the next look.

    `now`: seconds of a clock that never goes back; who looks again gives the same `first`, which is kept here. Raises Unreachable.
    """
    first = {} if first is None else first
    there: set[tuple[str, str]] = set()
    reaped = []
    async for one in _all_marked(api):
        try:
            undo = marks.of(one.found)
        except NotPossible as error:
            reaped.append(Reaped(one.what, "?", 0.0, str(error), well=False))
            continue
        if undo is None:
            continue
        key = one.found["metadata"]["uid"], undo.mark
        there.add(key)
        age = max(now - first.setdefault(key, now), one.server_s - _written(one.found, undo, one.server_s) - TICK_S)
        if age >= undo.lease_s:
            with contextlib.suppress(Missing, Conflict):
                reaped.append(await _undone(api, one, undo, age))
    for gone in first.keys() - there:
        del first[gone]
    return reaped


async def _undone(api: Api, one: _Marked, undo: marks.Undo, age: float) -> Reaped:
    try:
        still = await marks.take_off(api, one.path, one.found, undo)
    except (Missing, Conflict):
        raise
    except RepriseError as error:
        return Reaped(one.what, undo.mark, age, f"NOT undone: {error}", well=False)
    return Reaped(one.what, undo.mark, age, "undone" if still else "somebody else had undone it: its mark is taken off")


async def _all_marked(api: Api) -> AsyncIterator[_Marked]:
    """All that could bear a mark, but what we may not list."""
    for one in MARKED:
        group, resource = one.split("/")
        path = collection(api, group, resource)
        with contextlib.suppress(NotAllowed):
            listed, server_s = await api.get_at(path)
            for found in listed["items"]:
                name = found["metadata"]["name"]
                if marks.ANNOTATION in (found["metadata"].get("annotations") or {}):
                    yield _Marked(f"{resource}/{name}", f"{path}/{name}", found, server_s)


def collection(api: Api, group: str, resource: str) -> str:
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return NODES if resource == "nodes" else f"{root}/namespaces/{api.where.namespace}/{resource}"


def _written(found: marks.Object, undo: marks.Undo, at_most: float) -> float:
    """When the server took what was written last to the mark, or what it says of that; what is not told is taken for just now."""
    owned = (one for one in found["metadata"].get("managedFields") or [] if _owns_mark(one))
    times = [datetime.fromisoformat(one["time"]).timestamp() for one in owned if one.get("time")]
    return min(max(times, default=undo.since or at_most), at_most)


def _owns_mark(entry: marks.Object) -> bool:
    fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
    return f"f:{marks.ANNOTATION}" in (fields.get("f:annotations") or {})
