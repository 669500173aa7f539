"""duplicate: one command took effect more than once.

Definition. `keyed`: more than one effect with a command's key: for a step more than one `b` (the mark before its payload),
for a start more than one object made, or two sessions whose rows carry its key. `counted`: more transitions of a kind in
one of our sessions than commands of it that may have happened, at any moment of the run: a transition that no command
submitted before it is left for. A redelivery that changes nothing is legal, and so is one that the platform only reports.

`state`: not observable, never true. Kinds whose contract says `repeat = false` (acting again changes nothing there) are
told as such and expose nothing here; of them a transition that changed nothing (the same as the one before it) is not
counted.

Needs. The ledger covered from the first command until everything settled, since a second effect could hide in any gap; at
least one kind of the exposure whose repeat would show; of each kind that was sent and would show it one command with its
effect, else nobody knows whether the ledger shows that kind.

Witness. The command and its effects; for a counted kind the last command of that kind that was sent before the surplus.

Limits. A transition of a kind that was never sent to that session, or only refused, is no duplicate but an effect without a
command: `phantom` judges it, and where that is not required, it makes this one unknown. What a gap may have hidden a half
of is not counted.
"""

from collections import defaultdict
from collections.abc import Sequence

from chaosreprise.checker import observable, witness
from chaosreprise.checker.attribution import shows_repeat
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.surplus import Surplus, Unmatched
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Witness

PHANTOM = "phantom"


def judge(case: Case) -> Finding:
    surplus = case.once(Unmatched).surplus
    extra = sum(found.extra for found in surplus)
    kinds = sorted({op for op in case.commands.op if op != "read"})
    return Finding(
        count=(extra, extra),
        levels={op: case.attributed.level(op) for op in kinds},
        baseline=sum(found.extra for found in surplus if _is_baseline(case, found)),
        evidence=_evidence(case),
        witnesses=[_witness(case, found) for found in surplus[: witness.LIMIT]],
        scope=[
            *_gap_doubts(case),
            *case.uncountable(),
            *_stray_doubt(case),
            *_unobservable(case),
            *observable.unseen(case, [op for op in kinds if _shows(case, op)]),
        ],
        untested=_untested(case, kinds),
    )


def _is_baseline(case: Case, found: Surplus) -> bool:
    return case.first_armed is None or all(seen.hi < case.first_armed for seen in found.effects)


def _shows(case: Case, op: str) -> bool:
    return shows_repeat(case.attributed.entries.get(op))


def _why_not(case: Case, op: str) -> str:
    level = case.attributed.level(op)
    if level in ("keyed", "counted"):
        return "a repeat could not show: acting again changes nothing there"
    return "only the end state is known" if level == "state" else "no ledger shows its effect"


def _untested(case: Case, kinds: Sequence[str]) -> list[NotTested]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for op in kinds:
        if not _shows(case, op):
            by_reason[_why_not(case, op)].append(op)
    return [NotTested(what=f"{', '.join(ops)} acting twice", why=reason) for reason, ops in by_reason.items()]


def _evidence(case: Case) -> int:
    """Effects of commands of which a second one would have shown."""
    seen = zip(case.commands.op, case.attributed.effect_of, strict=True)
    return sum(effect is not None and _shows(case, op) for op, effect in seen)


def _gap_doubts(case: Case) -> list[Doubt]:
    ledgers = {entry.ledger for op, entry in case.attributed.entries.items() if _shows(case, op)}
    return case.ledger_doubts(ledgers, ": a second effect could hide there")


def _stray_doubt(case: Case) -> list[Doubt]:
    """Effects that no command explains: `phantom` judges them, but without being required it leaves those that are not sure."""
    strays = case.once(Unmatched).strays
    if PHANTOM in case.contract.require:
        return []
    if PHANTOM in case.contract.optional:
        strays = [stray for stray in strays if not stray.sure]
    if not strays:
        return []
    first = min((stray.effects[0] for stray in strays), key=lambda seen: seen.hi)
    why = (
        f"{len(strays)} effects in our sessions belong to no command that was sent and not refused, "
        f"the first at {case.seconds(first.hi):.3f} s on {first.object}"
    )
    do = f"find out who else acts on these sessions; `{PHANTOM}` in `require` judges them"
    return [Doubt(what="duplicate", why=why, do=do, window=case.span(first.lo, first.hi))]


def _unobservable(case: Case) -> list[Doubt]:
    """Kinds of the exposure whose repeat nobody could see, unless the contract says that it changes nothing there."""
    if case.stage not in ("clean", "end") or not case.contract.exposure:
        return []
    kinds = sorted(case.contract.exposure)
    found = [
        Doubt(
            what=op, why=f"{op} acting twice: {_why_not(case, op)}", do="give the platform file a ledger that counts it"
        )
        for op in kinds
        if case.attributed.level(op) in ("state", "none")
    ]
    if not found and not any(_shows(case, op) for op in kinds):
        why = f"the exposure is of {', '.join(kinds)} alone, and none of these shows a repeat"
        found = [Doubt(what="duplicate", why=why, do="expose a kind whose repeat shows, such as wake")]
    return found


def _witness(case: Case, found: Surplus) -> Witness:
    times = [f"at {case.seconds(seen.hi):.3f} s{witness.place_of(case, found.row, seen)}" for seen in found.effects]
    name = witness.name_of(case, found.row)
    if found.two_sessions:
        say = f"{name}: the platform made {found.extra + 1} sessions of it"
    elif len(found.effects) > found.extra:
        say = f"{name}: took effect {' and '.join(times)}"
    else:
        say = f"{name}: took effect once more than it was sent, {' and '.join(times)}"
    until = max((seen.hi for seen in found.effects), default=case.commands.hi[found.row])
    return witness.build(case, found.row, say, until, found.effects, baseline=_is_baseline(case, found))


CHECK = Check(
    name="duplicate",
    promise="at_most_once",
    ledgers=("slots",),
    levels=("keyed", "counted"),
    early=True,
    says=("a command took effect twice", "commands took effect more than once"),
    judge=judge,
    criteria=("SI-3.1", "SI-3.2", "RP-1", "RP-2", "RP-4", "SX-10"),
)
