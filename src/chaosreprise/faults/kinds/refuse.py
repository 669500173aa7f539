"""Refuse whoever connects, and close what is connected: at the other end of the link nobody is there.

On `database` it is the link to it.
"""

from typing import Any

from chaosreprise.faults import base, on_link, passing, toxics
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Hit, Made


class Refuse(on_link.OnLink):
    groups: tuple[str, ...] = ("links", "database")
    arguments: type[base.Arguments] = base.Arguments
    way_back = "its proxy is enabled again"
    proof = "each of its connections is established at neither end in the kernel's tables, and a new one is refused"
    from_the_front = True

    def strike(self, hit: Hit, mark: str, target: Target, lease_end: int) -> None:
        for door in hit.doors:
            toxics.disable(door, mark, lease_end)

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        on = made.hit.component
        closed = await passing.are_gone(on, made.fronts, made.clients, passing.CLOSED_S)
        passing.check_refused(on, made.fronts)
        return {"refused": made.hit.fronts, "connections_closed": closed}


FAULT = Refuse()
