"""Times in which the load itself stood still, by its own word, or a way to the platform was not open: what it read right after may have come long before.

It may have been frozen, or its machine busy with others. What it only lost patience with is no answer of the platform either.
"""

from chaosreprise.checker import ways
from chaosreprise.checker.case import Case
from chaosreprise.history.events import STALLED


def waited(case: Case, lo: int, hi: int) -> int:
    """How much of the time from `lo` to `hi` the load surely waited, and could have read an answer."""
    return ways.less(lo, hi, case.once(_stalls))


def _stalls(case: Case) -> list[tuple[int, int]]:
    own = [(event.lo, event.hi) for event in case.table.observed if (event.source, event.signal) == ("load", STALLED)]
    return own + [(gap.lo, gap.hi) for gap in ways.gaps(case, case.start, case.last_sign)]
