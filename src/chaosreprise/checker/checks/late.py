"""late: a command took effect, but after its bound.

Definition (design, section 4: "effect after bound + max(accept, heal if a fault was on its path)"). The effect of an
accepted command. `bound` is the contract's for its kind; accepted is when the answer was read; healed is when the fault was
surely undone (`due`). A fault that began after the effect was due excuses nothing. Exempt: what a later
accepted command has superseded, where the platform promises `coalesce`: it needs no effect, so none in time.

Promise: the bounds of the contract are one.

`keyed`: the first effect with its key. `counted`: within one session and kind, effects go to commands that they reach in
time, those that are due first before the others; an effect that is left is late for a command that is left. `state`: the
first effect in its session from its submission on, if no other command can have had it.

Times are intervals: surely late is what began after the latest moment at which it was due; what only may be is counted as
possible. A command without any effect is not late: it is lost, and that is another check.

Needs. The ledger covered from the submission to the effect, since the one in time could hide in a gap, and to the settling of
those without one, since theirs could be late there. Of each kind with a bound one command with its effect.

Witness. The command, its bound, the faults around it and its effect.

Limits. Commands without a clear answer were never accepted at a known moment: they are not judged, and whatever they may have
had instead of a late command is theirs. Where commands are counted, the loss of one and a second effect of another one of
the same kind and session look like one that is late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaosreprise.checker import exempt, observable, outcome, witness
from chaosreprise.checker.attribution import Transition
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.coverage import EVER, Gap, together
from chaosreprise.checker.due import due
from chaosreprise.checker.matching import meeting, sweep
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Stage, Witness

JUDGED: tuple[Stage, ...] = ("clean", "end")


@dataclass(slots=True)
class Tally:
    """What was found so far. `perhaps`: it may have been late; `unhealed`: nobody knows when it was due; `halves`: what
    came in time may be a half of another effect."""

    late: list[tuple[int, Transition]] = field(default_factory=list)
    judged: int = 0
    exempt: int = 0
    perhaps: int = 0
    unhealed: int = 0
    halves: int = 0
    wide: int = 0
    overdue: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def judge(case: Case) -> Finding:
    tally, commands = Tally(), case.commands
    for row, op in enumerate(commands.op):
        if op in case.contract.bounds and case.attributed.level(op) == "keyed" and commands.outcome[row] == "ok":
            _file(case, row, case.attributed.effect_of[row], tally)
    for (_, kind), rows in case.attributed.groups.items():
        if kind in case.contract.bounds and rows:
            _group(case, kind, rows, tally)
    kinds = sorted({op for op in commands.op if op != "read"})
    tally.late.sort(key=lambda found: found[0])
    return Finding(
        count=(len(tally.late), len(tally.late) + tally.perhaps + tally.halves),
        levels={op: case.attributed.level(op) for op in kinds},
        baseline=sum(_is_baseline(case, row) for row, _ in tally.late),
        exempt=tally.exempt,
        evidence=tally.judged,
        witnesses=[_witness(case, row, seen) for row, seen in tally.late[: witness.LIMIT]],
        scope=[
            *_gap_doubts(case, tally),
            *_other_doubts(case, tally),
            *case.uncountable(),
            *observable.unseen(case, [op for op in observable.shown(case) if op in case.contract.bounds]),
        ],
        untested=_untested(case, kinds),
    )


def _due(case: Case, row: int) -> int | None:
    """When the effect of an accepted command was due at the latest; None: a fault on its path is not known to be healed."""
    commands, accepted = case.commands, case.commands.accepted_at(row)
    assert accepted is not None
    return due(case, accepted, case.contract.bounds[commands.op[row]], commands.path[row], commands.session[row])


def _without_fault(case: Case, row: int) -> int:
    return (case.commands.accepted_at(row) or 0) + case.contract.bounds[case.commands.op[row]]


def _group(case: Case, op: str, rows: Sequence[int], tally: Tally) -> None:
    """One session and kind, where effects are matched to commands in time."""
    able = [row for row in rows if case.commands.outcome[row] != "fail"]
    transitions = case.attributed.acted(case.commands.session[rows[0]] or "", op)
    if case.commands.session[rows[0]] in case.attributed.ungenerated:
        tally.perhaps += sum(case.commands.outcome[row] == "ok" for row in able)
        return
    if case.attributed.level(op) == "state":
        _of_state(case, able, tally)
        return
    given = _in_time(case, able, transitions)
    taken = set(given.values())
    left = [seen for index, seen in enumerate(transitions) if index not in taken]
    rest = [row for row in able if row not in given and case.commands.outcome[row] == "ok"]
    late, _ = sweep(rest, case.commands.lo, [seen.hi for seen in left])
    for row in able:
        if case.commands.outcome[row] == "ok":
            own = transitions[given[row]] if row in given else left[late[row]] if row in late else None
            _file(case, row, own, tally)


def _in_time(case: Case, rows: Sequence[int], transitions: Sequence[Transition]) -> dict[int, int]:
    """A largest matching of effects to commands that they may have reached in time: {row: index of its effect}."""
    limits = [_due(case, row) if case.commands.outcome[row] == "ok" else None for row in rows]
    spans = [(case.commands.lo[row], EVER if limit is None else limit) for row, limit in zip(rows, limits, strict=True)]
    met = meeting(spans, [(seen.lo, seen.hi) for seen in transitions])
    return {rows[number]: index for number, index in met.items()}


def _of_state(case: Case, able: Sequence[int], tally: Tally) -> None:
    """One effect may serve many commands: late for certain is only that of a command which has its session for itself."""
    for row in able:
        if case.commands.outcome[row] != "ok":
            continue
        seen = case.attributed.effect_of[row]
        if len(able) > 1 and seen is not None and seen.hi > _without_fault(case, row):
            tally.perhaps += 1
            tally.wide += 1
        else:
            _file(case, row, seen, tally)


def _file(case: Case, row: int, seen: Transition | None, tally: Tally) -> None:
    """File one accepted command under what is known of its effect."""
    if seen is None:
        _file_missing(case, row, tally)
        return
    if seen.hi <= _without_fault(case, row):
        tally.judged += seen.sure
        tally.halves += not seen.sure
        return
    limit = _due(case, row)
    if limit is None:
        if case.stage in JUDGED:  # else it may still be undone
            tally.unhealed += 1
            tally.perhaps += 1
        return
    tally.judged += 1
    if exempt.superseded(case, row):
        tally.exempt += 1
        return
    if seen.hi <= limit or seen.hi > case.known_effects_until:  # a newer command may not be in the history yet
        return
    hidden = outcome.gaps(case, row, seen.lo)
    if seen.lo > limit and not hidden and seen.sure and not exempt.perhaps(case, row):
        tally.late.append((row, seen))
        return
    tally.perhaps += 1
    tally.wide += not hidden
    tally.gaps += hidden


def _file_missing(case: Case, row: int, tally: Tally) -> None:
    """No effect: it may have come late where nobody watched, and in the baseline it may still come."""
    if exempt.reason(case, row) is not None:
        return
    until, limit = case.settle.until(row), _due(case, row)
    if until is not None:
        hidden = outcome.gaps(case, row, until)
        if hidden and (limit is None or limit < until):
            tally.perhaps += 1
            tally.gaps += hidden
        return
    overdue = case.stage == "baseline" and limit is not None and limit <= case.last_sign
    if overdue or case.settle.group_of(row) in case.settle.groups:
        tally.perhaps += 1
        tally.overdue.append(row)


def _is_baseline(case: Case, row: int) -> bool:
    return case.first_armed is None or _without_fault(case, row) <= case.first_armed


def _witness(case: Case, row: int, seen: Transition) -> Witness:
    bound, accepted, limit = (
        case.contract.bounds[case.commands.op[row]],
        case.commands.accepted_at(row),
        _due(case, row),
    )
    assert accepted is not None
    assert limit is not None
    after = (
        "" if limit == accepted + bound else f", the fault on its path healed at {case.seconds(limit - bound):.3f} s"
    )
    say = (
        f"{witness.name_of(case, row)}: accepted at {case.seconds(accepted):.3f} s{after}, "
        f"took effect at {case.seconds(seen.lo):.3f} s: {(seen.lo - limit) / 1e9:.3f} s after its bound of {bound / 1e9:g} s"
    )
    missing = f"due, {bound / 1e9:g} s after {'the heal' if after else 'it was accepted'}: no effect yet"
    moments = [
        witness.moment(case, limit, limit, missing, bad=True),
        witness.moment(case, seen.lo, seen.hi, "effect", bad=True),
    ]
    return witness.scene(case, row, say, seen.hi, moments, [seen], baseline=_is_baseline(case, row))


def _gap_doubts(case: Case, tally: Tally) -> list[Doubt]:
    return [
        case.gap_doubt(gap, f": of {n} accepted commands it is not known when they took effect")
        for gap, n in together(tally.gaps).items()
    ]


def _other_doubts(case: Case, tally: Tally) -> list[Doubt]:
    found = []
    if tally.unhealed:
        why = f"{tally.unhealed} effects came while nothing says that the fault on their path was undone, so nobody knows when they were due"
        found.append(Doubt(what="late", why=why, do="run `chaos reprise heal`, then the experiment again"))
    if tally.halves:
        why = f"{tally.halves} effects may each be a half of another one, whose other half could hide in a gap"
        found.append(
            Doubt(what="late", why=why, do="see logs/recorder.log for why the ledger was not watched throughout")
        )
    if tally.wide:
        why = f"{tally.wide} effects are not known exactly enough to say whether they came in time"
        found.append(
            Doubt(what="late", why=why, do="look at the ledger more often (`hz`), or give it a stronger attribution")
        )
    if tally.overdue:
        names = ", ".join(case.commands.cmd[row] for row in tally.overdue[:3])
        why = f"{len(tally.overdue)} accepted commands have no effect yet, and it may still come ({names})"
        found.append(
            Doubt(what="late", why=why, do="look at the platform: it is slower than its bounds, or loses commands")
        )
    return found


def _untested(case: Case, kinds: Sequence[str]) -> list[NotTested]:
    dark = [op for op in kinds if case.attributed.level(op) == "none"]
    free = [op for op in kinds if op not in dark and op not in case.contract.bounds]
    found = [NotTested(what=f"{', '.join(dark)} late", why="no ledger shows the effect")] if dark else []
    return found + ([NotTested(what=f"{', '.join(free)} late", why="the contract gives no bound")] if free else [])


CHECK = Check(
    name="late",
    promise=None,
    ledgers=("slots",),
    levels=("keyed", "counted", "state"),
    early=True,
    says=("a command took effect after its bound", "commands took effect after their bounds"),
    judge=judge,
    criteria=("SS-2.3", "SS-3.2", "SI-1.1"),
)
