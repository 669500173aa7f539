"""The kinds of platforms: those that are built in, and those that other distributions bring (docs/adapters.md).

One is brought by an entry point of the group `chaosreprise.platforms`: its name is the kind, its value a module that has
`adapter(platform, run)`. What is built in can't be replaced so. What is installed is looked at only for a kind that is not
built in, since that takes a while.
"""

import importlib
from typing import TYPE_CHECKING, Any

from chaosreprise.errors import BadInput, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "chaosreprise.platforms"
BUILT_IN = ("streamspace", "sandbox")  # the embedded platform can be each of these
EMBEDDED = "embedded"


def check(setting: str, kind: str, *besides: str) -> None:
    """Raises BadInput for a kind that nobody brings; `besides`: what else may stand there."""
    known = (*besides, *BUILT_IN)
    if kind not in known:
        brought = sorted({entry.name for entry in _brought()} - {EMBEDDED})
        if kind not in brought:
            known = tuple(dict.fromkeys([*known, *brought]))
            raise BadInput(
                f"{setting} = {shown(kind)}: expected one of {', '.join(known)}, or install the distribution that brings it"
            )


def module_of(kind: str) -> Any:
    """What makes the adapters of a kind: `.adapter(platform, run)`. Raises BadInput when it is not there or can't be used."""
    if kind in BUILT_IN:
        return importlib.import_module(f"chaosreprise.platform.{kind}")
    check("kind", kind)
    found = {entry.value: entry for entry in _brought() if entry.name == kind}
    if len(found) > 1:
        raise BadInput(f"kind = {shown(kind)}: {' and '.join(map(_of, found.values()))} both bring it: uninstall one")
    (entry,) = found.values()
    try:
        module = entry.load()
    except Exception as error:  # whatever somebody else's module stumbles over
        raise BadInput(
            f"kind = {shown(kind)}: its adapter, {_of(entry)}, can't be imported ({error!r}): mend that distribution"
        ) from error
    if not callable(getattr(module, "adapter", None)):
        raise BadInput(
            f"kind = {shown(kind)}: {_of(entry)} has no function adapter(platform, run): mend that distribution"
        )
    return module


def _brought() -> list["EntryPoint"]:
    from importlib import metadata  # noqa: PLC0415

    return list(metadata.entry_points(group=GROUP))


def _of(entry: "EntryPoint") -> str:
    return f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown distribution'}"
