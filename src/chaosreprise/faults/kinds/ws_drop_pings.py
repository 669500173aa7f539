"""Lose the pings and pongs of WebSockets, and nothing else: a connection that works, and looks dead to whoever asks it so.

Proven only once one is lost, so it needs an end that sends them more often than every 60 s.
"""

from typing import Annotated, Any, Literal

import msgspec

from chaosreprise.faults import base, on_messages
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made

PROVE_S = 60.0


class Arguments(base.Arguments, frozen=True):
    direction: Annotated[
        Literal["both", "to", "from"],
        msgspec.Meta(
            title="which are lost: those to what the link leads to, those from there, or both",
            description="one of both, to, from",
        ),
    ] = "both"


class DropPings(on_messages.OnMessages):
    arguments = Arguments

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_drop_pings", "attributes": {}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await on_messages.until_hit(made.hit, 1, "neither a ping nor a pong came", PROVE_S)


FAULT = DropPings()
