"""The components of a platform: those whose processes a keeper of ours runs, and those that are pods."""

import socket

from chaosreprise.platform import interpreters, pods
from chaosreprise.platform.adapter import Component
from chaosreprise.platform.file import DESCENDANTS, KUBERNETES, SESSIONS, Platform
from chaosreprise.procs import Incarnation
from chaosreprise.stack.client import Keeper, read_file


def address(platform: Platform) -> str | None:
    """Of the keeper that runs its processes; None where the platform file names none. Raises Unreachable."""
    file = next(iter(platform.keepers.values()), None)
    return None if file is None else read_file(file).socket


def components(platform: Platform) -> list[Component]:
    """What the platform file names under `components`: each with its incarnation, or with the reason why it has no handle."""
    found, keepers = pods.components(platform), platform.keepers
    for name, how in platform.file.components.items():
        group = name.partition("/")[0]
        if name in keepers:
            with Keeper(read_file(keepers[name]).socket) as keeper:
                found += _sessions(keeper) if name == SESSIONS else _of(keeper, name)
        elif how.how == KUBERNETES:
            continue
        elif how.admin is not None:
            found.append(
                Component(name=name, group=group)
            )  # by SQL; a fault on its process is refused by whoever plans it
        elif how.how != DESCENDANTS:
            found.append(Component(name=name, group=group, reason=f'components.{name}.how = "{how.how}"'))
    return found + _interpreters(platform, found) if interpreters.are_meant(platform) else found


def identity(platform: Platform) -> dict[str, str]:
    """This machine, since a keeper's processes are local, and the stack's own id; what its cluster says; empty where it has neither."""
    files = {*platform.keepers.values()}
    if not files:
        return pods.identity(platform)
    stacks = set()
    for file in files:
        with Keeper(read_file(file).socket) as keeper:
            stacks.add(keeper.status().stack or "")
    return {"host": socket.gethostname(), "stack": " and ".join(sorted(stacks))} | pods.identity(platform)


def _of(keeper: Keeper, name: str) -> list[Component]:
    return [
        Component(name=one.name, group=name.partition("/")[0], inc=list(one.inc) if one.inc else None, state=one.state)
        for one in keeper.status().components
        if one.name == name or one.name.startswith(f"{name}/")
    ]


def _interpreters(platform: Platform, components: list[Component]) -> list[Component]:
    hosts = {one.name: Incarnation(*one.inc) for one in components if one.inc}
    return [
        Component(name=f"{SESSIONS}/{one.session}", group=SESSIONS, inc=list(one.inc))
        for one in interpreters.of(platform, hosts)
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
