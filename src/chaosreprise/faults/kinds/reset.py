"""Break each connection of a link as soon as bytes come on it, those that are there and those that are made meanwhile.

A new one ends with a reset. One that was there before is closed at once, which its ends see as a reset only where bytes were
still under way: so does Toxiproxy.
"""

from typing import Any

from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made


class Reset(on_link.OnLink):
    proof = "each connection on which bytes came is established at neither end in the kernel's tables"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "reset_peer", "attributes": {"timeout": 0}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await passing.are_cut(made.meter, made.hit.component, made.hit.streams)


FAULT = Reset()
