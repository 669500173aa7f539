"""phantom: something happened that no command of ours asked for.

Definition (design, section 4: "an effect with our key never submitted or surely refused; unkeyed: only by counts, only in
our sessions"). `keyed`: an effect with the key of a command that was refused, after it was sent; or with a key that no
command had been sent with by then, in a session that a start of ours had made, or of the form `<run>.<number>` that only
this run gives. `counted`: a transition of a kind in a session that a start of ours had made, when no command of that kind,
refused ones apart, had been sent to it. A transition more than was sent is `duplicate`'s, not this check's. One that
happened before a run's first command is nobody's business here. Where processes have a ledger of their own (in a cluster that of
pods): a process that was ended on purpose, in a session that a start of ours had made and that stayed with its agent, when no more of
its stops and hibernations, refused ones apart, had been sent than had ended one; it counts as possible only, since nothing says who
ended it.

Promise: none has to be stated. A refusal that acts and a session that acts by itself break what every platform means by
an answer.

Needs. The ledgers of the kinds covered from the first command until everything settled, and of each kind one command with its
effect, else nobody knows whether they show that kind; no effect is judged whose command could be missing in the history.

Witness. The refused command and its effect; else the effect, with the start of its session where that is known.

Exempt. The end of a process in a session, or on a node, that a fault of the run is on.

Limits. Unknown keys and transitions in sessions that no start of ours made count as possible only: somebody else may act
there. At level `state` nothing is counted, so nothing can be too many.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import observable, witness
from chaosreprise.checker.attribution import Transition, begin_mark, end_mark
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import EVER
from chaosreprise.checker.incarnations import made_by
from chaosreprise.checker.life import SESSIONS
from chaosreprise.checker.surplus import Stray, Unmatched, ours
from chaosreprise.checker.verdict import Doubt, Finding, Moment, Witness
from chaosreprise.history.events import Effect

WHAT = "without a command"
ON_NODES = ("agents.drain_node", "agents.taint_node", "control-plane.drain_node", "control-plane.taint_node")


class Unknown(NamedTuple):
    """The first effect with a key that no command had been sent with. `sure`: the key is surely one of this run's."""

    key: str
    effect: Effect
    sure: bool


def judge(case: Case) -> Finding:
    strays, unknown = case.once(Unmatched).strays, list(_unknown_keys(case))
    sure = [stray for stray in strays if stray.sure]
    sure_keys = [found for found in unknown if found.sure]
    witnesses = [*(_witness(case, stray) for stray in sure), *(_witness_of_key(case, found) for found in sure_keys)]
    count, ended = len(sure) + len(sure_keys), [*_ended(case)]
    return Finding(
        count=(count, len(strays) + len(unknown) + len(ended)),
        levels={op: case.attributed.level(op) for op in observable.kinds(case)},
        baseline=sum(found.baseline for found in witnesses),
        evidence=sum(seen is not None for seen in case.attributed.effect_of),
        witnesses=sorted(witnesses, key=lambda found: found.moments[-1].hi)[: witness.LIMIT],
        scope=[
            *_gap_doubts(case),
            *case.uncountable(),
            *_possible(case, strays, unknown),
            *_unasked(case, ended),
            *observable.unobservable(case, WHAT),
            *observable.unseen(case, observable.shown(case)),
        ],
        untested=observable.untested(case, WHAT),
    )


def _unknown_keys(case: Case) -> Iterator[Unknown]:
    marks = {
        (entry.ledger, mark)
        for entry in case.attributed.entries.values()
        if entry.level == "keyed"
        for mark in (begin_mark(entry), end_mark(entry))
    }
    sent = _first_sent(case)
    runs = tuple(f"{segment.run}." for segment in case.history.segments if segment.run)
    first: dict[tuple[str, str], Effect] = {}
    for (ledger, key, mark), effects in case.effects.keyed.items():
        if (ledger, mark) not in marks or sent.get(key, effects[0].hi + 1) <= effects[0].hi:
            continue
        for effect in effects:
            known = sent.get(key, effect.hi + 1) <= effect.hi
            if not known and case.first_submit <= effect.lo and effect.hi <= case.known_effects_until:
                before = first.get((ledger, key))
                first[ledger, key] = effect if before is None or effect.hi < before.hi else before
    for (_, key), effect in first.items():
        yield Unknown(key, effect, key.startswith(runs) or ours(case, effect.session or effect.object, effect.lo))


