"""Times in which a way from here to the platform was not open, as what kept it so tells (`forward/NAME`, under `coverage`).

What failed then may never have reached the platform, and what took long may have waited on the way. Which call took which way is not
known, so each is given the benefit; what ledgers show is held against the platform all the same.
"""

from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import DONE, EVER, Gap
from chaosreprise.history.events import WAY


def gaps(case: Case, lo: int, hi: int) -> list[Gap]:
    """Those that touch [lo, hi]."""
    return [gap for gap in case.once(_all) if gap.lo <= hi and gap.hi >= lo]


def without(case: Case, lo: int, hi: int) -> int:
    """How much of the time from `lo` to `hi` all ways were open."""
    return less(lo, hi, [(gap.lo, gap.hi) for gap in case.once(_all)])


def less(lo: int, hi: int, spans: list[tuple[int, int]]) -> int:
    """How much of it lies in none of these, which may overlap."""
    left, reached = hi - lo, lo
    for since, until in sorted(spans):
        begin, end = max(since, reached), min(until, hi)
        left -= max(0, end - begin)
        reached = max(reached, end)
    return max(0, left)


def _all(case: Case) -> list[Gap]:
    names = sorted({event.of for event in case.table.coverage if event.of.startswith(WAY)})
    return [gap for name in names for gap in case.watch.gaps(name, 0, EVER) if gap.why != DONE]
