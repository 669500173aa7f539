"""What stays of a run on a sandbox: nothing deletes a workspace, and an interpreter may go on though its session has ended."""

from collections.abc import Collection, Iterable

from chaosreprise.platform import interpreters
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.platform.made import Known
from chaosreprise.procs import Incarnation

WORDS = len(Incarnation._fields)  # of a process of this machine: a pod has other ones


def left(platform: Platform, known: Known, components: Iterable[Component]) -> list[str]:
    """A few words each."""
    found = []
    if known.left:
        found.append(f"{len(known.left)} sessions that could not be ended, such as {known.left[0]}")
    if known.nameless:
        found.append(f"perhaps {known.nameless} sessions that nobody can name, since their creates had no clear answer")
    if alive := lingering(platform, known.made, components):
        found.append(f"{len(alive)} interpreters that still run, such as that of {alive[0]}")
    for entry in platform.file.evidence.values():
        root = platform.folder / (entry.path or "")
        if entry.kind == "files" and (kept := sum((root / name).is_dir() for name in known.made)):
            found.append(f"{kept} workspaces in {root}")
    return found


def lingering(platform: Platform, sessions: Collection[str], components: Iterable[Component]) -> list[str]:
    """Those of these sessions whose interpreter runs."""
    inc = {one.name: Incarnation(*one.inc) for one in components if one.inc and len(one.inc) == WORDS}
    return [one.session for one in interpreters.of(platform, inc) if one.session in sessions]
