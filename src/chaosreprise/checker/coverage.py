"""Where a source was really watched: absence proves something only there.

A ledger, a source of reports, the recorder and the load are uncovered until they say `on`. One object of a ledger
(`ledger/object`) is covered as its ledger is, but for its own gaps. Nothing that the recorder should have seen is covered
after its last sign of life, unless it ended in order.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from chaosreprise.history.events import Coverage

DONE = "done"
EVER = 2**62
RUNNERS = ("recorder", "load")
WARDEN = "warden"


class Gap(NamedTuple):
    """A time in which nobody watched `of`. `lo` and `hi` are taken wide."""

    of: str
    lo: int
    hi: int
    why: str


def together(gaps: Iterable[Gap]) -> dict[Gap, int]:
    """How often each gap was met; what overlaps in one place, for one reason, is one gap."""
    found: dict[Gap, int] = {}
    last: Gap | None = None
    for gap in sorted(gaps, key=lambda gap: (gap.of, gap.why, gap.lo)):
        if last is not None and (gap.of, gap.why) == (last.of, last.why) and gap.lo <= last.hi:
            whole = last._replace(hi=max(last.hi, gap.hi))
            found[whole] = found.pop(last) + 1
            last = whole
        else:
            found[gap] = 1
            last = gap
    return found


class Watch:
    """The gaps of everything that is watched. `horizon` is where the recorder's sight ends."""

    def __init__(self, events: Iterable[Coverage], horizon: int, live: bool) -> None:
        self.horizon = horizon
        self.live = live
        self._events: dict[str, list[Coverage]] = defaultdict(list)
        for event in events:
            self._events[event.of].append(event)
        self._gaps = {of: _gaps(of, of_events) for of, of_events in self._events.items()}

    def gaps(self, of: str, lo: int, hi: int, *, dead_or_alive: bool = False) -> list[Gap]:
        """The gaps of `of` that touch [lo, hi].

        While a run lives (`live`), the recorder is taken to be alive after its last sign, unless `dead_or_alive`. An object
        has only its own gaps here: ask for those of its ledger as well.
        """
        found = [gap for gap in self._own_gaps(of) if gap.lo < hi and gap.hi > lo]
        if "/" not in of and hi > self.horizon and (dead_or_alive or not self.live):
            found.append(Gap(of, max(lo, self.horizon), hi, "the recorder had ended or died"))
        return found

    def ended(self, of: str) -> str | None:
        """What kept this process of the run from an orderly end; None when it had one, or still may."""
        events = self._events.get(of, [])
        if not events or not events[0].on:
            return "never said that it began"
        offs = [event for event in events if not event.on]
        if any(event.why != DONE for event in offs):
            return "broke off: " + next(event.why for event in offs if event.why != DONE)
        if events[-1].on and not self.live:
            return "has no orderly end: it died or was killed"
        return None

    def began(self, of: str) -> int | None:
        return next((event.hi for event in self._events.get(of, []) if event.on), None)

    def done_at(self, of: str) -> int | None:
        return next((event.lo for event in self._events.get(of, []) if not event.on and event.why == DONE), None)

    def _own_gaps(self, of: str) -> list[Gap]:
        if of not in self._gaps:
            return [] if "/" in of else [Gap(of, -EVER, EVER, "it was never watched")]
        return self._gaps[of]


def _gaps(of: str, events: list[Coverage]) -> list[Gap]:
    """The complement of its covered intervals [on.hi, off.lo]."""
    since, why = (EVER, "") if "/" in of else (-EVER, "not watched before")
    gaps = []
    for event in sorted(events, key=lambda event: (event.hi, event.on)):
        if event.on and since != EVER:
            gaps.append(Gap(of, since, event.hi, why))
            since = EVER
        elif not event.on and since == EVER:
            since, why = event.lo, event.why
    if since != EVER:
        gaps.append(Gap(of, since, EVER, why))
    return gaps
