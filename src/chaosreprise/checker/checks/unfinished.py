"""unfinished: by the platform's own rows an accepted command came to no good end, or to two.

Definition. A command was accepted and has settled. *reported*: its row says that it failed. *stuck*: its row is still open.
*twice*: a session has more rows of one kind than commands of that kind were sent for it and not refused, or two sessions carry the
key of one create. This is as much of `lost` and `duplicate` as rows can show, where no ledger of effects is to be had.

Exempt: what a later accepted command superseded, where the platform promises `coalesce`.

Promise: `durable`. Who may drop what was accepted does not make it.

Needs. The row of each accepted command, by the id that its answer named, else by session and kind, read until everything
settled; of each kind in the exposure one that was completed.

Witness. The command, its row, the faults and agents around it.

Limits. A row is the platform's own word: what it calls completed may have had no effect, or two. That takes a ledger.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaosreprise.checker import exempt, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.table import FAILED, FINISHED, PENDING, SENT
from chaosreprise.checker.verdict import Doubt, Finding, Label, NotTested, Witness
from chaosreprise.history.events import LIFECYCLE, Report

OPEN = (PENDING, SENT, "ack")


@dataclass(slots=True)
class Tally:
    """`open`: nobody knows how they ended; `rowless`: those of which no row was seen; `strange`: those in states that nobody knows."""

    done: list[int] = field(default_factory=list)
    wrong: list[tuple[int, Label]] = field(default_factory=list)
    overtaken: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    rowless: list[int] = field(default_factory=list)
    strange: list[tuple[int, str]] = field(default_factory=list)
    exempt: int = 0


def judge(case: Case) -> Finding:
    tally = _tally(case)
    wrong = sorted([*tally.wrong, *_twice(case)])
    count, unsure = len(wrong), [*tally.overtaken, *tally.open, *tally.rowless, *tally.strange]
    return Finding(
        count=(count, count + len(unsure)),
        baseline=sum(_is_baseline(case, row, label) for row, label in wrong),
        labels=dict(Counter(label for _, label in wrong)),
        exempt=tally.exempt,
        evidence=len(tally.done) + count,
        witnesses=[_witness(case, row, label) for row, label in wrong[: witness.LIMIT]],
        scope=[*_doubts(case, tally)],
        untested=_untested(case),
    )


def _tally(case: Case) -> Tally:
    tally, commands = Tally(), case.commands
    for row, op in enumerate(commands.op):
        if op not in LIFECYCLE or commands.outcome[row] != "ok":
            continue
        reports, until = _reports(case, row), case.settle.until(row)
        if reports and reports[-1].state == FINISHED:
            tally.done.append(row)
        elif until is not None and not reports:
            tally.rowless.append(row)
        elif until is not None:  # else it may still end, or the run as a whole says that nothing had settled
            _file(case, row, reports[-1], until, tally)
    return tally


def _file(case: Case, row: int, last: Report, until: int, tally: Tally) -> None:
    """File a command that is not completed. One that is open may still be closed: that is judged when all is over."""
    if exempt.superseded(case, row):
        tally.exempt += 1
    elif exempt.perhaps(case, row):
        tally.overtaken.append(row)
    elif last.state == FAILED:
        tally.wrong.append((row, "reported"))
    elif last.state not in OPEN:
        tally.strange.append((row, last.state))
    elif case.stage in ("clean", "end"):
        unread = case.watch.gaps(last.source, last.lo, until)
        tally.open += [row] if unread else []
        tally.wrong += [] if unread else [(row, "stuck")]


def _reports(case: Case, row: int) -> list[Report]:
    """What its row has said. Where no answer named rows, those of a session and kind are its commands' in their order."""
    commands = case.commands
    session, op, name = commands.session[row] or "", commands.op[row], commands.platform_id(row)
    if name is None:
        own = [
            one for one in case.rows_of(session, op) if commands.outcome[one] == "ok" and not commands.platform_id(one)
        ]
        names = sorted(case.unnamed_rows(session, op), key=lambda one: case.reports.commands[one][0].lo)
        name = names[own.index(row)] if len(names) == len(own) else ""
    return case.reports.commands.get(name, [])


