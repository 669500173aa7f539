"""Hold a message of a WebSocket up, and with it what comes behind it: a WebSocket keeps its order.

Of those that match the `nth` and as many as `messages` say, counted over all connections of the link. One that is
compressed, in fragments or above 64 KiB is never hit, and passes at once.
"""

from typing import Annotated, Any

import msgspec

from chaosreprise.faults import on_messages
from chaosreprise.faults.base import Target


class Arguments(on_messages.Arguments, frozen=True):
    ms: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=600_000, title="for how long", description="a whole number of milliseconds from 1 to 600000"
        ),
    ] = 1000


class Delay(on_messages.OnMessages):
    arguments = Arguments
    way_back = "its toxics are removed, and what they hold goes on"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_delay", "attributes": self.chosen(target) | {"delay": target["ms"]}}


FAULT = Delay()
