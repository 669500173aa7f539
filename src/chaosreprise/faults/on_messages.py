"""What faults on single messages share: a link that our own proxy reads, its toxics on messages, and what those have hit.

They act where messages can be told from another, so at the link's taps, also where a real Toxiproxy carries the other toxics. What
the proxy counts is what it has done to bytes of connections that were there; a message that nobody sends can't be seen to be hit.
"""

import asyncio
import time
from typing import Annotated, Any, Literal

import msgspec

from chaosreprise.errors import BadInput, NotPossible, NotProven
from chaosreprise.faults import base, passing, toxics, wires
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.on_link import Hit, Made, OnLink
from chaosreprise.faults.toxics import Door

LOOK_EVERY_S = 0.02
READABLE_S = 2.0  # who was cut just now may be connecting again
CLOSED_S = 3.0  # an end may take a second to answer a Close
PROTOCOLS = {"websocket": "WebSocket", "postgres": "connection to PostgreSQL"}

Nth = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=1_000_000,
        title="which of those that match is the first",
        description="a whole number from 1 to 1000000",
    ),
]
Messages = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=1_000_000,
        title="how many are hit from there on; 0 means all",
        description="a whole number from 0 to 1000000",
    ),
]
Match = Annotated[
    dict[str, Any] | None,
    msgspec.Meta(
        title="what a message must have to be meant, of what the taps tell of it (links.md)",
        description='an object such as {"fields": {"type": "command"}}, or nothing',
    ),
]
Direction = Annotated[
    Literal["both", "to", "from"],
    msgspec.Meta(
        title="which messages are meant: those to what the link leads to, those from there, or both, each counted for itself",
        description="one of both, to, from",
    ),
]

Code = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=4999,
        title="the code of the Close; 0: a reset instead",
        description="0, 1000 to 1003, 1007 to 1014 or 3000 to 4999",
    ),
]
Ends = Annotated[
    Literal["both", "to", "from"],
    msgspec.Meta(
        title="who is told: what the link leads to, who is at its other end, or both",
        description="one of both, to, from",
    ),
]


class Arguments(base.Arguments, frozen=True):
    match: Match = None
    nth: Nth = 1
    messages: Messages = 1
    direction: Direction = "to"


class OnMessages(OnLink):
    """The base of faults on messages: a toxic of ours at the taps."""

    needs = "a link whose traffic our own proxy reads, in the clear and from the beginning of its connections (links.NAME.taps)"
    proof = "our proxy has hit a message of a connection of the link"
    arguments: type[base.Arguments] = Arguments
    on_taps = True
    protocol = "websocket"

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        target = await super().plan(context, on, args)
        hit = msgspec.convert(target, Hit)
        await until_readable(hit, self.protocol)
        return target

    def chosen(self, target: Target) -> dict[str, Any]:
        """The attributes that say which messages are meant."""
        return {"match": target["match"] or {}, "nth": target["nth"], "count": target["messages"]}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await until_hit(made.hit, 1, f"no message that was meant came, {target['direction']} it,")


class OnWholeWebSockets(OnMessages):
    """The base of faults that close WebSockets. Those that were there when it was planned, and still are when it strikes, must go."""

    rounds = 1
    """How often each must have been closed for the proof."""

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        from chaosreprise.links.messages import Close  # noqa: PLC0415  only who plans one needs it

        target = await super().plan(context, on, args)
        if wrong := Close(code=target["code"]).wrong():
            raise BadInput(wrong)
        there = await asyncio.to_thread(_readings, msgspec.convert(target, Hit))
        return target | {"websockets": [one["client"] for found in there for one in _read(found, self.protocol)]}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        there = made.clients & {wires.address(client) for client in target["websockets"]}
        seen = await until_hit(made.hit, max(1, len(there)) * self.rounds, "its WebSockets were not closed")
        await passing.are_gone(made.hit.component, made.fronts, there, CLOSED_S)
        return seen | {"websockets_gone": len(there)}


def readings(door: Door) -> dict[str, Any]:
    """What a proxy of ours reads, and what its toxics on messages have hit."""
    nothing: dict[str, Any] = {"connections": [], "toxics": {}}
    found: dict[str, Any] = toxics.server(door.place).read_so_far().get(door.place.proxy, nothing)
    return found


async def until_readable(hit: Hit, protocol: str) -> None:
    """There is a connection in which messages of this protocol are read, or comes to be one. Raises NotPossible."""
    deadline = time.monotonic() + READABLE_S
    while True:
        found = await asyncio.to_thread(_readings, hit)
        if any(_read(one, protocol) for one in found):
            return
        if time.monotonic() > deadline:
            there = [connection for one in found for connection in one["connections"]]
            why = next((f": {one['blind']}" for one in there if one["blind"]), f", of {len(there)} connections")
            raise NotPossible(f"{hit.component}: no {PROTOCOLS[protocol]} on it is read{why}")
        await asyncio.sleep(LOOK_EVERY_S)


async def until_hit(hit: Hit, need: int, lacks: str, within_s: float = 0.0) -> dict[str, Any]:
    """Wait until our toxics have hit so many. Raises NotProven."""
    within_s = within_s or passing.PROVE_S
    deadline = time.monotonic() + within_s
    while True:
        found = [tally for one in await asyncio.to_thread(_readings, hit) for tally in _ours(one["toxics"])]
        seen, bitten = sum(one["seen"] for one in found), sum(one["bitten"] for one in found)
        if bitten >= need:
            return {"meant": seen, "hit": bitten}
        if time.monotonic() > deadline:
            raise NotProven(f"{hit.component}: {lacks} within {within_s:g} s ({seen} were meant, {bitten} hit)")
        await asyncio.sleep(LOOK_EVERY_S)


def _readings(hit: Hit) -> list[dict[str, Any]]:
    return [readings(door) for door in hit.doors]


def _read(found: dict[str, Any], protocol: str) -> list[dict[str, Any]]:
    """The connections that speak this protocol and are read."""
    return [one for one in found["connections"] if one["protocol"] == protocol and one["blind"] is None]


def _ours(tallies: dict[str, dict[str, int]]) -> list[dict[str, int]]:
    """Only one fault is on a link at a time, so each toxic of ours is its own."""
    return [tally for name, tally in tallies.items() if name.startswith(toxics.PREFIX)]
