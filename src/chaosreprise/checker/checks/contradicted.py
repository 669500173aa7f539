"""contradicted: what the platform answers of a session is not what its own rows say.

Definition. A session was read while its row surely rested: the last command that was sent for it and not refused had been carried
out by its row, which stands in a state that no work of the platform leaves, before the read was sent, and stands there after the
answer. The answer says another state.

Exempt: reads while anything is still to come; errors, and answers without a state.

Promise: none has to be stated. Answers and rows are of one platform.

Needs. Rows that are read throughout, and reads of sessions at rest in two states at least: who only ever reads what runs finds no
answer that is old.

Witness. The read, what it said, and what the row said.

Limits. What is said while a session changes is not judged, and of lists only names are known (`denied`).
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.automaton import Automaton
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.verdict import Doubt, Finding, Witness
from chaosreprise.history.events import LIFECYCLE, Report


class Read(NamedTuple):
    """One read of a session at rest: what was said, and its row."""

    row: int
    at: int
    said: str
    resting: Report


def judge(case: Case) -> Finding:
    automaton = Automaton(case.contract.states)
    reads = list(_reads(case, automaton))
    wrong = [read for read in reads if read.said != read.resting.state and read.said in automaton.states]
    return Finding(
        count=(len(wrong), len(wrong)),
        baseline=sum(_is_baseline(case, read) for read in wrong),
        evidence=len(reads),
        witnesses=[_witness(case, read) for read in wrong[: witness.LIMIT]],
        scope=[*_doubts(case, automaton, reads)],
    )


def _reads(case: Case, automaton: Automaton) -> Iterator[Read]:
    commands = case.commands
    for row, op in enumerate(commands.op):
        session, answer = commands.session[row], commands.answer[row]
        if op == "read" and session is not None and answer is not None and answer.outcome == "ok" and answer.result:
            resting = _resting(case, automaton, session, commands.lo[row], answer.hi)
            if resting is not None:
                yield Read(row, answer.hi, answer.result, resting)


def _resting(case: Case, automaton: Automaton, session: str, lo: int, hi: int) -> Report | None:
    """What its row surely said all the time from `lo` to `hi`, with nothing more to come."""
    reports = case.reports.sessions.get(session, [])
    before = [report for report in reports if report.hi <= lo]
    after = [report for report in reports if report.hi > lo]
    if not before or before[-1].state in automaton.passing or (after and after[0].lo < hi):
        return None
    last = before[-1]
    sent = [
        row
        for op in LIFECYCLE
        for row in case.rows_of(session, op)
        if case.commands.outcome[row] != "fail" and case.commands.lo[row] <= hi
    ]
    newest = max(sent, key=case.commands.lo.__getitem__, default=None)
    if newest is None or last.hi < case.commands.lo[newest]:
        return None
    leads = (edge.after for edge in case.contract.states if edge.by == case.commands.op[newest])
    reached = any(() in automaton.ways(state, last.state) for state in leads)
    return last if reached and not case.watch.gaps(last.source, last.lo, hi) else None


def _is_baseline(case: Case, read: Read) -> bool:
    return case.first_armed is None or read.at < case.first_armed


def _doubts(case: Case, automaton: Automaton, reads: list[Read]) -> Iterator[Doubt]:
    for state in sorted({read.said for read in reads} - automaton.states):
        why = f"answers call a session {state!r}, which is none of the states that the contract states"
        yield Doubt(what="states", why=why, do="add it to the states, with the changes that lead there and away")
    states = {read.resting.state for read in reads}
    if case.stage in ("clean", "end") and len(states) < 2:
        why = f"sessions at rest were read in {len(states)} states: an old answer shows only where they change"
        yield Doubt(what="contradicted", why=why, do="put reads and `sleepers` into the workload")


def _witness(case: Case, read: Read) -> Witness:
    row, until, resting = read.row, read.at, read.resting
    say = (
        f"{case.commands.cmd[row]} read of session {case.commands.session[row]} at {case.seconds(until):.3f} s: "
        f"answered {read.said}, and its row had said {resting.state} since {case.seconds(resting.hi):.3f} s"
    )
    moments = [
        witness.moment(case, resting.lo, resting.hi, f"row {resting.state}"),
        witness.moment(case, until, until, f"answered {read.said}", bad=True),
    ]
    return witness.scene(case, row, say, until, moments, baseline=_is_baseline(case, read))


CHECK = Check(
    name="contradicted",
    promise=None,
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=False,
    says=("an answer says of a session what its row does not", "answers say of sessions what their rows do not"),
    judge=judge,
    asks="states",
    baseline=False,
    criteria=("SS-2.3", "SS-3.2", "SS-4.1", "SS-4.2"),
)
