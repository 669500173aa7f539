"""Lose a message of a WebSocket: the connection stays, what comes before and behind it arrives.

Of those that match the `nth` and as many as `messages` say, counted over all connections of the link. One that is
compressed, in fragments or above 64 KiB is never hit, and passes.
"""

from typing import Any

from chaosreprise.faults import on_messages
from chaosreprise.faults.base import Target


class Drop(on_messages.OnMessages):
    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_drop", "attributes": self.chosen(target)}


FAULT = Drop()
