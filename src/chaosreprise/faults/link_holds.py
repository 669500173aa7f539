"""The keeper's part in a fault on a link: it holds the link's name, and removes the toxics when everybody else is dead.

Where a platform has no keeper, the fault lives in its ledger and in the names of its toxics alone.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from chaosreprise.errors import BadInput, NotPossible, Unreachable
from chaosreprise.faults import toxics
from chaosreprise.faults.base import Context
from chaosreprise.faults.local import AGAIN_S, BACK_S, keeper_if_any
from chaosreprise.faults.wires import Meter
from chaosreprise.platform.links import GROUP, OF_AGENTS
from chaosreprise.procs import Incarnation
from chaosreprise.stack import mends
from chaosreprise.stack.client import AsyncKeeper, Conflict
from chaosreprise.stack.protocol import Component, LastHold

if TYPE_CHECKING:
    from chaosreprise.faults.on_link import Hit

CARRIERS = ("toxiproxy", "links")  # components of a stack that carry its links, the first of them that it has
CONTROL = "control-plane"


async def hold(context: Context, mark: str, hit: "Hit", lease_end: int) -> None:
    """The keeper knows of the fault from here on. Raises NotPossible when the proxy changed after it was planned."""
    async with keeper_if_any(context) as connected:
        if connected is None or hit.inc is None:
            return
        places, begin = [door.place for door in hit.doors], toxics.prefix(mark)
        removed = [mends.Toxics(place.admin, place.proxy, begin, place.token_file) for place in places]
        how = {"owners": context.owners, "lease_end": lease_end, "down": False, "mends": removed}
        try:
            await connected.hold(hit.component, hit.inc, mark, **how)  # type: ignore[arg-type]
        except Conflict as error:
            raise NotPossible(f"{error}: it changed after it was planned, so nothing was done") from error


async def release(connected: AsyncKeeper | None, hit: "Hit", mark: str) -> LastHold | None:
    """The hold that ended last, if the keeper has holds for links."""
    if connected is None or hit.inc is None:
        return None
    with contextlib.suppress(BadInput):
        return (await connected.release(hit.component, mark)).last_hold
    return None


async def until_back(connected: AsyncKeeper | None, hit: "Hit") -> None:
    """An agent that lives is connected again, if there is somebody to connect to. Raises Unreachable when it is not in time."""
    if connected is None or not hit.component.startswith(OF_AGENTS):
        return
    agent = hit.component.removeprefix(f"{GROUP}/")
    until = time.monotonic() + BACK_S
    while not (await asyncio.to_thread(Meter, hit.wires)).clients:
        if not _could_connect((await connected.status()).components, agent):
            return
        if time.monotonic() > until:
            raise Unreachable(f"{agent} has not connected by {hit.component} again after {BACK_S:g} s")
        await asyncio.sleep(AGAIN_S)


def _could_connect(components: list[Component], agent: str) -> bool:
    """Whether both ends live and no other fault is on them."""
    whole = {one.name for one in components if one.inc and not one.held_by}
    control = {one.name for one in components if one.name.partition("/")[0] == CONTROL}
    return agent in whole and (not control or bool(control & whole))


async def carrier(context: Context) -> Incarnation | None:
    """The process that a hold on a link names: the one of the stack that carries its toxics."""
    async with keeper_if_any(context) as connected:
        components = {one.name: one for one in (await connected.status()).components} if connected else {}
    return next((components[name].inc for name in CARRIERS if name in components), None)
