"""Let nothing pass a link, but keep it: connections stay, and what was sent is delivered when the link thaws.

Who is connected sees silence, and so does who connects anew.
"""

from typing import Any

from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made


class Freeze(on_link.OnLink):
    way_back = "its toxics are removed, and what they held goes on"
    proof = passing.NOTHING_PASSES

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "bandwidth", "attributes": {"rate": 0}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await passing.nothing_passes(made.meter, made.hit.component, made.hit.streams)


FAULT = Freeze()
