"""What faults on a link share: the link found, its toxics added and removed, the keeper told, whole again.

How a fault is seen to bite is `passing`; how toxics are marked is `toxics`. A server that restarted has lost its proxies, its
toxics, or both: undoing puts back the proxy as it was when the fault was planned, and says that the fault had ended
before its time.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.faults import base, local, passing, toxics, wires
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.link_holds import carrier, hold, release, until_back
from chaosreprise.faults.toxics import Door
from chaosreprise.faults.wires import DOWNSTREAM, STREAMS, UPSTREAM, Meter, Pair, Wire
from chaosreprise.platform.links import GROUP, OF_AGENTS, LinkAt, Place
from chaosreprise.procs import Incarnation
from chaosreprise.settings import convert
from chaosreprise.stack.client import AsyncKeeper

SERVER = "server"
"""Who undid a fault when its server had lost it."""
DIAL_IN = (OF_AGENTS, f"{GROUP}/clients")  # links whose named end is the one that connects


class Arguments(base.Arguments, frozen=True):
    direction: Annotated[
        Literal["both", "to", "from"],
        msgspec.Meta(
            title="which bytes are hit: those to what the link leads to, those from there, or both",
            description="one of both, to, from",
        ),
    ] = "both"
    connections: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=10_000,
            title="how many of the connections that are there are hit, the busiest first; 0: all, also those made later",
            description="a whole number from 0 to 10000; more than 0 needs a proxy of ours (links.NAME.taps)",
        ),
    ] = 0


class Hit(msgspec.Struct, kw_only=True):
    """A link as it was planned. `doors` are the proxies that are changed, `fronts` are where its clients connect to. `only`: the
    clients that are hit; empty: all of them.
    """

    component: str
    doors: list[Door]
    fronts: list[str]
    wires: list[Wire]
    streams: list[str]
    clients: int
    pairs: list[Pair]
    inc: Incarnation | None = None
    only: list[str] = []
    undo_s: float = toxics.REMOVAL_S + local.BACK_S + 5

    @property
    def spared(self) -> int:
        """How many connections it passes by; who reconnects is one of them, but an agent has no other way."""
        if not self.only:
            return 0
        return self.clients - len(self.only) + (not self.component.startswith(OF_AGENTS))


class Made:
    """A fault that this process makes. `meter` counts from just before, `clients` were connected to the fronts then."""

    def __init__(self, hit: Hit) -> None:
        self.hit = hit
        self.fronts = [wires.address(front) for front in hit.fronts]
        self.clients = passing.connected(self.fronts)
        self.meter = Meter(hit.wires, hit.pairs, only=bool(hit.only))


class OnLink:
    """The base of faults on a link: a toxic on each stream that is meant."""

    groups: tuple[str, ...] = (GROUP,)
    needs = "a link of the platform file (links.NAME) through a Toxiproxy, ours or a real one, on this machine"
    way_back = "its toxics are removed"
    proof = ""
    momentary = False
    undo_s = toxics.REMOVAL_S + local.BACK_S + 5
    arguments: type[base.Arguments] = Arguments
    from_the_front = False
    """Whether all proxies of the link are changed, the one that its clients connect to first."""
    on_taps = False
    """Whether only those of ours that read along are."""

    def __init__(self) -> None:
        self._made: dict[str, Made] = {}

    def toxic(self, target: Target) -> dict[str, Any]:
        """`type` and `attributes` of the toxic, the same for each stream."""
        raise NotImplementedError

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        """Wait until it is seen to bite; what was seen. Raises NotProven."""
        raise NotImplementedError

    def asks(self, group: str) -> tuple[str, ...]:
        return () if group == GROUP else (f"{GROUP}.{group}",)

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        if args and not self.arguments.__struct_fields__:
            raise BadInput(f"{', '.join(args)}: this fault takes no arguments: leave them out")
        given = convert("fault", args, self.arguments)
        direction, connections = getattr(given, "direction", "both"), getattr(given, "connections", 0)
        hit = await plan(context, on, direction, self.from_the_front, connections, self.on_taps)
        return local.target(given) | local.target(hit)

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        hit = msgspec.convert(target, Hit)
        await hold(context, mark, hit, lease_end)
        made = self._made[mark] = Made(hit)
        await to_the_end(self.strike, hit, mark, target, lease_end)
        made.meter.look()
        made.meter.mark = len(made.meter.looks) - 1

    def strike(self, hit: Hit, mark: str, target: Target, lease_end: int) -> None:
        """In a thread, since it waits for a server's answers."""
        wanted = self.toxic(target) | ({"clients": hit.only} if hit.only else {})
        for door in hit.doors:
            toxics.add(door, mark, lease_end, hit.streams, wanted)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        hit = msgspec.convert(target, Hit)
        seen = await self.see(target, self._made[mark])
        async with local.keeper_if_any(context) as connected:
            await passing.check_ways_around(connected, hit.component, hit.fronts)
        spared = {"spared": hit.spared} if hit.spared else {}
        return {"direction": target.get("direction", "both")} | spared | seen

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        hit = msgspec.convert(target, Hit)
        made = self._made.pop(mark, None)
        async with local.keeper_if_any(context) as connected:
            there = [await _remove(connected, door, mark, hit.undo_s) for door in hit.doors]
            by = local.by_whom(mark, await release(connected, hit, mark))
            await until_back(connected, hit)
        return SERVER if by is None and made is not None and not all(there) else by

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        async with local.keeper_if_any(context) as connected:
            for door in msgspec.convert(target, Hit).doors:
                await local.patiently(connected, asyncio.to_thread, toxics.check_whole, door, mark)


