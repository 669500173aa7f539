"""Let a link carry only so many bytes a second.

Connections stay and nothing is lost: what is too much waits at its sender.
"""

from typing import Annotated, Any

import msgspec

from chaosreprise.clock import SECOND
from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made
from chaosreprise.faults.wires import RECEIVED, SENT, Meter

WATCHED_S = 0.1
ABOVE = 1.5  # times the rate: it comes in pieces, a tenth of a second each


class Arguments(on_link.Arguments, frozen=True):
    kb_per_s: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1_000_000,
            title="how much passes in each direction, of each connection",
            description="a whole number of 1000 bytes a second from 1 to 1000000",
        ),
    ] = 1


class Bandwidth(on_link.OnLink):
    arguments = Arguments
    proof = f"bytes have waited in its proxy for {WATCHED_S:g} s on end, by the kernel's counters of both sockets, while it passed on no more than that"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "bandwidth", "attributes": {"rate": target["kb_per_s"]}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        hit, meter = made.hit, made.meter
        limit = target["kb_per_s"] * 1000 * ABOVE

        def found() -> dict[str, Any] | None:
            rates = {s: rate for s in hit.streams if (rate := slowed(meter, s)) is not None and rate <= limit}
            return {f"{stream}_bytes_per_s": round(rate) for stream, rate in rates.items()} or None

        lacks = f"nobody asked it for more than {target['kb_per_s']} KB/s, so it can't be seen to be slow,"
        return await passing.until(meter, hit.component, found, lacks)


def slowed(meter: Meter, stream: str) -> float | None:
    """Bytes a second that went out of a connection in the last time in which more was waiting all along."""
    last = len(meter.looks) - 1
    first = next((n for n in range(last, meter.mark, -1) if took(meter, n, last) >= WATCHED_S * SECOND), None)
    if first is None:
        return None
    for enters, leaves in meter.ways(stream):
        if all(meter.passed(enters, RECEIVED, n) > meter.passed(leaves, SENT, n) for n in range(first, last + 1)):
            went = meter.passed(leaves, SENT, last) - meter.passed(leaves, SENT, first)
            return went * SECOND / took(meter, first, last) / len(leaves)
    return None


def took(meter: Meter, first: int, last: int) -> int:
    return meter.looks[last][0] - meter.looks[first][1]


FAULT = Bandwidth()
