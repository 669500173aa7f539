"""limits: a session may take more, or less, than was asked for it.

Definition (from the promise that what a session may take is what its start asked for). A start asks for memory and for a share of a
processor. Each process that began in its session, with the start or with a wake, must be limited to that, by what the kernel, or
the cluster's own object, says of it: violated if it may take another amount, or if nothing limits it. To the byte, and to the thousandth
of a processor: each session of ours has an amount of its own, so that another one's shows. One violation a session and kind.

Only what the contract promises, a list of `memory` and `cpu`, is judged.

Promise: `limits` of the contract; none has to be stated for the check as a whole.

Needs. Starts that say what they ask for (`resources`); processes of which their ledger says how they are limited (`limits`), of each promised kind
at least one; where a start or wake was accepted and no process began after it, a ledger that was watched from then on.

Witness. The start and what it asked for; the process, and what it may take.

Limits. What is asked, not what is used: whether a session gets its memory when all of them want it is not tried. What limits a group of
processes from above, and what is changed while a process runs, is not seen. Of a pod its limits are looked at, and its requests, by which it
gets a node, are not. A process that had ended before anybody looked is left out, and told.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, get_args

from chaosreprise.checker import witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import Gap, together
from chaosreprise.checker.incarnations import BEGINS, made_by
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Witness
from chaosreprise.history import Effect
from chaosreprise.history.events import Resource

WHAT: dict[Resource, str] = {"memory": "memory", "cpu": "of a processor"}
UNITS: dict[Resource, str] = {"memory": "bytes of memory", "cpu": "thousandths of a processor"}


class Limited(NamedTuple):
    """A process of a session, by what was asked for in the start `row`; `may`: None for no limit."""

    row: int
    what: Resource
    asked: int
    may: int | None
    begun: Effect

    @property
    def wrong(self) -> bool:
        return self.may != self.asked


def judge(case: Case) -> Finding:
    promised = [what for what in get_args(Resource) if what in (case.contract.promises.get("limits") or ())]
    judged = [limited for limited in _limited(case) if limited.what in promised]
    wrong = [*{(one.row, one.what): one for one in reversed(judged) if one.wrong}.values()]
    wrong.sort(key=lambda one: one.begun.hi)
    witnesses = [_witness(case, one) for one in wrong]
    return Finding(
        count=(len(wrong), len(wrong)),
        baseline=sum(told.baseline for told in witnesses),
        labels=dict(Counter(one.what for one in wrong)),
        evidence=len({one.row for one in judged}),
        witnesses=witnesses[: witness.LIMIT],
        scope=[*_not_promised(promised), *_not_shown(case, promised, judged), *_not_watched(case, promised)],
        untested=[*_untested(case, promised, judged)],
    )


def _asked(case: Case) -> dict[str, int]:
    """The starts that say what they ask for, by the session that they made."""
    return {session: row for session, row in case.once(made_by).items() if case.commands.resources[row]}


def _begun(case: Case, session: str) -> Iterator[Effect]:
    ledgers = {*case.shown_by("start"), *case.processes}
    for ledger in sorted(ledgers):
        yield from (one for one in case.effects.sessions.get((ledger, session), ()) if one.mark in BEGINS)


def _limited(case: Case) -> Iterator[Limited]:
    for session, row in _asked(case).items():
        for begun in _begun(case, session):
            for what, asked in case.commands.resources[row].items():
                if what in begun.limits:
                    yield Limited(row, what, asked, begun.limits[what], begun)


def _not_promised(promised: list[Resource]) -> Iterator[Doubt]:
    if not promised:
        why = "the platform does not promise that sessions are limited to what was asked for"
        do = "state in [promises] what it limits, such as limits = ['memory', 'cpu'], or leave this check out"
        yield Doubt(what="limits", why=why, do=do)


def _not_shown(case: Case, promised: list[Resource], judged: list[Limited]) -> Iterator[Doubt]:
    if case.stage not in ("clean", "end"):
        return
    if promised and not any(case.commands.resources):
        do = "see whether the adapter says it (`said.Sizes`)"
        yield Doubt(what="limits", why="no start says how much it asks for", do=do)
    for what in promised if any(case.commands.resources) else ():
        if not any(one.what == what for one in judged):
            why = f"of no process of a session it was seen how much {WHAT[what]} it may take"
            do = f"see which evidence can show that, or take {what} out of promises.limits"
            yield Doubt(what="limits", why=why, do=do)


def _not_watched(case: Case, promised: list[Resource]) -> Iterator[Doubt]:
    """A start or wake was accepted, and what it began may have come where nobody looked."""
    gaps: list[Gap] = []
    for session in _asked(case) if promised else ():
        newest = max((one.hi for one in _begun(case, session)), default=-1)
        for op in ("start", "wake"):
            for row in case.rows_of(session, op):
                if case.commands.accepted_at(row) is not None and newest < case.commands.lo[row]:
                    for ledger in case.shown_by(op):
                        gaps += case.watch.gaps(ledger, case.commands.lo[row], case.watched_until)
    yield from (case.gap_doubt(gap, f" ({many} starts and wakes)") for gap, many in together(gaps).items())


def _untested(case: Case, promised: list[Resource], judged: list[Limited]) -> Iterator[NotTested]:
    for what in promised:
        known = {one.row for one in judged if one.what == what}
        begun = {row for session, row in _asked(case).items() if any(_begun(case, session))}
        if known and (rest := len(begun - known)):
            yield NotTested(
                what=f"{what} of {rest} of {len(begun)} sessions", why="their processes had ended before anybody looked"
            )
    for what in set(get_args(Resource)) - {*promised}:
        yield NotTested(what=f"{what} of sessions limited as asked", why="the platform does not promise it")


def _witness(case: Case, one: Limited) -> Witness:
    begun = one.begun
    may = "as much as there is" if one.may is None else f"{one.may}"
    process = witness.process_of(begun.inc) or "its process"
    say = (
        f"{witness.name_of(case, one.row)}: asked for {one.asked} {UNITS[one.what]}, and {process}, begun at "
        f"{case.seconds(begun.hi):.3f} s, may take {may}"
    )
    moment = witness.moment(case, begun.lo, begun.hi, f"{process} may take {may} of {one.what}", bad=True)
    baseline = case.first_armed is None or begun.hi < case.first_armed
    return witness.scene(case, one.row, say, begun.hi, [moment], baseline=baseline, label=one.what)


CHECK = Check(
    name="limits",
    promise=None,
    ledgers=("slots",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=(
        "a session may take another amount than was asked for",
        "sessions may take other amounts than were asked for",
    ),
    judge=judge,
    criteria=("SI-1.5",),
)
