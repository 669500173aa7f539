"""reorder: a command acted before another one of its session that had been accepted before it was sent.

Definition (design, section 4, "Order"). A *precedes* B if both are of one session and A's answer was read before B was
sent, on the clock of the one process that did both. Violated when A precedes B, and B's first effect surely came before
A's; or A had no effect, was closed by the platform, and B's first effect surely came while A's row was still `pending`.
The order of answers proves nothing: whoever sent two commands at once had no order. One violation for each A.

Label *stale*: A acts after B, both of them lifecycle commands, so that what A does had been overtaken. Exempt: an A without
effect that B supersedes, where the platform promises `coalesce` (`exempt`); it is stale if it acts after all.

Promise: `order`.

Needs. The ledgers of the kinds covered from the first command until everything settled, and of each kind one command with its
effect; at the end at least one pair that could have changed places: B was sent before A had surely acted.

Witness. A, with B's submission and both effects. Of several that overtook A the one that acted first.

Limits. Pairs whose intervals overlap are not decided, and count as possible. So do counted commands that may have
exchanged their effects (`first`), where matching them in order shows a violation. An A that never acted and was never
closed is `lost`, and overtaken by nobody.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaosreprise.checker import exempt, observable, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.first import First, first_effects
from chaosreprise.checker.table import FAILED, FINISHED, PENDING
from chaosreprise.checker.verdict import Doubt, Finding, Label, Witness
from chaosreprise.history.events import LIFECYCLE

WHAT = "out of order"
NEVER = 2**62


class Overtaken(NamedTuple):
    """`row` precedes `by`, which acted first. `at`: when `row` acted, or until when it surely waited, and what ended that."""

    row: int
    by: int
    at: tuple[int, int]
    acted: bool


@dataclass(slots=True)
class Tally:
    """`ordered`: pairs in their order; `open`: those of them in which B was sent before A had surely acted."""

    overtaken: list[Overtaken] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)
    ordered: int = 0
    open: int = 0
    exempt: int = 0


class Session:
    """The commands of one session that acted, by the moment at which they were sent: who of those sent later acted first."""

    def __init__(self, case: Case, rows: Sequence[int], first: dict[int, First]) -> None:
        self.rows = [row for row in rows if row in first]
        self.sent = [case.commands.lo[row] for row in self.rows]
        self._surely = self._earliest([first[row].hi if first[row].sure else NEVER for row in self.rows])
        self._probably = self._earliest([first[row].hi for row in self.rows])
        self._possibly = self._earliest([first[row].lo for row in self.rows])

    def after(self, moment: int) -> int:
        """The number of the first command that was surely sent after it."""
        return bisect_right(self.sent, moment)

    def surely(self, number: int) -> tuple[int, int]:
        """Of the commands from this one on: who surely acted first, and when at the latest."""
        return self._surely[number]

    def probably(self, number: int) -> tuple[int, int]:
        return self._probably[number]

    def possibly(self, number: int) -> tuple[int, int]:
        """Who may have acted first, and when at the earliest."""
        return self._possibly[number]

    def _earliest(self, moments: Sequence[int]) -> list[tuple[int, int]]:
        found = [(NEVER, -1)]
        for row, moment in zip(reversed(self.rows), reversed(moments), strict=True):
            found.append(min(found[-1], (moment, row)))
        return [(row, moment) for moment, row in reversed(found)]


def judge(case: Case) -> Finding:
    first, tally = case.once(first_effects), Tally()
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, session in enumerate(case.commands.session):
        if session is not None and case.commands.op[row] != "read" and case.commands.outcome[row] != "fail":
            rows_of[session].append(row)
    for rows in rows_of.values():
        others = Session(case, rows, first)
        for row in rows:
            _compare(case, row, others, first, tally)
    witnesses = [_witness(case, found, first) for found in tally.overtaken[: witness.LIMIT]]
    count = len(tally.overtaken)
    ended = case.stage in ("clean", "end")
    return Finding(
        count=(count, count + len(tally.undecided)),
        levels={op: case.attributed.level(op) for op in observable.kinds(case)},
        baseline=sum(_is_baseline(case, found, first) for found in tally.overtaken),
        labels=_labels(case, tally),
        exempt=tally.exempt,
        evidence=tally.open if ended else tally.ordered,
        witnesses=witnesses,
        scope=[
            *_doubts(case, tally, ended),
            *case.uncountable(),
            *observable.unobservable(case, WHAT),
            *observable.unseen(case, observable.shown(case)),
        ],
        untested=observable.untested(case, WHAT),
    )


def _compare(case: Case, row: int, others: Session, first: dict[int, First], tally: Tally) -> None:
    """One command against all of its session that it precedes."""
    accepted = case.commands.accepted_at(row)
    if accepted is None or (number := others.after(accepted)) == len(others.rows):
        return
    own = first.get(row)
    closed = None if own is not None else _closed(case, row, tally)
    at = (own.lo, own.hi) if own is not None else closed
    if at is None:
        return
    by, moment = others.surely(number)
    if moment < at[0] and (own is None or (own.sure and not _hidden(case, row, own))):
        tally.overtaken.append(Overtaken(row, by, at, own is not None))
    elif others.probably(number)[1] < at[0] or others.possibly(number)[1] < at[1]:
        tally.undecided.append(row)
    else:
        tally.ordered += 1
        tally.open += others.sent[number] <= at[1]


def _closed(case: Case, row: int, tally: Tally) -> tuple[int, int] | None:
    """Of a command without effect: until when its row surely waited, and when it had surely been closed."""
    reports = case.reports.commands.get(case.commands.platform_id(row) or "", [])
    if not reports or reports[-1].state not in (FINISHED, FAILED) or not _alone(case, row):
        return None
    if exempt.reason(case, row):
        tally.exempt += 1
        return None
    if exempt.perhaps(case, row):
        tally.undecided.append(row)
        return None
    taken = next((report for report in reports if report.state != PENDING), reports[-1])
    waited = taken.lo if reports[0].state == PENDING else case.commands.lo[row]
    return waited, reports[-1].hi


def _alone(case: Case, row: int) -> bool:
    """Whether it is surely this command that had no effect, and not another one of its session and kind."""
    session, op = case.commands.session[row], case.commands.op[row]
    level = case.attributed.level(op)
    return level == "keyed" or (level == "counted" and len(case.attributed.groups[session or "", op]) == 1)


def _hidden(case: Case, row: int, own: First) -> bool:
    """Whether a gap could hide an earlier effect of this command than the one that was seen."""
    ledger, lo = case.attributed.entries[case.commands.op[row]].ledger, case.commands.lo[row]
    objects = f"{ledger}/{own.effect.object}"
    return bool(case.watch.gaps(ledger, lo, own.lo) or case.watch.gaps(objects, lo, own.lo))


def _label(case: Case, found: Overtaken) -> Label | None:
    lifecycle = case.commands.op[found.row] in LIFECYCLE and case.commands.op[found.by] in LIFECYCLE
    return "stale" if found.acted and lifecycle else None


def _labels(case: Case, tally: Tally) -> dict[str, int]:
    stale = sum(_label(case, found) == "stale" for found in tally.overtaken)
    return {"stale": stale} if stale else {}


def _is_baseline(case: Case, found: Overtaken, first: dict[int, First]) -> bool:
    return case.first_armed is None or max(found.at[1], first[found.by].hi) < case.first_armed


def _doubts(case: Case, tally: Tally, ended: bool) -> Iterator[Doubt]:
    yield from case.ledger_doubts(observable.ledgers(case), ": the order of effects could be another one")
    if tally.undecided:
        names = ", ".join(case.commands.cmd[row] for row in tally.undecided[:3])
        why = (
            f"of {len(tally.undecided)} commands it can't be decided whether a later one acted before them ({names}): "
            "their effects are known too roughly, or may be another command's"
        )
        yield Doubt(
            what="reorder", why=why, do="watch the ledger more often, or send fewer commands of one kind at once"
        )
    if ended and not tally.open and not tally.undecided and not tally.overtaken:
        why = "no command was sent while one before it was still to act: order could not show"
        yield Doubt(what="reorder", why=why, do="send pairs of commands to sessions whose agent is away")


def _witness(case: Case, found: Overtaken, first: dict[int, First]) -> Witness:
    row, by, at = found.row, found.by, found.at
    own, other = witness.name_of(case, row), case.commands.cmd[by]
    accepted, sent = case.commands.accepted_at(row) or 0, case.commands.lo[by]
    acted = f"acted at {case.seconds(at[1]):.3f} s" if found.acted else "was still waiting then, and never acted"
    say = (
        f"{own}: accepted at {case.seconds(accepted):.3f} s, {acted}; {other} {case.commands.op[by]}, sent after that "
        f"at {case.seconds(sent):.3f} s, acted at {case.seconds(first[by].hi):.3f} s"
    )
    ends = first[row].effect if found.acted else None
    effects = [first[by].effect, *([ends] if ends is not None else [])]
    moments = [
        witness.moment(case, sent, case.commands.hi[by], f"{other} {case.commands.op[by]} submitted"),
        witness.moment(case, first[by].lo, first[by].hi, f"effect of {other}", bad=True),
    ]
    if found.acted:
        moments.append(witness.moment(case, *at, f"effect of {case.commands.cmd[row]}, too late"))
    baseline, label = _is_baseline(case, found, first), _label(case, found)
    return witness.scene(case, row, say, at[1], moments, effects, baseline=baseline, label=label)


CHECK = Check(
    name="reorder",
    promise="order",
    ledgers=("slots",),
    levels=observable.COUNTABLE,
    early=True,
    says=("a command acted before one that preceded it", "commands were overtaken by later ones of their session"),
    judge=judge,
)
