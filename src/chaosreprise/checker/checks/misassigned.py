"""misassigned: work was given to an agent that had surely been gone for too long.

Definition (design, section 4: "a start placed on, or a command marked `sent` to, an agent surely known gone for longer than
the bound"). An agent is surely gone from the proof of a fault that takes it, or its link, away or freezes it until the undo of that begins;
what the platform says of it changes nothing. The bound is the contract's `offline_ns`. Violated if, surely after that
bound and before the undo, the platform's row of a session first names that agent, or its row of a command turns to `sent`.
A command that waits as `pending` for the agent of its session is given to nobody, and legal.

What was surely given to an agent that the platform itself had called offline for longer than the bound, while no fault was
on it, counts as possible: the agent may have been there.

Promise: none has to be stated. The bound is the platform's own.

Needs. The rows of sessions and commands, read throughout; an agent that was gone for longer than the bound, and at that
time a start that was placed, or a command of its sessions that had to wait.

Witness. The command, when its agent broke, when it was given to it.

Limits. A mark that was set and taken back between two looks is not seen. What was given at a moment that may lie outside
counts as possible; but a command that waited until, or was first seen in, the very look in which the undo began and the
platform had its agent back is taken to have been given to it then.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.incarnations import made_by
from chaosreprise.checker.life import ONLINE
from chaosreprise.checker.table import PENDING, SENT
from chaosreprise.checker.verdict import Doubt, Finding, Witness
from chaosreprise.history.events import Report


class Gone(NamedTuple):
    """An agent was gone for longer than the bound from `lo` to `hi`. `since`: when it broke; `surely`: by a fault's proof."""

    agent: str
    since: int
    lo: int
    hi: int
    surely: bool


class Given(NamedTuple):
    """A session was placed on an agent, or a command marked `sent` to it, at some moment of [lo, hi]."""

    name: str
    session: str
    agent: str
    lo: int
    hi: int
    placed: bool
    start: bool
    row: int | None


class Wrong(NamedTuple):
    given: Given
    gone: Gone
    sure: bool


def judge(case: Case) -> Finding:
    gone, given = [*_by_fault(case), *_by_word(case)], list(_given(case))
    wrong = list(_wrong(case, gone, given))
    sure = [found for found in wrong if found.sure]
    ended = case.stage in ("clean", "end")
    told = [gap for gap in gone if gap.surely]
    evidence = _elsewhere(told, given) + _waited(case, told) + len(sure)
    return Finding(
        count=(len(sure), len(wrong)),
        evidence=evidence,
        witnesses=[_witness(case, found) for found in sure[: witness.LIMIT]],
        scope=[*_gap_doubts(case, gone), *_doubts(case, wrong, ended, evidence)],
    )


def _by_fault(case: Case) -> Iterator[Gone]:
    for life in case.lives:
        if life.agent is None or not life.away or life.trouble():
            continue
        if life.proven is not None and life.healing is not None:
            lo = life.proven.hi + case.contract.offline_ns
            if lo < life.healing.lo:
                yield Gone(life.agent, life.proven.hi, lo, life.healing.lo, surely=True)


def _by_word(case: Case) -> Iterator[Gone]:
    """Times in which the platform itself called an agent anything but online, for longer than the bound."""
    for agent, reports in case.reports.agents.items():
        since: Report | None = None
        for report in reports:
            if report.state != ONLINE:
                since = since or report
            elif since is not None:
                yield from _word(case, agent, since, report.lo)
                since = None
        if since is not None:
            yield from _word(case, agent, since, case.watched_until)


def _word(case: Case, agent: str, since: Report, until: int) -> Iterator[Gone]:
    lo = since.hi + case.contract.offline_ns
    if lo < until and since.state == "offline":
        yield Gone(agent, since.hi, lo, until, surely=False)


def _given(case: Case) -> Iterator[Given]:
    """Each session when its row first named an agent, and each command when its row turned to `sent`."""
    starts, rows = case.once(made_by), case.rows_by_id
    for session, reports in case.reports.sessions.items():
        owned = next((report for report in reports if report.owner), None)
        if owned is not None and owned.owner is not None:
            row = starts.get(session)
            lo = owned.lo if row is None else max(owned.lo, case.commands.lo[row])
            yield Given(session, session, owned.owner, lo, max(lo, owned.hi), placed=True, start=True, row=row)
    for name, reports in case.reports.commands.items():
        before = ""
        for report in reports:
            if report.state == SENT and before != SENT and report.owner:
                session, action = str(report.fields.get("session", "")), str(report.fields.get("action", ""))
                start, row = action.startswith("start"), rows.get(name)
                yield Given(name, session, report.owner, report.lo, report.hi, placed=False, start=start, row=row)
            before = report.state


