"""Send a message of a WebSocket twice, the second right behind the first.

Of those that match the `nth` and as many as `messages` say, counted over all connections of the link. One that is
compressed, in fragments or above 64 KiB is never hit, and passes once.
"""

from typing import Any

from chaosreprise.faults import on_messages
from chaosreprise.faults.base import Target


class Duplicate(on_messages.OnMessages):
    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "ws_duplicate", "attributes": self.chosen(target)}


FAULT = Duplicate()
