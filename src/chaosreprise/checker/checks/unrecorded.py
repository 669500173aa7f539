"""unrecorded: the platform accepted something of which it keeps no record.

Definition (from the promise that no step is acknowledged, and no session is given out, without a row). A command was answered
with success and with the platform's own id of it, or, for a start, of the session that it made; from the answer until it was settled
the rows were read, and none of them is its own: of that id, and of no other session.

Exempt: reads, and what was answered without an id.

Promise: `durable`. Who keeps records only for a while does not make it.

Needs. Rows that are read from the first such answer until everything settled, and of each kind that was accepted one with its row:
else nobody knows whether the platform keeps rows of that kind at all. Where the contract says so (`records`) one of any kind is enough.

Witness. The command, its answer and its id.

Limits. A row that was there between two looks only, and is gone, was not seen. What a row says is not judged here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Witness
from chaosreprise.history import Report


class Tally(NamedTuple):
    """Accepted commands with an id: `kept` have their row, `lacking` have none, of `open` ones that is not known."""

    kept: list[int]
    lacking: list[int]
    open: list[int]


def judge(case: Case) -> Finding:
    tally = _tally(case)
    shown = {case.commands.op[row] for row in tally.kept}
    shown |= {*case.contract.records} if shown else set()
    sure, unread = ([row for row in rows if case.commands.op[row] in shown] for rows in (tally.lacking, tally.open))
    return Finding(
        count=(len(sure), len(sure) + len(unread)),
        baseline=sum(case.first_armed is None or case.commands.hi[row] < case.first_armed for row in sure),
        evidence=len(tally.kept) + len(sure),
        witnesses=[_witness(case, row) for row in sure[: witness.LIMIT]],
        scope=[*_gap_doubts(unread)],
        untested=[
            NotTested(what=f"{op} without a row", why="not one row of that kind was seen")
            for op in sorted({case.commands.op[row] for row in (*tally.lacking, *tally.open)} - shown)
        ],
    )


def _tally(case: Case) -> Tally:
    tally = Tally([], [], [])
    for row, op in enumerate(case.commands.op):
        answer = case.commands.answer[row]
        name = _name(case, row)
        if answer is None or answer.outcome != "ok" or op == "read" or name is None:
            continue
        rows = case.reports.sessions if op == "start" and answer.id is None else case.reports.commands
        if any(_is_of(report, case.commands.session[row]) for report in rows.get(name, ())):
            tally.kept.append(row)
            continue
        until = case.settle.until(row)
        watched = until is not None and not any(
            case.watch.gaps(source, case.commands.hi[row], until) for source in case.reports.sources
        )
        if watched:
            tally.lacking.append(row)
        elif until is not None:
            tally.open.append(row)
    return tally


def _is_of(report: Report, session: str | None) -> bool:
    """Whether it is not that of another session: some say nothing of theirs."""
    told = report.fields.get("session")
    return not told or session is None or told == session


def _name(case: Case, row: int) -> str | None:
    """The platform's own id: of the command, else of the session that a start made."""
    answer = case.commands.answer[row]
    if answer is None:
        return None
    return answer.id or (answer.session if case.commands.op[row] == "start" else None)


def _gap_doubts(unread: list[int]) -> Iterator[Doubt]:
    if unread:
        why = f"of {len(unread)} accepted commands the rows were not read until they had settled"
        yield Doubt(what="rows", why=why, do="see logs/recorder.log for why the rows could not be read, and run again")


def _witness(case: Case, row: int) -> Witness:
    until = case.settle.until(row) or case.last_sign
    say = (
        f"{witness.name_of(case, row)}: accepted at {case.seconds(case.commands.hi[row]):.3f} s as {_name(case, row)}, "
        f"and no row says so until {case.seconds(until):.3f} s"
    )
    baseline = case.first_armed is None or case.commands.hi[row] < case.first_armed
    return witness.build(case, row, say, until, [], baseline=baseline, missing="still no row of it; settled")


CHECK = Check(
    name="unrecorded",
    promise="durable",
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=False,
    says=("what was accepted has no record", "accepted commands have no record"),
    judge=judge,
    criteria=("SX-6",),
)