def _wrong(case: Case, gone: Sequence[Gone], given: Sequence[Given]) -> Iterator[Wrong]:
    """Each gift to somebody who was gone, once: a start that was placed there is not counted again when it is sent."""
    placed: set[str] = set()
    by_agent: dict[str, list[Gone]] = {}
    for gap in gone:
        by_agent.setdefault(gap.agent, []).append(gap)
    for gift in given:
        gaps = by_agent.get(gift.agent, ())
        within = [gap for gap in gaps if gap.lo <= gift.lo and gift.hi <= gap.hi]
        touched = within or [gap for gap in gaps if gap.surely and _touches(case, gap, gift)]
        if not touched or (gift.start and not gift.placed and gift.session in placed):
            continue
        if gift.placed:
            placed.add(gift.session)
        sure = next((gap for gap in within if gap.surely), None)
        yield Wrong(gift, sure or touched[0], sure is not None)


def _touches(case: Case, gap: Gone, gift: Given) -> bool:
    """Whether it may have been given in this time; not what waited until one look showed both its mark and its agent's return."""
    if not (gap.lo < gift.hi and gift.lo < gap.hi):
        return False
    waited = not gift.placed and gap.lo < gift.lo and case.reports.commands[gift.name][0].state in (PENDING, SENT)
    return not waited or not any(
        report.state == ONLINE and report.lo <= gift.hi and report.hi >= max(gift.lo, gap.hi) and report.lo > gap.lo
        for report in case.reports.agents.get(gift.agent, ())
    )


def _elsewhere(gone: Sequence[Gone], given: Sequence[Given]) -> int:
    """Starts that were placed while somebody was surely gone, and not on him."""
    return sum(
        gift.placed and any(gap.lo <= gift.lo and gift.hi <= gap.hi and gap.agent != gift.agent for gap in gone)
        for gift in given
    )


def _waited(case: Case, gone: Sequence[Gone]) -> int:
    """Commands that waited for an agent at some moment when it was surely gone."""
    found = 0
    for reports in case.reports.commands.values():
        waiting = next((report for report in reports if report.state == PENDING), None)
        if waiting is None or waiting.owner is None:
            continue
        taken = next((report.lo for report in reports if report.state != PENDING), case.watched_until)
        found += any(gap.agent == waiting.owner and waiting.hi <= gap.hi and gap.lo <= taken for gap in gone)
    return found


def _gap_doubts(case: Case, gone: Sequence[Gone]) -> list[Doubt]:
    gaps = {
        gap: None
        for time in gone
        for source in sorted(case.reports.sources)
        for gap in case.watch.gaps(source, time.lo, time.hi)
    }
    return [case.gap_doubt(gap, ": what was given to an agent that was gone is not known") for gap in gaps]


def _doubts(case: Case, wrong: Sequence[Wrong], ended: bool, evidence: int) -> Iterator[Doubt]:
    if unsure := [found for found in wrong if not found.sure]:
        first = unsure[0]
        why = (
            f"{len(unsure)} commands may have been given to an agent that was gone, the first to {first.given.agent} at "
            f"{case.seconds(first.given.lo):.3f} s..{case.seconds(first.given.hi):.3f} s"
        )
        window = case.span(first.given.lo, first.given.hi)
        yield Doubt(
            what="misassigned",
            why=why,
            do="see whether that agent was there, and read the rows more often",
            window=window,
        )
    if ended and not evidence:
        bound = case.contract.offline_ns / 1e9
        why = f"nothing was to be given while an agent had surely been gone for longer than {bound:g} s"
        yield Doubt(what="misassigned", why=why, do="take an agent away for longer, and send starts meanwhile")


def _witness(case: Case, found: Wrong) -> Witness:
    given, gone = found.given, found.gone
    what = "placed on" if given.placed else "marked as sent to"
    at = case.seconds(given.hi)
    who = f"session {given.session}" if given.placed else f"command {given.name} of session {given.session}"
    if given.row is not None:
        who = witness.name_of(case, given.row)
    say = f"{who}: {what} {given.agent} at {at:.3f} s, which had been gone since {case.seconds(gone.since):.3f} s"
    bound = witness.moment(
        case, gone.lo, gone.lo, f"{given.agent} had been gone for {case.contract.offline_ns / 1e9:g} s"
    )
    moments = [bound, witness.moment(case, given.lo, given.hi, f"{what} {given.agent}", bad=True)]
    if given.row is not None:
        return witness.scene(case, given.row, say, given.hi, moments, baseline=False)
    moments.append(witness.moment(case, gone.since, gone.since, f"{given.agent} gone"))
    moments.sort(key=lambda moment: (moment.hi, moment.lo))
    return Witness(say=say, cmd="", op="", session=given.session, agent=given.agent, moments=moments)


CHECK = Check(
    name="misassigned",
    promise=None,
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("work was given to an agent that was gone", "commands were given to an agent that was gone"),
    judge=judge,
    baseline=False,
    criteria=("SS-7.4", "SI-3.3"),
)
