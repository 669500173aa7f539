"""Let nothing pass a link, and lose it: what is sent is taken and never delivered.

Connections stay until the fault is undone, and are closed then: a stream with a hole in it is of no use to anybody.
"""

from typing import Any

from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made


class Blackhole(on_link.OnLink):
    way_back = "its toxics are removed, and the connections that they were on closed"
    proof = passing.NOTHING_PASSES

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "timeout", "attributes": {"timeout": 0}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await passing.nothing_passes(made.meter, made.hit.component, made.hit.streams)


FAULT = Blackhole()
