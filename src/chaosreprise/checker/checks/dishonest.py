"""dishonest: a signal of the platform says that something is there which has been away for longer than it may take to notice.

Definition (design, section 4: "a signal with a declared claim {signal, claim, bound} contradicts the world longer than its
bound"). The contract's `claims` name signals, the values by which each says that its component is there, and a bound. A
component is surely away from the proof of a fault that takes it away, freezes it, refuses or hangs, until the undo of that
begins. Violated if meanwhile the signal says for longer than the bound that it is there. How long is counted from the
proof, or from the first look that says so after one that does not, to the last look before one that says otherwise. One
violation a claim and fault.

Exempt. What a signal says once the undo has begun, or for no longer than its bound.

Promise: what the platform's adapter declares as `claims`.

Needs. A signal that was looked at beyond its bound after the component was surely away, watched but for gaps that are no longer
than the bound, and that had said before that it is there: each claim once, else nobody knows what it would have said. A signal
that is absent says nothing.

Witness. The fault, the first and the last look that contradicts it.

Limits. Between two looks that say the same, the signal is taken to have said it. That it calls away what is there is not
judged: nobody proves that something is whole.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import ways, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import EVER, Gap
from chaosreprise.checker.life import Life
from chaosreprise.checker.verdict import Doubt, Finding, Witness
from chaosreprise.history.events import Fault
from chaosreprise.history.statements import Claim

REPORTED = ".agents"


class Said(NamedTuple):
    """What a signal says, surely from `hi` to `until`, and perhaps from `lo` to `perhaps`."""

    lo: int
    hi: int
    until: int
    perhaps: int
    there: bool


class Lie(NamedTuple):
    claim: Claim
    life: Life
    since: int
    until: int
    sure: bool


def judge(case: Case) -> Finding:
    lies: list[Lie] = []
    judged: dict[str, int] = {}
    doubts: list[Doubt] = []
    for claim in case.contract.claims:
        judged[claim.name] = 0
        for life in _away(case, claim):
            told = _told(case, claim, life)
            gaps = _gaps(case, claim, life, told)
            hiding = [gap for gap in gaps if _hides(claim, life, told, gap)]
            judged[claim.name] += _is_judged(claim, life, told) and not hiding
            doubts += [case.gap_doubt(gap, f": what {claim.signal} said then is not known") for gap in hiding]
            if lie := _lie(claim, life, told, gaps):
                lies.append(lie)
    sure = [lie for lie in lies if lie.sure]
    return Finding(
        count=(len(sure), len(lies)),
        evidence=sum(judged.values()),
        witnesses=[_witness(case, lie) for lie in sure[: witness.LIMIT]],
        scope=[*doubts, *_unsure(lies), *_not_judged(case, judged)],
    )


def _away(case: Case, claim: Claim) -> Iterator[Life]:
    """The faults that contradict this claim, each as far as it is proven and its end is known."""
    for life in case.lives:
        about = life.agent is not None if _is_reported(claim) else life.component == claim.component
        if about and life.away and life.proven is not None and life.healing is not None:
            yield life


def _is_reported(claim: Claim) -> bool:
    return claim.signal.endswith(REPORTED) and not claim.component


def _told(case: Case, claim: Claim, life: Life) -> list[Said]:
    """What the signal said of this component, in the order of time: a report holds until the next one, a sample until the next look."""
    if _is_reported(claim):
        source, agent = claim.signal.removesuffix(REPORTED), life.agent or ""
        looks = [(one.lo, one.hi, one.state) for one in case.reports.agents.get(agent, ()) if one.source == source]
        ends = [*((lo, hi) for lo, hi, _ in looks[1:]), (case.watch.horizon, EVER)][: len(looks)]
        return [
            Said(lo, hi, max(hi, end), max(hi, latest), state in claim.says)
            for (lo, hi, state), (end, latest) in zip(looks, ends, strict=False)
        ]
    samples = [one for one in case.table.observed if f"{one.source}.{one.signal}" == claim.signal]
    return [
        Said(one.lo, one.hi, one.lo, one.hi, one.value in claim.says)
        for one in sorted(samples, key=lambda one: (one.hi, one.lo))
    ]


def _edges(life: Life) -> tuple[Fault, Fault]:
    assert life.proven is not None
    assert life.healing is not None
    return life.proven, life.healing


def _is_judged(claim: Claim, life: Life, told: Sequence[Said]) -> bool:
    """Whether a look was made when the bound was surely over, and the component still away; and one before that said that it is there."""
    proven, _ = _edges(life)
    lo = proven.hi + int(claim.within_s * 1e9)
    claimed = any(said.there and said.lo <= proven.hi for said in told)
    hi = life.lasted_until or proven.hi
    return claimed and any(max(said.hi, lo) <= min(max(said.hi, said.until), hi) for said in told)


def _lie(claim: Claim, life: Life, told: Sequence[Said], gaps: Sequence[Gap]) -> Lie | None:
    """A time for which it said that what was away is there, if that is longer than the bound. For certain within a time that
    was watched throughout."""
    proven, healing = _edges(life)
    bound, found = int(claim.within_s * 1e9), None
    first = min((said.lo for said in told), default=proven.hi)
    for lo, hi in _watched(min(first, proven.hi), life.lasted_until or proven.hi, gaps):
        for run in _runs([said for said in told if _is_of(claim, said, lo, hi)]):
            since = max(run[0].hi, lo, proven.hi)
            until = max((min(said.until, hi) for said in run if said.hi <= hi), default=since)
            if until - since > bound:
                return Lie(claim, life, since, until, sure=True)
    for run in _runs(told):
        since = max(run[0].hi, proven.hi)
        until = max((min(said.until, healing.lo) for said in run if said.hi <= healing.lo), default=since)
        latest = max((min(said.perhaps, healing.hi) for said in run if said.lo <= healing.hi), default=proven.lo)
        if latest - max(run[0].lo, proven.lo) > bound:
            found = Lie(claim, life, since, until, sure=False)
    return found


def _watched(lo: int, hi: int, gaps: Sequence[Gap]) -> Iterator[tuple[int, int]]:
    """What lies between the gaps."""
    for gap in sorted(gaps, key=lambda gap: gap.lo):
        if lo < gap.lo:
            yield lo, min(gap.lo, hi)
        lo = max(lo, gap.hi)
    if lo < hi:
        yield lo, hi


def _is_of(claim: Claim, said: Said, lo: int, hi: int) -> bool:
    """Whether this was said in that time. A report holds also beyond a gap after which nothing else was reported."""
    return said.until >= lo if _is_reported(claim) else lo <= said.lo and said.hi <= hi


def _hides(claim: Claim, life: Life, told: Sequence[Said], gap: Gap) -> bool:
    """Whether a lie may have gone unseen in it: for longer than the bound, between the last look before it and the first one after it."""
    proven, healing = _edges(life)
    lo, hi = gap.lo, gap.hi
    if not _is_reported(claim):
        lo = max((said.hi for said in told if said.hi <= gap.lo), default=proven.lo)
        hi = min((said.lo for said in told if said.lo >= gap.hi), default=healing.hi)
    return min(hi, healing.hi) - max(lo, proven.lo) > int(claim.within_s * 1e9)


def _runs(told: Sequence[Said]) -> Iterator[list[Said]]:
    """Looks in succession that say that it is there."""
    run: list[Said] = []
    for said in told:
        if said.there:
            run.append(said)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _gaps(case: Case, claim: Claim, life: Life, told: Sequence[Said]) -> list[Gap]:
    """Those since the first look: what was said before the component was away is believed up to the next gap."""
    proven, healing = _edges(life)
    first = min((said.lo for said in told), default=proven.lo)
    lo, hi = min(first, proven.lo), healing.hi
    return [*case.watch.gaps(claim.signal.partition(".")[0], lo, hi), *ways.gaps(case, lo, hi)]


def _unsure(lies: Sequence[Lie]) -> Iterator[Doubt]:
    if unsure := [lie for lie in lies if not lie.sure]:
        lie = unsure[0]
        why = f"{lie.claim.signal} may have said for longer than {lie.claim.within_s:g} s that {lie.life.component} is there, while it was away"
        yield Doubt(what=lie.claim.name, why=why, do="look at that signal more often, and without gaps")


def _not_judged(case: Case, judged: dict[str, int]) -> Iterator[Doubt]:
    if not case.contract.claims:
        why = "the contract declares no claim of a signal"
        yield Doubt(what="dishonest", why=why, do="declare `claims` in the adapter, or take this check out")
    if case.stage not in ("clean", "end"):
        return
    for claim in case.contract.claims:
        if not judged[claim.name]:
            why = (
                f"{claim.signal} was not looked at, or never said before that it is there, while what it is about had been "
                f"away for longer than {claim.within_s:g} s"
            )
            yield Doubt(what=claim.name, why=why, do="hold a fault on it for longer, and sample the signal meanwhile")


def _witness(case: Case, lie: Lie) -> Witness:
    proven, healing = _edges(lie.life)
    said = f"{lie.claim.signal} says that {lie.life.component} is there"
    say = (
        f"{lie.claim.name}: {said} until {case.seconds(lie.until):.3f} s, "
        f"though it was away from {case.seconds(proven.hi):.3f} s on, and {lie.claim.within_s:g} s are allowed"
    )
    moments = [
        witness.moment(case, proven.lo, proven.hi, f"{lie.life.component} broken ({lie.life.kind})"),
        witness.moment(case, lie.since, lie.since, said),
        witness.moment(case, lie.until, lie.until, f"{said} still", bad=True),
        witness.moment(case, healing.lo, healing.hi, f"the undo of {lie.life.fault} begins"),
    ]
    return Witness(say=say, cmd="", op="", session=None, agent=lie.life.agent, moments=moments)


CHECK = Check(
    name="dishonest",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=(
        "a signal said that something is there which was away",
        "signals said that something is there which was away",
    ),
    judge=judge,
    asks="claims",
    baseline=False,
    criteria=("SI-3.3",),
)
