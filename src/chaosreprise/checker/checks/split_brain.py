"""split-brain: two processes were one session at the same time.

Definition (design, section 4: "certain spans of two incarnations on one session overlap, or A..B..A without a reported
hand-over"). *Overlap*: the ledgers say of two incarnations of a session that both surely lived at one moment, or these say it of
themselves (`sign`). *Turns*: a step of the session surely ran in B after one that ran in A and before another one that ran in A. One violation for each
incarnation that came beside an earlier one.

Exempt: a legal take-over, where the platform reports that the session has another agent: between A's beginning and the
end of the overlap, or between A's two steps; a rolling replacement, where one change of the object (one generation)
began B and ended A. A process that crashed and came back are two lives that do not touch.

Promise: none has to be stated. A session is one thing.

Needs. A ledger that names the process of each beginning and end (in a cluster that of pods), covered from the first command
until everything settled, and in which of each kind that was sent one command had its effect. Or signs, received in all that
time, of each session that is reported to have run for 10 s.

Witness. Both lives, and the last lifecycle command before the second one began.

Limits. Lives that may have touched, and neither their times nor their generations say whether they did, count as possible.
Where each step is a process of its own, nothing is told from steps: a process counts in turns only if it ran two
of them. Neither steps nor signs are compared with the processes of another ledger, which may be their parents. Who gives no sign any more is taken
for dead; who was asked to end, soon after another one had begun that lived on, may have been replaced by it: that counts as
possible. An agent that acts for
another one without starting a second process is not seen.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import observable, signs, witness
from chaosreprise.checker.attribution import Transition
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.incarnations import Incarnation, follows, name_of, population, row_before
from chaosreprise.checker.verdict import Doubt, Finding, Moment, Witness
from chaosreprise.history.events import Effect

LIVES_ON = 1_000_000_000  # ns, after the other one's end: who ends with it was no replacement


class Beside(NamedTuple):
    """`second` came beside `first`: both surely lived from `lo` to `hi`. Turns have the steps of A around that of B."""

    session: str
    first: Effect
    second: Effect
    lo: int
    hi: int
    turns: bool = False


def judge(case: Case) -> Finding:
    found = case.once(population)
    beside: list[Beside] = []
    for session, lives in found.lives.items():
        beside += _overlaps(case, session, lives)
    overlapping = {(told.session, name_of(effect)) for told in beside for effect in (told.first, told.second)}
    for session, steps in found.steps.items():
        turns = _turns(case, session, steps)
        beside += [told for told in turns if (session, name_of(told.second)) not in overlapping]
    heard = case.once(signs.lives)
    together, replaced = _together_by_signs(case, heard)
    beside += together
    beside.sort(key=lambda told: told.lo)
    sure = {(told.session, name_of(told.second)) for told in beside}
    touching = [
        life
        for session, lives in found.lives.items()
        for life in _touching(case, session, lives)
        if (session, life.name) not in sure
    ] + replaced
    return Finding(
        count=(len(beside), len(beside) + len(touching)),
        baseline=sum(_is_baseline(case, told) for told in beside),
        evidence=sum(len(lives) for each in (found.lives, heard) for lives in each.values()),
        witnesses=[_witness(case, told) for told in beside[: witness.LIMIT]],
        scope=[
            *_unwatched(case, found.nameless),
            *_undecided(case, touching),
            *observable.unseen(case, observable.shown(case)),
        ],
    )


def _together_by_signs(case: Case, heard: dict[str, list[Incarnation]]) -> tuple[list[Beside], list[Incarnation]]:
    """Those that surely were beside another one, and those that may have replaced it."""
    beside, replaced = [], []
    for session, lives in heard.items():
        named = {life.name: life for life in lives}
        for told in _overlaps(case, session, lives):
            second = named[name_of(told.second)]
            if _replaces(case, told, named[name_of(told.first)], second):
                replaced.append(second)
            else:
                beside.append(told)
    return beside, replaced


def _replaces(case: Case, told: Beside, first: Incarnation, second: Incarnation) -> bool:
    """Whether the first was asked to end soon after the second had begun, and that one lived on: a pod may be replaced like that."""
    soon = told.hi - told.lo <= case.contract.bounds.get("start", 0)
    return first.end is not None and soon and second.hi > first.end.hi + LIVES_ON


def _overlaps(case: Case, session: str, lives: Sequence[Incarnation]) -> Iterator[Beside]:
    longest: Incarnation | None = None
    for life in lives:
        succeeds = False
        if longest is not None and life.name != longest.name and _together(longest, life):
            hi = max(life.lo, min(life.hi, longest.hi))
            succeeds = _rolling(longest, life) or _handed_over(case, session, longest.lo, hi)
            if not succeeds:
                yield Beside(session, longest.begin, life.begin, life.lo, hi)
        if life.hi >= life.lo and (longest is None or succeeds or life.hi > longest.hi):
            longest = life  # whoever succeeds legally is what the next ones must not be beside


def _together(first: Incarnation, second: Incarnation) -> bool:
    """Whether both surely lived at one moment; one of which nothing else is sure lived when it began."""
    if second.hi < second.lo:
        return first.lo < second.begin.lo and second.begin.hi < first.hi
    return second.lo < first.hi


def _touching(case: Case, session: str, lives: Sequence[Incarnation]) -> Iterator[Incarnation]:
    """Who may have begun beside an earlier one, of which nobody knows whether it had ended."""
    there: list[Incarnation] = []
    for life in sorted(lives, key=lambda life: life.begin.lo):
        there = [other for other in there if other.latest > life.begin.lo]
        if any(_may_touch(case, session, other, life) for other in there):
            yield life
        there.append(life)


def _may_touch(case: Case, session: str, first: Incarnation, second: Incarnation) -> bool:
    if first.name == second.name or _one_followed(first, second) or _one_followed(second, first):
        return False
    hi = min(first.latest, second.latest, case.last_sign)
    return not (_rolling(first, second) or _rolling(second, first) or _handed_over(case, session, first.lo, hi))


def _one_followed(first: Incarnation, second: Incarnation) -> bool:
    return any(follows(second.begin, end) for end in first.ends)


def _rolling(old: Incarnation, new: Incarnation) -> bool:
    """Whether one change of the object ended the old one and began the new one."""
    end = old.end
    return end is not None and end.gen is not None and (end.gen, end.object) == (new.begin.gen, new.begin.object)


def _handed_over(case: Case, session: str, lo: int, hi: int) -> bool:
    """Whether the platform may have reported in this time that the session has another agent."""
    before = None
    for report in case.reports.sessions.get(session, ()):
        if report.owner and before and report.owner != before and report.lo <= hi and report.hi >= lo:
            return True
        before = report.owner or before
    return False


def _turns(case: Case, session: str, steps: Sequence[Effect]) -> Iterator[Beside]:
    """Steps that surely ran between two of another process, which ran at least two of them."""
    signs: dict[str, list[Effect]] = defaultdict(list)
    for step in steps:
        signs[name_of(step)].append(step)
    workers = [own for own in signs.values() if len({step.key for step in own}) > 1]
    if len(signs) < 2 or not workers:
        return
    for name, own in signs.items():
        for worker in workers:
            if name != name_of(worker[0]) and (told := _turn(case, session, worker, own)):
                yield told
                break


def _turn(case: Case, session: str, worker: Sequence[Effect], others: Sequence[Effect]) -> Beside | None:
    since = min(worker, key=lambda step: step.hi)
    until = max(worker, key=lambda step: step.lo)
    between = next((step for step in others if since.hi < step.lo and step.hi < until.lo), None)
    if between is None:
        return None
    before = max((step for step in worker if step.hi < between.lo), key=lambda step: step.hi)
    after = min((step for step in worker if step.lo > between.hi), key=lambda step: step.lo)
    if _handed_over(case, session, before.lo, after.hi):
        return None
    return Beside(session, before, between, between.lo, after.hi, turns=True)


def _unwatched(case: Case, nameless: Sequence[Effect]) -> list[Doubt]:
    """Where processes speak for themselves, no ledger has to name them."""
    hidden = ": a second process could hide there"
    return signs.doubts(case, hidden) if case.contract.signs else [*_gap_doubts(case), *_nameless(case, nameless)]


def _gap_doubts(case: Case) -> list[Doubt]:
    ledgers = {entry.ledger for entry in case.attributed.entries.values() if entry.level != "none"} | case.processes
    return case.ledger_doubts(ledgers, ": a second process could hide there") if ledgers else [_undeclared()]


def _undeclared() -> Doubt:
    why = "no ledger of effects is declared, so nobody says where a process would show"
    return Doubt(what="ledger", why=why, do="declare in `attribution` which ledger shows the effects of which commands")


def _nameless(case: Case, effects: Sequence[Effect]) -> list[Doubt]:
    if not effects:
        return []
    first = min(effects, key=lambda effect: effect.hi)
    why = f"{len(effects)} beginnings of processes do not say which process it was, the first at {case.seconds(first.hi):.3f} s"
    return [Doubt(what=f"ledger {first.ledger}", why=why, do="let the ledger record `inc` with each beginning and end")]


def _undecided(case: Case, touching: Sequence[Incarnation]) -> list[Doubt]:
    if not touching:
        return []
    first = min(touching, key=lambda life: life.begin.lo)
    why = (
        f"{len(touching)} processes may have begun while another one was still the session, the first in session {first.session} at "
        f"{case.seconds(first.begin.lo):.3f} s..{case.seconds(first.begin.hi):.3f} s"
    )
    return [
        Doubt(what="split-brain", why=why, do="look at the ledger more often, or let it record `gen` with each change")
    ]


def _is_baseline(case: Case, told: Beside) -> bool:
    return case.first_armed is None or told.second.hi < case.first_armed


def _witness(case: Case, told: Beside) -> Witness:
    first, second = (_process(case, effect) for effect in (told.first, told.second))
    if told.turns:
        say = (
            f"session {told.session}: a step ran in {second} at {case.seconds(told.second.hi):.3f} s, between steps that ran in "
            f"{first} at {case.seconds(told.first.hi):.3f} s and at {case.seconds(told.hi):.3f} s"
        )
    else:
        say = (
            f"session {told.session}: {second} began at {case.seconds(told.second.hi):.3f} s, while {first} had lived since "
            f"{case.seconds(told.first.hi):.3f} s; both until {case.seconds(told.hi):.3f} s at the earliest"
        )
    row = row_before(case, told.session, told.second.hi)
    moments = _moments(case, told, first, second)
    effects = [Transition(e.object, e.gen, e.lo, e.hi, (e,)) for e in (told.first, told.second)]
    return witness.scene(case, row, say, told.hi, moments, effects, baseline=_is_baseline(case, told))


def _process(case: Case, effect: Effect) -> str:
    if effect.ledger in case.contract.signs and effect.inc:
        return f"process {witness.speaker_of(effect.inc)}"
    return witness.process_of(effect.inc) or "a process"


def _moments(case: Case, told: Beside, first: str, second: str) -> list[Moment]:
    does = "ran a step" if told.turns else "began"
    ends = f"{first} ran a step" if told.turns else "the first of them ended, or was last seen"
    return [
        witness.moment(case, told.first.lo, told.first.hi, f"{first} {does}"),
        witness.moment(case, told.second.lo, told.second.hi, f"{second} {does} as the same session", bad=True),
        witness.moment(case, told.hi, told.hi, ends),
    ]


CHECK = Check(
    name="split-brain",
    promise=None,
    ledgers=("slots",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("two processes were one session at once", "processes that were a session beside another one"),
    judge=judge,
    criteria=("SI-3.1",),
)