def _twice(case: Case) -> Iterator[tuple[int, Label]]:
    """What was asked for once and has two rows, or two sessions."""
    until = min(case.watched_until, case.known_effects_until)  # later ones are of who tidies up
    for (session, op), names in case.rows_said.items():
        sent = [row for row in case.rows_of(session, op) if case.commands.outcome[row] != "fail"]
        there = [name for name in names if case.reports.commands[name][0].hi <= until]
        if op in LIFECYCLE and sent and len(there) > len(sent):
            yield sent[-1], "twice"
    keys = Counter(str(own[0].fields.get("key")) for own in case.reports.sessions.values() if own[0].hi <= until)
    for row, op in enumerate(case.commands.op):
        if op == "start" and keys[case.commands.key[row]] > 1:
            yield row, "twice"


def _is_baseline(case: Case, row: int, label: Label) -> bool:
    if case.first_armed is None:
        return True
    bound = case.contract.bounds.get(case.commands.op[row], case.settle.settle_ns) if label == "stuck" else 0
    last = _reports(case, row)[-1:]
    return max([case.commands.hi[row] + bound, *(one.hi for one in last)]) <= case.first_armed


def _doubts(case: Case, tally: Tally) -> Iterator[Doubt]:
    if tally.rowless:
        first = witness.name_of(case, tally.rowless[0])
        why = f"of {len(tally.rowless)} accepted commands no row was seen, such as {first}"
        yield Doubt(what="rows", why=why, do="see whether the rows carry the run's tag, and what `unrecorded` says")
    if tally.open:
        why = f"how {len(tally.open)} accepted commands ended is not known: their rows were not read to the end"
        yield Doubt(what="rows", why=why, do="see logs/recorder.log for why the rows could not be read, and run again")
    for state in sorted({state for _, state in tally.strange}):
        why = f"rows end in the state {state!r}, of which nobody knows whether it is a good end"
        yield Doubt(what="states", why=why, do="see in the platform's own terms what it means")
    if tally.overtaken:
        why = f"{len(tally.overtaken)} accepted commands may have been dropped for a later one"
        yield Doubt(what="unfinished", why=why, do="take `coalesce` out of the promises if the platform drops none")
    if case.stage in ("clean", "end"):
        done = {case.commands.op[row] for row in tally.done}
        for op in sorted({*case.contract.exposure} & {*LIFECYCLE} - done):
            why = f"not one {op} was completed by its row in this run"
            yield Doubt(what=op, why=why, do=f"see whether the platform keeps rows of {op}, and what they say")


def _untested(case: Case) -> list[NotTested]:
    blind = [op for op in LIFECYCLE if op in case.commands.op and case.attributed.level(op) == "none"]
    if not blind:
        return []
    why = "no ledger shows effects, so the platform's own rows and answers are all that is known"
    return [NotTested(what=f"whether {', '.join(blind)} really ran, and ran exactly once", why=why)]


def _witness(case: Case, row: int, label: Label) -> Witness:
    until = case.settle.until(row) or case.watched_until
    said = f"its row says {witness.row_of(case, row) or 'nothing'}"
    what = "there are two of what was asked for once" if label == "twice" else said
    say = f"{witness.name_of(case, row)}: accepted at {case.seconds(case.commands.hi[row]):.3f} s; {what}"
    baseline = _is_baseline(case, row, label)
    return witness.build(case, row, say, until, [], baseline=baseline, label=label, missing=f"{what}; settled")


CHECK = Check(
    name="unfinished",
    promise="durable",
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=False,
    says=("an accepted command did not come to its one end", "accepted commands did not come to their one end"),
    judge=judge,
    criteria=("SS-2.1", "SS-3.1", "SS-3.3"),
)
