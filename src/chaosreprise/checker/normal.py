"""Back to normal latency: since the undo of a fault began, when the platform answered as fast again as before the fault.

What is looked at are the steps and reads, which the load sends all along at intended times: its other commands come in
bursts, and wait for what is broken, which *drained* tells; a list takes the longer the more there is. Of them those whose
recorded path crosses the broken component; where these are too few, as for an agent that no step crosses, all. Latency counts
from the submission until the answer was read.

*Slow* is what took longer than TOLERANCE times the QUANTILE of its own kind in the baseline (the phase of that name, or all
that was sent before the first fault), and more than SLACK_NS longer, since a busy machine adds as much to anything; and what
was not answered, or not with success, whatever it took. A kind with fewer than ENOUGH in the baseline is not looked at.

*Back* is the first command sent since the undo began that is not slow and begins a window of WINDOW commands of which at
most OUTLIERS are: one straggler in it does not delay the moment, one lucky answer amid slow ones does not make it. It lies
between the sending of the last slow command before it and its own answer. A later slump is no part of it, nor is what was
sent once the load was turned off. Another fault that overlaps or follows may hold it up. Where no window since the fault
began had more slow commands than that, and the load was never mute for MUTE_NS, latency never left normal: this took no time.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from chaosreprise.checker import ways
from chaosreprise.checker.case import Case
from chaosreprise.checker.life import Life
from chaosreprise.clock import MS, SECOND
from chaosreprise.history.events import Op

KINDS: tuple[Op, ...] = ("step", "read")
QUANTILE = 0.95
TOLERANCE = 1.5
SLACK_NS = 5 * MS
ENOUGH = 20  # in the baseline: the fewest of which the 95th percentile is not the slowest
WINDOW = 20
OUTLIERS = 2
MUTE_NS = SECOND  # what the load could not send for so long, it skips


class Normal(NamedTuple):
    """The moment between `lo` and `hi`, or why there is none; `since` then, if it surely was later than that."""

    lo: int = 0
    hi: int = 0
    source: str = ""
    note: str = ""
    why_not: str = ""
    since: int | None = None


def find(case: Case, life: Life) -> Normal:
    proven, healing = life.proven, life.healing
    if proven is None or healing is None:
        return Normal(why_not="the fault was not undone")
    rows, bounds, which = _series(case, life)
    if not bounds:
        return Normal(why_not=which)
    until = min(_phase(case, "drain", "begin"), default=math.inf)
    rows = [row for row in rows if case.commands.op[row] in bounds and case.commands.lo[row] < until]
    rows = [row for row in rows if not _on_the_way(case, row)]
    sent = [case.commands.lo[row] for row in rows]
    slow = [_took(case, row) > bounds[case.commands.op[row]] for row in rows]
    began = bisect.bisect_left(sent, life.states.get("injected", proven).lo)
    first = bisect.bisect_left(sent, healing.lo)
    source = f"load, {which}, at most {_worded(bounds)}"
    many = _windows(slow)
    back = next((i for i in range(first, len(many)) if not slow[i] and many[i] <= OUTLIERS), None)
    if back is None:
        told = _never(sent, first)
        cut_short = case.live or case.watch.ended("load") is not None  # an answer may have come in time
        return told._replace(since=None) if cut_short or _others(case, life) else told
    if _seen(sent[max(0, began - 1) : back + 1]) and max(many[max(0, began - WINDOW + 1) : back + 1]) <= OUTLIERS:
        return Normal(healing.lo, healing.lo, source, "it never left normal")
    if back == first >= WINDOW and _seen(sent[first - WINDOW : back + 1]) and many[first - WINDOW] <= OUTLIERS:
        return Normal(healing.lo, healing.lo, source, "it was normal again before")
    last = max((at for at, is_slow in zip(sent[:back], slow, strict=False) if is_slow), default=healing.lo)
    return Normal(last, case.commands.accepted_at(rows[back]) or sent[back], source)


def _on_the_way(case: Case, row: int) -> bool:
    """Whether it may have failed, or been held up, before it reached the platform."""
    answer = case.commands.answer[row]
    return bool(ways.gaps(case, case.commands.lo[row], case.commands.hi[row] if answer is None else answer.hi))


def _seen(sent: Sequence[int]) -> bool:
    """Whether the load was never mute for so long that a slump may have gone unseen."""
    return all(after - before <= MUTE_NS for before, after in itertools.pairwise(sent))


def _windows(slow: Sequence[bool]) -> list[int]:
    """How many are slow in the window that each of them begins; the last ones begin none."""
    sums = [0, *itertools.accumulate(slow)]
    return [sums[i + WINDOW] - sums[i] for i in range(len(slow) - WINDOW + 1)]


def _never(sent: Sequence[int], first: int) -> Normal:
    n = len(sent) - first
    if n < WINDOW:
        return Normal(why_not=f"{n} steps and reads were sent after its undo began: {WINDOW} are needed to see it")
    why = f"it was not while the load was on, for {n} steps and reads after its undo began"
    return Normal(why_not=why, since=sent[-WINDOW])


def _series(case: Case, life: Life) -> tuple[list[int], dict[Op, float], str]:
    """The rows to look at, the bound of each kind, and which they are; without bounds, why there are none."""
    rows = case.once(_rows)
    crossing = [row for row in rows if life.component in case.commands.path[row]]
    if bounds := _bounds(case, crossing):
        return crossing, bounds, f"steps and reads that cross {life.component}"
    if bounds := _bounds(case, rows):
        return rows, bounds, f"all steps and reads, since too few cross {life.component}"
    n = len(_before(case, rows))
    return [], {}, f"of {n} steps and reads in the baseline, no kind has {ENOUGH} that show what is normal"


def _rows(case: Case) -> list[int]:
    """All steps and reads of a session, in the order of submission."""
    commands = case.commands
    return [row for row, op in enumerate(commands.op) if op in KINDS and commands.session[row] is not None]


def _bounds(case: Case, rows: Sequence[int]) -> dict[Op, float]:
    before: dict[Op, list[float]] = {}
    for row in _before(case, rows):
        before.setdefault(case.commands.op[row], []).append(_took(case, row))
    bounds = {op: _bound(took) for op, took in before.items() if len(took) >= ENOUGH}
    return {op: bound for op, bound in bounds.items() if math.isfinite(bound)}


def _bound(took: list[float]) -> float:
    normal = sorted(took)[math.ceil(QUANTILE * len(took)) - 1]
    return max(normal * TOLERANCE, normal + SLACK_NS)


def _before(case: Case, rows: Sequence[int]) -> Sequence[int]:
    """Those of the baseline."""
    since = max(_phase(case, "baseline", "begin"), default=case.first_submit)
    ends = [*_phase(case, "baseline", "end"), *([] if case.first_armed is None else [case.first_armed])]
    until = min(ends, default=since)
    return [row for row in rows if since <= case.commands.lo[row] < until]


def _phase(case: Case, name: str, edge: str) -> list[int]:
    return [phase.hi for phase in case.table.phases if (phase.name, phase.edge) == (name, edge)]


def _others(case: Case, life: Life) -> bool:
    """Whether another fault was there when or after the undo of this one began."""
    assert life.healing is not None
    for other in case.lives:
        if other is not life and other.began is not None:
            over = other.states.get("clean") or other.undone
            if over is None or over.hi > life.healing.lo:
                return True
    return False


def _took(case: Case, row: int) -> float:
    at = case.commands.accepted_at(row)
    return math.inf if at is None else at - case.commands.lo[row]


def _worded(bounds: dict[Op, float]) -> str:
    return " and ".join(f"{bound / MS:.1f} ms for a {op}" for op, bound in sorted(bounds.items()))
