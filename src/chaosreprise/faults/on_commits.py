"""What faults on the commits of a database share: toxics of our own proxy, which reads PostgreSQL's protocol on the link to it.

What the proxy can't read it can't hit: a connection that is encrypted, or that was made before anybody read along, goes on
committing. So a link with one is left alone, and one that comes meanwhile is a leak.
"""

import asyncio
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven
from chaosreprise.faults import base, on_messages
from chaosreprise.faults.base import Context, Target
from chaosreprise.faults.on_link import Hit, Made

CANCELS = "request to cancel"


class Arguments(base.Arguments, frozen=True):
    statement: Annotated[
        str,
        msgspec.Meta(
            max_length=1000,
            title="only transactions with a statement that has this in it",
            description="a part of an SQL statement; empty: each that has written anything",
        ),
    ] = ""
    nth: on_messages.Nth = 1
    commits: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1_000_000,
            title="how many are hit from there on; 0: all until it is undone",
            description="a whole number from 0 to 1000000",
        ),
    ] = 0


class OnCommits(on_messages.OnMessages):
    """`kind` of toxic, on the one `stream` on which it acts."""

    groups: tuple[str, ...] = ("database",)
    needs = "links.database in the platform file, through a proxy of ours on this machine (links.database.taps) that can read it"
    arguments: type[base.Arguments] = Arguments
    protocol = "postgres"
    kind: str
    stream: str

    def asks(self, group: str) -> tuple[str, ...]:
        return (f"links.{group}.taps",)

    def toxic(self, target: Target) -> dict[str, Any]:
        wanted = {"statement": target["statement"], "nth": target["nth"], "count": target["commits"]}
        return {"type": self.kind, "attributes": wanted}

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        target = await super().plan(context, on, args) | {"streams": [self.stream]}
        if unread := await _unread(msgspec.convert(target, Hit)):
            raise NotPossible(f"{unread}: its commits would go through")
        return target

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        need = max(1, target["commits"])
        seen = await on_messages.until_hit(made.hit, need, "no commit that was meant came, or too few,")
        if unread := await _unread(made.hit):
            raise NotProven(f"{made.hit.component} leaked: {unread}, so its commits go through")
        some = target["statement"] or target["commits"] or target["nth"] > 1
        return seen | ({"spared": "some commits"} if some else {})


async def _unread(hit: Hit) -> str | None:
    """Why the first such connection can't be read; one that is for a request to cancel a statement commits nothing."""
    for door in hit.doors:
        for one in (await asyncio.to_thread(on_messages.readings, door))["connections"]:
            if one["blind"] and CANCELS not in one["blind"]:
                return f"the connection of {one['client']} to {one['proxy']} is not read ({one['blind']})"
    return None
