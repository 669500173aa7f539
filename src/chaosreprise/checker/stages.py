"""When a command reached a stage, by the history, and whether it would have been seen there: for what is judged about moments."""

from typing import NamedTuple

from chaosreprise.checker.case import Case
from chaosreprise.checker.first import first_effects
from chaosreprise.checker.table import FAILED, PENDING
from chaosreprise.history.events import Report
from chaosreprise.moments.commands import agents_of
from chaosreprise.moments.grammar import FRAMES, ROWS, Stage

TAPS = "frames"  # what says of itself when it reads along


class Span(NamedTuple):
    lo: int
    hi: int


def would_be_seen(case: Case, row: int, stage: Stage, until: int) -> bool:
    """Whether it is sure that this command had not reached a stage that it was not seen to have reached by then."""
    if stage in ("answer", "accept"):
        return True  # the load that did not end in order makes the run unknown already
    since, session = case.commands.lo[row], case.commands.session[row]
    if stage in ROWS or stage in FRAMES:
        sources = {TAPS} if stage in FRAMES else case.reports.sources
        gaps = [gap for source in sources for gap in case.watch.gaps(source, since, until)]
        return (
            bool(sources)
            and not gaps
            and case.commands.platform_id(row) is not None
            and (stage in ROWS or _is_read(case, row, until))
        )
    entry = case.attributed.entries.get(case.commands.op[row])
    if entry is None or entry.level not in ("keyed", "counted") or session is None:
        return False
    if session in case.attributed.ungenerated or not is_its_own(case, row):
        return False
    names = (entry.ledger, f"{entry.ledger}/{session}")
    return not any(case.watch.gaps(name, since, until) for name in names)


def _is_read(case: Case, row: int, until: int) -> bool:
    """Whether anything was seen to pass on the link of its agent: one that goes another way shows no silence."""
    agents = agents_of(case.commands.path[row])
    return any(seen.owner in agents and seen.hi <= until for told in case.reports.frames.values() for seen in told)


def is_its_own(case: Case, row: int) -> bool:
    """Whether the effect that it is given can't be another command's, so that its own came at another time."""
    if case.attributed.level(case.commands.op[row]) == "keyed":
        return True
    first = case.once(first_effects).get(row)
    if first is not None:
        return first.sure
    session, op = case.commands.session[row], case.commands.op[row]
    since = case.commands.lo[row]
    return all(seen.hi < since for seen in case.attributed.of.get((session or "", op), ()))


def reached(case: Case, row: int, stage: Stage, *, perhaps: bool = False) -> Span | None:
    """When a command reached a stage; None if that was not seen. `perhaps`: or may have, before what was seen of it."""
    match stage:
        case "submit":
            return Span(case.commands.lo[row], case.commands.hi[row])
        case "answer" | "accept":
            answer = case.commands.answer[row]
            said = answer is not None and (stage == "answer" or answer.outcome == "ok")
            return Span(answer.hi, answer.hi) if answer is not None and said else None
        case "b" | "effect":
            return _acted(case, row, stage)
    return _row_reached(case, row, stage, perhaps)


def _acted(case: Case, row: int, stage: Stage) -> Span | None:
    """Of a step `effect` is the end of its payload; anything else has acted from its first mark on."""
    if stage == "effect" and case.commands.op[row] == "step":
        ended = case.attributed.effect_of[row]
        return None if ended is None else Span(ended.lo, ended.hi)
    first = case.once(first_effects).get(row)
    return None if first is None else Span(first.lo, first.hi)


def _row_reached(case: Case, row: int, stage: Stage, perhaps: bool) -> Span | None:
    """The first report that shows the command so far: a sampler may have seen only what came after."""
    seen = case.reports.frames if stage in FRAMES else case.reports.commands
    reports = seen.get(case.commands.platform_id(row) or "", [])
    found = next((report for report in reports if _shows(report, stage, perhaps)), None)
    return None if found is None else Span(found.lo, found.hi)


def _shows(report: Report, stage: Stage, perhaps: bool) -> bool:
    if stage == "pending":
        return True
    if stage == "sent":  # what failed may have been given to its agent first
        return report.state != PENDING and (perhaps or report.state != FAILED)
    return report.state == stage
