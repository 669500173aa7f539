"""Close each WebSocket of a link as often as it is made again, shortly after it was made: its ends connect over and over.

What they do on each new connection (registering, asking what they have missed) is done again and again.
"""

from typing import Annotated, Any

import msgspec

from chaosreprise.faults import base, on_messages
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_messages import Code, Ends


class Arguments(base.Arguments, frozen=True):
    after_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=60_000, title="how long each lives", description="a whole number of milliseconds from 0 to 60000"
        ),
    ] = 100
    code: Code = 1012
    direction: Ends = "to"


class ReconnectStorm(on_messages.OnWholeWebSockets):
    arguments = Arguments
    proof = "our proxy has closed as many WebSockets as there were, twice, and those are established at neither end in the kernel's tables"
    rounds = 2

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_reconnect_storm", "attributes": {"after": target["after_ms"], "code": target["code"]}}


FAULT = ReconnectStorm()
