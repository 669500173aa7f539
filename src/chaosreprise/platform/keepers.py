"""The components of a platform whose processes a keeper of ours runs: agents, sessions, control plane, database."""

import socket

from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import Platform
from chaosreprise.stack.client import Keeper, read_file

SESSIONS = "sessions"


def address(platform: Platform) -> str | None:
    """Of the keeper that runs its processes; None where the platform file names none. Raises Unreachable."""
    for group in platform.file.components.values():
        if group.keeper:
            return read_file(platform.folder / group.keeper).socket
    return None


def components(platform: Platform) -> list[Component]:
    """What the platform file names under `components`: each with its incarnation, or with the reason why it has no handle."""
    found = []
    for group, how in platform.file.components.items():
        if how.admin is not None and how.keeper is None:
            found.append(
                Component(name=group, group=group)
            )  # by SQL; a fault on its process is refused by whoever plans it
        elif how.keeper is None:
            found.append(Component(name=group, group=group, reason=f'components.{group}.how = "{how.how}"'))
        else:
            with Keeper(read_file(platform.folder / how.keeper).socket) as keeper:
                found += _sessions(keeper) if group == SESSIONS else _of(keeper, group)
    return found


def identity(platform: Platform) -> dict[str, str]:
    """This machine, since a keeper's processes are local, and the stack's own id; empty when no keeper is named."""
    files = {how.keeper for how in platform.file.components.values() if how.keeper is not None}
    if not files:
        return {}
    stacks = set()
    for file in files:
        with Keeper(read_file(platform.folder / file).socket) as keeper:
            stacks.add(keeper.status().stack or "")
    return {"host": socket.gethostname(), "stack": " and ".join(sorted(stacks))}


def _of(keeper: Keeper, group: str) -> list[Component]:
    return [
        Component(name=one.name, group=group, inc=list(one.inc) if one.inc else None, state=one.state)
        for one in keeper.status().components
        if one.name == group or one.name.startswith(f"{group}/")
    ]


def _sessions(keeper: Keeper) -> list[Component]:
    return [
        Component(
            name=f"{SESSIONS}/{slot.slot}",
            group=SESSIONS,
            inc=list(slot.processes[-1].inc) if slot.processes else None,
            state=slot.state,
        )
        for slot in keeper.status().slots
        if slot.state != "gone"
    ]
