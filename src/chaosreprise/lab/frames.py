"""How messages become WebSocket frames between the control plane and its agents: one each. A seam for planted defects.

Real control planes that write what has gathered in one frame, a message a line, have met agents that read the first one.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

Message = dict[str, Any]


class Frames:
    def pack(self, messages: Iterable[Message]) -> Iterator[str]:
        """The frames of these messages, in their order."""
        for message in messages:
            yield msgspec.json.encode(message).decode()

    def unpack(self, frame: str) -> list[Message]:
        """The messages of a frame, in their order."""
        return [msgspec.json.decode(line) for line in frame.split("\n")]


def envelope(kind: str, payload: Message) -> Message:
    at = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9))
    return {"type": kind, "timestamp": f"{seconds}.{at % 10**9 // 1000:06d}Z", "payload": payload}
