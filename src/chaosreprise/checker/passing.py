"""How long sessions stayed in states that the platform leaves by itself, and which of these stays were too long.

A stay counts from when the state was surely reached, or from the last command that may have led out of it and back, unseen; it
lasts as long as the state was surely still seen. It must end within the bound of the kind of command that leads there (`due`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker.automaton import Automaton
from chaosreprise.checker.case import Case
from chaosreprise.checker.due import due
from chaosreprise.history.events import LIFECYCLE, Report

EVERY_PATH = ("control-plane", "database")


class Stay(NamedTuple):
    """One that was too long; not `sure`: it may have been."""

    report: Report
    until: int
    say: str
    sure: bool


def stays(case: Case, automaton: Automaton, session: str, reports: Sequence[Report]) -> Iterator[Stay]:
    """Those of one session, by the reports of one source. While the run lives, one that lasts may still end in time."""
    changes = [one for number, one in enumerate(reports) if not number or one.state != reports[number - 1].state]
    for number, report in enumerate(changes):
        bounds = [case.contract.bounds.get(op) for op in automaton.passing.get(report.state, ())]
        left = changes[number + 1] if number + 1 < len(changes) else None
        if not bounds or None in bounds or (left is None and case.live):
            continue
        bound = max(bound for bound in bounds if bound is not None)
        if left is None or left.hi > report.hi + bound:
            yield from _too_long(case, automaton, session, report, left, bound)


def _too_long(
    case: Case, automaton: Automaton, session: str, report: Report, left: Report | None, bound: int
) -> Iterator[Stay]:
    until, unwatched = _seen_until(case, report, left)
    since = max(report.hi, _came_back(case, automaton, session, report, until))
    limit = due(case, since, bound, EVERY_PATH, session)
    if limit is None:
        if case.stage in ("clean", "end"):  # else it may still be undone
            say = f"was {report.state}, and nothing says that a fault on its path was undone"
            yield Stay(report, until, say, sure=False)
    elif until > limit:
        stayed, over = (until - since) / 1e9, (until - limit) / 1e9
        say = f"still {report.state} {stayed:.3f} s after it got there, {over:.3f} s beyond its bound of {bound / 1e9:g} s"
        yield Stay(report, until, say, sure=True)
    elif left is None or left.hi > limit:
        after = "the end of what was watched" if left is None or unwatched else "the next look"
        yield Stay(report, until, f"was {report.state}, and its bound was over only after {after}", sure=False)


def _seen_until(case: Case, report: Report, left: Report | None) -> tuple[int, bool]:
    """The last moment at which it was surely still in that state, and whether a gap is the reason."""
    end = case.watch.horizon if left is None else left.lo
    gaps = case.watch.gaps(report.source, report.hi, end) if end > report.hi else []
    return (max(report.hi, min(gap.lo for gap in gaps)), True) if gaps else (max(end, report.hi), False)


def _came_back(case: Case, automaton: Automaton, session: str, report: Report, until: int) -> int:
    """When the last command was sent that may have led it out of that state and back, unseen."""
    sent: dict[str, list[int]] = {
        op: [row for row in case.rows_of(session, op) if report.lo <= case.commands.hi[row] <= until]
        for op in LIFECYCLE
    }
    rows = {op: [row for row in own if case.commands.outcome[row] != "fail"] for op, own in sent.items()}
    for needs in automaton.returns(report.state):
        if needs and all(len(rows.get(op, ())) >= n for op, n in needs):
            return max(case.commands.hi[row] for op, _ in needs for row in rows[op])
    return report.hi
