"""Delay what passes a link, each byte by the same time or by one that varies.

Connections stay, nothing is lost and nothing is overtaken.
"""

from typing import Annotated, Any

import msgspec

from chaosreprise.clock import MS
from chaosreprise.errors import NotProven
from chaosreprise.faults import on_link, passing
from chaosreprise.faults.base import Target
from chaosreprise.faults.on_link import Made

LEAST = 0.5  # of the delay: what surely took less was not delayed


class Arguments(on_link.Arguments, frozen=True):
    ms: Annotated[
        int,
        msgspec.Meta(
            ge=10, le=60_000, title="the delay", description="a whole number of milliseconds from 10 to 60000"
        ),
    ] = 200
    jitter_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=60_000,
            title="how much more or less it may be",
            description="a whole number of milliseconds from 0 to 60000",
        ),
    ] = 0


class Latency(on_link.OnLink):
    arguments = Arguments
    proof = "bytes that came in at its proxy went out again as late as was asked for, by the kernel's counters of both sockets"

    def toxic(self, target: Target) -> dict[str, Any]:
        return {"type": "latency", "attributes": {"latency": target["ms"], "jitter": target["jitter_ms"]}}

    async def see(self, target: Target, made: Made) -> dict[str, Any]:
        hit, meter = made.hit, made.meter
        need = (target["ms"] - target["jitter_ms"]) * LEAST * MS
        unsure: list[tuple[int, int]] = []  # this process was too slow to see it

        def found() -> dict[str, Any] | None:
            seen, unsure[:] = {}, []
            for stream in hit.streams:
                for least, most in (took for way in meter.ways(stream) for took in passing.delays(meter, way)):
                    if most < need:
                        raise NotProven(
                            f"{hit.component}: bytes went {stream} within {most / MS:.0f} ms, not after {target['ms']} ms"
                        )
                    if least >= need:
                        seen[f"{stream}_ms"] = [round(least / MS), round(most / MS)]
                    unsure.append((least, most))
            return seen or None

        def lacks() -> str:
            if not unsure:
                return "nothing that could be followed has passed it, so it can't be seen to be slow,"
            least, most = max(unsure)
            return f"what passed took from {least / MS:.0f} to {most / MS:.0f} ms: it could not be seen any closer"

        return await passing.until(meter, hit.component, found, lacks, target["ms"] / 1000)


FAULT = Latency()