def _ended(case: Case) -> Iterator[Effect]:
    """Processes that were ended on purpose, and nobody had asked for that."""
    hit = {life.component.removeprefix(SESSIONS) for life in case.lives if life.component.startswith(SESSIONS)}
    emptied = min((life.began for life in case.lives if life.kind in ON_NODES and life.began is not None), default=EVER)
    for session, start in case.once(made_by).items():
        reports = case.reports.sessions.get(session, ())
        if session in hit or len({one.owner for one in reports if one.owner}) > 1:
            continue
        rows = [row for op in ("hibernate", "stop") for row in case.rows_of(session, op)]
        asked = sorted(case.commands.lo[row] for row in rows if case.commands.outcome[row] != "fail")
        downs = (
            one
            for ledger in case.processes
            for one in case.effects.sessions.get((ledger, session), ())
            if one.mark == "down"
        )
        for number, one in enumerate(sorted(downs, key=lambda one: one.hi)):
            sent = bisect_right(asked, one.hi)
            if sent <= number and case.commands.lo[start] <= one.lo and one.hi < min(emptied, case.known_effects_until):
                yield one
                break  # of what ends later nobody knows whose it is


def _unasked(case: Case, ended: list[Effect]) -> Iterator[Doubt]:
    if ended:
        first = min(ended, key=lambda one: one.hi)
        name, at = first.session or first.object, f"{case.seconds(first.lo):.3f} s to {case.seconds(first.hi):.3f} s"
        why = (
            f"processes of {len(ended)} sessions were ended on purpose, and no stop or hibernation of them had been sent: "
            f"the first in session {name} from {at}"
        )
        do = "see who ended them: their agent when it came back, or somebody else in the cluster"
        yield Doubt(what="phantom", why=why, do=do, window=case.span(first.lo, first.hi))


def _first_sent(case: Case) -> dict[str, int]:
    """When each key was first on its way, at the earliest."""
    sent: dict[str, int] = {}
    for key, lo in zip(case.commands.key, case.commands.lo, strict=True):
        sent.setdefault(key, lo)
    return sent


def _gap_doubts(case: Case) -> list[Doubt]:
    return case.ledger_doubts(observable.ledgers(case), ": an effect that nobody asked for could hide there")


def _possible(case: Case, strays: list[Stray], unknown: list[Unknown]) -> list[Doubt]:
    effects = [(stray.effects[0].lo, stray.effects[0].hi, stray.session) for stray in strays if not stray.sure]
    effects += [(found.effect.lo, found.effect.hi, found.effect.object) for found in unknown if not found.sure]
    if not effects:
        return []
    lo, hi, name = min(effects, key=lambda seen: seen[1])
    why = (
        f"{len(effects)} effects belong to no command of this run and may be somebody else's, "
        f"the first at {case.seconds(hi):.3f} s on {name}, which no start of this run made"
    )
    do = "find out who else acts there, or leave the keys and sessions of others out of the history"
    return [Doubt(what="phantom", why=why, do=do, window=case.span(lo, hi))]


def _is_baseline(case: Case, hi: int) -> bool:
    return case.first_armed is None or hi < case.first_armed


def _witness(case: Case, stray: Stray) -> Witness:
    seen = stray.effects[0]
    at, baseline = f"at {case.seconds(seen.hi):.3f} s", _is_baseline(case, seen.hi)
    row = stray.row
    if row is not None:
        answer = case.commands.answer[row]
        rule = f" ({answer.rule})" if answer is not None and answer.rule else ""
        say = f"{witness.name_of(case, row)}: refused{rule}, and took effect {at}"
    else:
        row = case.rows_of(stray.session, "start")[0]
        say = f"session {stray.session}: {stray.op} took effect {at}, and no {stray.op} was sent that was not refused"
    say += witness.place_of(case, row, seen)
    bad = _bad(case, seen, f"effect of a {stray.op} that was {'refused' if stray.row is not None else 'not sent'}")
    return witness.scene(case, row, say, seen.hi, [bad], stray.effects, baseline=baseline)


def _witness_of_key(case: Case, found: Unknown) -> Witness:
    effect = found.effect
    seen = Transition(effect.object, effect.gen, effect.lo, effect.hi, (effect,))
    say = f"{effect.object}: an effect with the key {found.key} at {case.seconds(effect.hi):.3f} s, which no command had been sent with"
    return Witness(
        say=say,
        cmd="",
        op="",
        session=effect.session or effect.object,
        baseline=_is_baseline(case, effect.hi),
        moments=[_bad(case, seen, f"effect with the unknown key {found.key}")],
        effects=[witness.acted(case, seen)],
    )


def _bad(case: Case, seen: Transition, what: str) -> Moment:
    return witness.moment(case, seen.lo, seen.hi, what, bad=True)


CHECK = Check(
    name="phantom",
    promise=None,
    ledgers=("slots",),
    levels=observable.COUNTABLE,
    early=True,
    says=("something took effect that nobody asked for", "effects that nobody asked for"),
    judge=judge,
)
