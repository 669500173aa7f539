"""A load that stood still says so afterwards."""

import asyncio
import time

from chaosreprise.clock import SystemClock
from chaosreprise.history import Observe
from chaosreprise.workload import stall

STOOD_S = 0.6


def test_a_stall_is_told_with_its_time_and_small_delays_are_not() -> None:
    told: list[Observe] = []

    async def main() -> tuple[int, int]:
        watching = asyncio.create_task(stall.watch(SystemClock(), told.append))
        await asyncio.sleep(2 * stall.EVERY_S)
        time.sleep(stall.LATE_S / 4)
        await asyncio.sleep(2 * stall.EVERY_S)
        before = time.monotonic_ns()
        time.sleep(STOOD_S)
        after = time.monotonic_ns()
        await asyncio.sleep(2 * stall.EVERY_S)
        watching.cancel()
        return before, after

    before, after = asyncio.run(main())
    (one,) = told
    assert (one.source, one.signal) == ("load", "stalled")
    assert one.lo <= before < after <= one.hi
    assert STOOD_S <= one.value == round((one.hi - one.lo) / 1e9, 3)
