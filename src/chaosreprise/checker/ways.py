"""Times in which a way from here to the platform was not open, as what kept it so tells (`forward/NAME`, under `coverage`).

What failed then may never have reached the platform, and what took long may have waited on the way. Which call took which way is not
known, so each is given the benefit; what ledgers show is held against the platform all the same. A way whose pod a fault of ours ended
was as it had to be: that fault excuses what it explains.
"""

from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import DONE, EVER, Gap
from chaosreprise.checker.life import AGENTS, SESSIONS, Life
from chaosreprise.history.events import POD_ENDED, WAY


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
    found = [gap for name in names for gap in case.watch.gaps(name, 0, EVER) if gap.why != DONE]
    return [gap for gap in found if not any(_ended(life, gap) for life in case.lives)]


def _ended(life: Life, gap: Gap) -> bool:
    """A fault of ours ended the pod that a way led to."""
    if life.began is None or life.component.startswith((AGENTS, SESSIONS)) or not gap.why.startswith(POD_ENDED):
        return False
    return life.began <= gap.hi and gap.lo <= (EVER if life.undone is None else life.undone.hi)
