"""Whether this process stands still: frozen, or without a processor. It reads late then what had come in time, and says so.

Nobody can see that while it lasts; a timer that comes far too late shows it afterwards.
"""

from collections.abc import Callable

from chaosreprise.clock import SECOND, Clock
from chaosreprise.history import Observe
from chaosreprise.history.events import STALLED

EVERY_S = 0.1
LATE_S = 0.2


async def watch(clock: Clock, tell: Callable[[Observe], None]) -> None:
    """Tell each stall of the load, taken wide: since the last moment at which it was surely awake."""
    before = clock.now()
    while True:
        await clock.sleep(EVERY_S)
        now = clock.now()
        if now - before > (EVERY_S + LATE_S) * SECOND:
            seconds = round((now - before) / SECOND, 3)
            tell(Observe(lo=before, hi=now, source="load", signal=STALLED, value=seconds))
        before = now