async def plan(
    context: Context,
    on: str,
    direction: str,
    from_the_front: bool = False,
    connections: int = 0,
    on_taps: bool = False,
) -> Hit:
    """The link as it is now, free of faults. Changes nothing. Raises NotPossible or Unreachable."""
    link = the_link(context, on)
    places = _of_ours(link) if connections or on_taps else link.toxics
    doors = [await asyncio.to_thread(toxics.door, place) for place in places]
    fronts = [await asyncio.to_thread(toxics.door, place) for place in link.fronts]
    found = [await asyncio.to_thread(_wire, door) for door in doors]
    meter = Meter(found)
    await meter.pair(connections)
    if link.name.startswith(OF_AGENTS) and not meter.clients and not context.later:
        raise NotPossible(f"{on}: nobody is connected by it: that it is broken could not be proven")
    pairs = meter.busiest(connections) if connections else meter.pairs
    if len(pairs) < connections:
        raise NotPossible(f"{on}: connections = {connections}: {len(pairs)} are there that can be told from all others")
    way, real = streams(link.name, direction), places != link.taps
    removal_s = toxics.removal_s(len(way), len(meter.clients)) if real else toxics.REMOVAL_S
    return Hit(
        component=link.name,
        doors=list(dict.fromkeys([*fronts, *doors])) if from_the_front else doors,
        fronts=[front.listen for front in fronts],
        wires=found,
        streams=way,
        undo_s=removal_s + local.BACK_S + 5,
        clients=len(meter.clients),
        pairs=pairs,
        inc=await carrier(context),
        only=[wires.readable(near[1]) for nears, _ in pairs for near in nears] if connections else [],
    )


def _wire(door: Door) -> Wire:
    return wires.wire(door.listen, door.upstream, toxics.beside(door))


def _of_ours(link: LinkAt) -> list[Place]:
    if link.taps is None:
        raise NotPossible(f"{link.name} has no `taps`: only a proxy of ours tells its connections and messages apart")
    return link.taps


def the_link(context: Context, on: str) -> LinkAt:
    """A link by its name; of another component the link to it. Raises NotPossible."""
    name = on if on.startswith(f"{GROUP}/") else f"{GROUP}/{on}"
    if (link := context.links.get(name)) is None:
        raise NotPossible(f"{name} is no link of this platform: expected one of {', '.join(context.links) or 'none'}")
    return link


def streams(on: str, direction: str) -> list[str]:
    """Toxiproxy's names for a direction: what goes upstream leaves the end that connects."""
    if direction == "both":
        return list(STREAMS)
    return [DOWNSTREAM if on.startswith(DIAL_IN) == (direction == "to") else UPSTREAM]


async def to_the_end(work: Callable[..., None], *given: Any) -> None:
    """In a thread that is waited for, also by who is cancelled: what is asked of a server must not come after the undo."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


async def _remove(connected: AsyncKeeper | None, door: Door, mark: str, for_s: float) -> bool:
    return bool(await local.patiently(connected, asyncio.to_thread, toxics.remove, door, mark, set(), for_s=for_s))
