"""lost: a command was accepted, and its effect never came.

Definition. A command that is `ok`, or unclear with a row of the platform that says completed, has no effect in covered
time until it is settled, and is not exempt (`exempt`). Refused commands need no effect.

`keyed`: no effect with its key. `counted`: within one session and kind, effects are matched to commands that were not
surely submitted after them. What is surely lost is what stays unmatched when effects go first to those that need one;
what may be lost is what stays unmatched when unclear and exempt commands absorb them first. `state`: no effect at all in
its session from its submission on.

Where processes have a ledger of their own (in a cluster, pods), a start or a wake acted when a process of its session began: an
object without one is no effect.

Labels, by the platform's row: *silent* (says completed), *reported* (says failed), *stuck* (still open); none without a row.

Needs. The ledger of the kind covered from the submission until settled, else that command is undecided; settling. Each
kind that was sent shows at least one command with its effect, else nobody knows whether the ledger shows that kind; of steps that
were answered with their own key, and so ran, that alone decides nothing.

Witness. The command, its row, the faults and agents around it, the end of the watch. Which of several commands of one
session and kind was lost is not known when they are counted: the one that the platform calls done is taken to be done.

Limits. A `down` whose `gone` may have been missed, and an `up` whose `made` may, are not sure to be a hibernation or a wake, and
prove nothing. Where commands are counted, a second effect of one can hide the loss of another of the same kind and session; at
level `state` any effect of another one can.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaosreprise.checker import exempt, observable, outcome, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import Gap, together
from chaosreprise.checker.matching import sweep
from chaosreprise.checker.verdict import Doubt, Finding, Label, NotTested, Witness


@dataclass(slots=True)
class Tally:
    """What was found so far. `open`: not settled, or not watched; `mixed`: others may have absorbed its effect; `overtaken`: it
    may have been dropped legally; `halves`: its effect may be a half of another one, whose other half a gap may hide."""

    lost: list[int] = field(default_factory=list)
    exempt: int = 0
    open: int = 0
    mixed: int = 0
    overtaken: int = 0
    halves: int = 0
    overdue: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def tally_of(case: Case) -> Tally:
    """Every accepted command without an effect, under what is known of it."""
    tally = Tally()
    for row, op in enumerate(case.commands.op):
        if case.attributed.level(op) in ("keyed", "state") and _needs_effect(case, row):
            _sort(case, row, tally)
    for (session, kind), rows in case.attributed.groups.items():
        if case.attributed.level(kind) == "counted":
            _count(case, session, kind, rows, tally)
    for row in case.attributed.absent:
        if outcome.claimed(case, row):  # nobody was told, but the platform itself says completed
            _sort(case, row, tally)
    tally.lost.sort()
    return tally


def judge(case: Case) -> Finding:
    tally = case.once(tally_of)
    kinds = _kinds(case)
    lost = len(tally.lost)
    return Finding(
        count=(lost, lost + tally.open + tally.mixed + tally.overtaken + tally.halves + len(tally.overdue)),
        levels={op: case.attributed.level(op) for op in kinds},
        baseline=sum(_is_baseline(case, row) for row in tally.lost),
        labels=dict(Counter(_label(case, row) or "without a row" for row in tally.lost)),
        exempt=tally.exempt,
        evidence=sum(seen is not None for seen in case.attributed.effect_of),
        witnesses=[_witness(case, row) for row in tally.lost[: witness.LIMIT]],
        scope=[
            *_gap_doubts(case, tally),
            *_other_doubts(case, tally),
            *case.uncountable(),
            *observable.unseen(case, set(kinds) - set(_dark(case, kinds))),
        ],
        untested=_untested(_dark(case, kinds)),
    )


def _needs_effect(case: Case, row: int) -> bool:
    return case.attributed.effect_of[row] is None and _promised(case, row)


def _promised(case: Case, row: int) -> bool:
    return case.commands.outcome[row] == "ok" or outcome.claimed(case, row)


def _sort(case: Case, row: int, tally: Tally) -> None:
    """File one command that has no effect under what is known of it."""
    if exempt.reason(case, row):
        tally.exempt += 1
    elif exempt.perhaps(case, row):
        tally.overtaken += 1
    elif case.commands.op[row] == "step" and case.once(observable.misses_steps):
        tally.open += 1
    elif _decided(case, row):
        tally.lost.append(row)
    else:
        _file_undecided(case, row, tally)


def _decided(case: Case, row: int) -> bool:
    """Whether its effect would have been seen by now, if it had come."""
    until = case.settle.until(row)
    return until is not None and not outcome.gaps(case, row, until)


def _file_undecided(case: Case, row: int, tally: Tally) -> None:
    until = case.settle.until(row)
    if until is not None:
        tally.open += 1
        tally.gaps += outcome.gaps(case, row, until)
    elif case.stage == "baseline":
        bound = case.contract.bounds.get(case.commands.op[row], case.settle.settle_ns)
        if case.commands.hi[row] + bound <= case.last_sign:
            tally.overdue.append(row)
    elif case.settle.group_of(row) in case.settle.groups:
        tally.open += 1


def _count(case: Case, session: str, op: str, rows: Sequence[int], tally: Tally) -> None:
    """One session and kind, where only the number of effects tells."""
    promised = {row for row in rows if _promised(case, row)}
    unclear = [row for row in rows if case.commands.outcome[row] == "info" and row not in promised]
    effect_of = case.attributed.effect_of
    if session in case.attributed.ungenerated:
        tally.open += len(promised)
        return
    if case.stage in ("clean", "end"):
        tally.halves += sum(seen is not None and not seen.sure for seen in (effect_of[row] for row in promised))
    if not unclear and all(effect_of[row] is not None for row in promised):
        return
    excused = {row for row in promised if effect_of[row] is None and exempt.reason(case, row)}
    perhaps = {row for row in promised - excused if effect_of[row] is None and exempt.perhaps(case, row)}
    decided = {row for row in promised - excused - perhaps if _decided(case, row)}
    happened = [transition.hi for transition in case.attributed.acted(session, op)]
    able, rank = [*promised, *unclear], case.attributed.rank
    taken, _ = sweep(able, case.commands.lo, happened, lambda row: rank(row) if row in decided else 9)
    lost = decided - taken.keys()
    absorbed, _ = sweep(able, case.commands.lo, happened, lambda row: int(row in promised - excused))
    missing = promised - excused - absorbed.keys()
    tally.lost += lost
    tally.exempt += len(excused - taken.keys())
    tally.overtaken += len(perhaps - taken.keys())
    undecided = [row for row in promised - excused - perhaps - decided if row not in taken]
    for row in undecided:
        _file_undecided(case, row, tally)
    tally.mixed += max(0, len(missing & decided) - len(lost))


def _kinds(case: Case) -> list[str]:
    """The kinds that were sent, or that the experiment wants exposed."""
    sent = {op for op in case.commands.op if op != "read"}
    return sorted(sent | {op for op in case.contract.exposure if op != "read"})


def _dark(case: Case, kinds: Sequence[str]) -> list[str]:
    return [op for op in kinds if case.attributed.level(op) == "none" and op not in case.contract.exposure]


def _untested(dark: Sequence[str]) -> list[NotTested]:
    return [NotTested(what=f"{', '.join(dark)} lost", why="no ledger shows the effect")] if dark else []


def _is_baseline(case: Case, row: int) -> bool:
    """Whether its effect was due before the first fault was armed."""
    bound = case.contract.bounds.get(case.commands.op[row], case.settle.settle_ns)
    return case.first_armed is None or case.commands.hi[row] + bound <= case.first_armed


def _label(case: Case, row: int) -> Label | None:
    return witness.label_of(case, row, case.settle.until(row) or 0)


def _witness(case: Case, row: int) -> Witness:
    until = case.settle.until(row) or case.last_sign
    accepted = case.commands.accepted_at(row)
    said = f"accepted at {case.seconds(accepted):.3f} s" if accepted is not None else "its row says completed"
    say = f"{witness.name_of(case, row)}: {said}, no effect until {case.seconds(until):.3f} s"
    ledger = case.attributed.entries[case.commands.op[row]].ledger
    missing = f"still no effect in the ledger `{ledger}`, watched throughout; settled"
    baseline, label = _is_baseline(case, row), _label(case, row)
    return witness.build(case, row, say, until, [], baseline=baseline, label=label, missing=missing)


def _gap_doubts(case: Case, tally: Tally) -> list[Doubt]:
    return [case.gap_doubt(gap, f": {n} accepted commands are undecided") for gap, n in together(tally.gaps).items()]


def _other_doubts(case: Case, tally: Tally) -> list[Doubt]:
    found = []
    if tally.mixed:
        why = f"{tally.mixed} accepted commands share their session and kind with unclear ones, which may have had the effect"
        found.append(Doubt(what="lost", why=why, do="run again: fewer commands without a clear answer decide it"))
    if tally.overtaken:
        why = f"{tally.overtaken} accepted commands have no effect, and the platform may have dropped them for others that may have been accepted later"
        found.append(Doubt(what="lost", why=why, do="run again: fewer commands without a clear answer decide it"))
    if tally.halves:
        why = f"of {tally.halves} accepted commands the effect may be a half of another one, whose other half could hide in a gap"
        found.append(
            Doubt(what="lost", why=why, do="see logs/recorder.log for why the ledger was not watched throughout")
        )
    if tally.overdue:
        names = ", ".join(case.commands.cmd[row] for row in tally.overdue[:3])
        why = f"{len(tally.overdue)} accepted commands have no effect yet and are past their bound ({names})"
        found.append(
            Doubt(what="lost", why=why, do="look at the platform: it is slower than its bounds, or loses commands")
        )
    return found


CHECK = Check(
    name="lost",
    promise="durable",
    ledgers=("slots",),
    levels=("keyed", "counted", "state"),
    early=False,
    says=("an accepted command never took effect", "accepted commands never took effect"),
    judge=judge,
    criteria=(
        "SS-2.1",
        "SS-2.2",
        "SS-3.1",
        "SS-3.3",
        "SS-4.1",
        "SS-4.2",
        "SS-8.2",
        "SS-10.2",
        "SI-3.1",
        "SI-3.2",
        "RP-1",
        "RP-2",
        "RP-3",
        "RP-4",
        "SX-10",
    ),
)
