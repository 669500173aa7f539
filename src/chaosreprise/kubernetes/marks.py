"""What a fault writes on an object of a cluster that it changes or makes: how that is undone, and how long it may last.

It is an annotation, `chaosreprise/undo`, set by the same patch as the fault: {mark, lease_s, since, made, before}, the latter two merge patches.
So whoever may patch the object can undo it, whatever has become of the run, and nothing but what still is as the fault had made it.
Without `before` the object as a whole is the fault: undone it is by being deleted. What a Deployment does once (`once`) is left as it is when that is
through: only what is stuck is taken back.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.kubernetes import deployments
from chaosreprise.kubernetes.api import Api, Conflict

ANNOTATION = "chaosreprise/undo"
Object = dict[str, Any]


class Unheard(Unreachable):
    """The object was to be changed, and whether it is nobody knows: no answer came."""


class Undo(msgspec.Struct, frozen=True, omit_defaults=True):
    """`mark` is that of the fault, which has ended `lease_s` seconds after it was made. `made`: what was set; of a list, what was added.
    `since`: the server's time just before, in seconds since 1970.
    """

    mark: str
    lease_s: float
    made: Object = {}
    before: Object | None = None
    since: float = 0.0
    once: bool = False


def of(found: Object) -> Undo | None:
    """What a fault of ours has left on it. Raises NotPossible for what is none of ours."""
    text = (found["metadata"].get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Undo)
    except msgspec.DecodeError as error:
        raise NotPossible(
            f"{found['metadata']['name']}: its annotation {ANNOTATION} can't be read ({error}): see who wrote it"
        ) from error


def marked(undo: Undo) -> Object:
    """What an object bears that is a fault as a whole."""
    return {ANNOTATION: msgspec.json.encode(undo).decode()}


async def begin(api: Api, path: str, look: Callable[[], Awaitable[Object]], undo: Undo) -> None:
    """The fault and what undoes it, in one patch of an object that `look` finds, and refuses if it is not what it should be."""
    while True:
        found = await look()
        _, since = await api.get_at(path)
        stamped = msgspec.structs.replace(undo, since=since)
        with contextlib.suppress(Conflict):  # its status may just have changed
            return await _patch(api, path, found, marked(stamped), _added(found, undo.made))


async def take_off(api: Api, path: str, found: Object, undo: Undo) -> bool:
    """Undo it; whether it still was as the fault had made it. Raises Conflict when the object is another one by now."""
    if undo.before is None:
        metadata = {name: found["metadata"][name] for name in ("uid", "resourceVersion")}
        with _heard():
            await api.delete(path, {"preconditions": metadata})
        return True
    still = _has(found, undo.made)
    back = still and not (undo.once and deployments.is_through(found))
    await _patch(api, path, found, {ANNOTATION: None}, _restored(found, undo.made, undo.before) if back else {})
    return still


async def end(
    api: Api, path: str, look: Callable[[], Awaitable[Object | None]], mark: str, outrun: bool = False
) -> bool | None:
    """Undo what bears this mark, whatever else changes meanwhile; whether it still was as made, None when nothing bears it.

    `outrun`: the patch that makes it may still be on its way. What it is for is changed first, so that it comes too late.
    """
    while True:
        found = await look()
        undo = of(found) if found is not None else None
        with contextlib.suppress(Conflict):
            if found is not None and undo is not None and undo.mark == mark:
                return await take_off(api, path, found, undo)
            if found is None or undo is not None or not outrun:
                return None
            await _patch(api, path, found, marked(Undo(mark, 0.0, {}, {})), {})


async def _patch(api: Api, path: str, found: Object, annotations: Object, body: Object) -> None:
    metadata = {"resourceVersion": found["metadata"]["resourceVersion"], "annotations": annotations}
    with _heard():
        await api.patch(path, body | {"metadata": metadata})


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise Unheard(str(error)) from error


def _has(now: Any, made: Any) -> bool:
    """Whether a merge patch would change nothing; of a list, whether everything that was added is in it."""
    if isinstance(made, dict):
        return isinstance(now, dict) and all(_has(now.get(name), value) for name, value in made.items())
    if isinstance(made, list):
        return all(any(_has(one, added) for one in now or []) for added in made)
    return bool(now == made)


def _added(now: Any, made: Any) -> Any:
    if isinstance(made, dict):
        return {name: _added((now or {}).get(name), value) for name, value in made.items()}
    return [*(now or []), *made] if isinstance(made, list) else made


def _restored(now: Any, made: Any, before: Any) -> Any:
    """As it was before; of a list, without what was added, and with what others have added since."""
    if isinstance(made, dict):
        return {
            name: _restored(now[name] if made[name] is not None else None, made[name], (before or {}).get(name))
            for name in made
        }
    if isinstance(made, list):
        return [one for one in now if not any(_has(one, added) for added in made)]
    return before
