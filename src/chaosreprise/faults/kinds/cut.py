"""Close each connection of a link in the middle of a message: so many bytes still pass in a direction, and no more.

Of those that are there, and of each that is made meanwhile.
"""

from typing import Annotated, Any

import msgspec

from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made


class Arguments(on_link.Arguments, frozen=True):
    after_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1_000_000_000,
            title="how many bytes still pass",
            description="a whole number of bytes from 1 to 1000000000",
        ),
    ] = 10


class Cut(on_link.OnLink):
    arguments = Arguments
    proof = "each connection on which more came is established at neither end in the kernel's tables, and no more than that has passed"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "limit_data", "attributes": {"bytes": target["after_bytes"]}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        return await passing.are_cut(made.meter, made.hit.component, made.hit.streams, target["after_bytes"])


FAULT = Cut()
