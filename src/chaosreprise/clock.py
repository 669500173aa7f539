"""Time, injected: everything that waits or stamps takes a Clock, so that a simulated platform can run in virtual time.

All stamps are integer nanoseconds of CLOCK_MONOTONIC of one boot. Leases use CLOCK_BOOTTIME, which also runs while
the machine sleeps. Wall time appears only in names and reports.
"""

import asyncio
import time
from typing import Protocol

MS = 1_000_000
SECOND = 1_000_000_000


class Clock(Protocol):
    def now(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def boottime() -> int:
    """Nanoseconds of CLOCK_BOOTTIME: a lease goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
