"""Labs that outlive one run: what `chaos reprise lab up|status|down` says and does."""

import contextlib
from collections.abc import Iterator

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.platform import commands
from chaosreprise.platform.file import KEEPER_FILE, Lab, Platform, load
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper
from chaosreprise.stack.starter import Stack


def describe() -> list[str]:
    """The running labs with the state of each of their parts."""
    lines = []
    for stack in starter.find():
        with Keeper(stack.address) as keeper:
            status = keeper.status()
        lines.append(f"lab {stack.id}   export REPRISE_PLATFORM={stack.platform_file}")
        for component in status.components:
            pid = f"pid {component.inc.pid}" if component.inc else "no process"
            held = f"   held by fault {component.held_by}" if component.held_by else ""
            lines.append(f"  {component.name:<16} {component.state:<9} {pid:<12} restarts {component.restarts}{held}")
        lines += [f"  {link.name:<16} held by fault {link.held_by}" for link in status.links if link.held_by]
        running = sum(len(slot.processes) for slot in status.slots)
        lines.append(
            f"  {'sessions':<16} {running} running, {sum(slot.state == 'down' for slot in status.slots)} hibernated"
        )
    return lines or ["no lab is running: start one with `chaos reprise lab up`"]


@contextlib.contextmanager
def standing(platform: Platform) -> Iterator[Platform]:
    """The platform itself; what a run would start, the embedded one, commands or ports that are forwarded, is started for this and ends with it."""
    embedded = platform.file.kind == "embedded"
    if embedded:
        stack = starter.start(**msgspec.structs.asdict(platform.file.lab or Lab()), owned=True)
    elif platform.commands and not (platform.stack / KEEPER_FILE).exists():
        stack = starter.start_spec(platform.stack, commands.stack(platform), owned=True)
    else:
        with forwarded(platform.cluster, platform.file.forward):
            yield platform
        return
    try:
        yield load(str(stack.platform_file)) if embedded else platform
    finally:
        stack.end()


def end(ids: list[str]) -> list[str]:
    """End these labs, or the only one there is. Returns the ids of what was ended; raises BadInput for an id that is none."""
    running = {stack.id: stack for stack in starter.find()}
    if not ids and len(running) > 1:
        raise BadInput(f"{len(running)} labs are running ({', '.join(running)}): name the ones to end")
    chosen: list[Stack] = []
    for name in ids or running:
        if name not in running:
            raise BadInput(f"lab {name}: not running (running are: {', '.join(running) or 'none'})")
        chosen.append(running[name])
    for stack in chosen:
        stack.end()
    return [stack.id for stack in chosen]
