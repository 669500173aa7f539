"""duplicate: one command took effect more than once.

Definition. `keyed`: more than one effect with a command's key: for a step more than one `b` (the mark before its payload),
for a start more than one object made, or two sessions whose rows carry its key. `counted`: more transitions of a kind in
one of our sessions than commands of it that may have happened, at any moment of the run: a transition that no command
submitted before it is left for. A redelivery that changes nothing is legal, and so is one that the platform only reports.

`state`: not observable, never true. Kinds whose contract says `repeat = false` (acting again changes nothing there) are
told as such and expose nothing here; of them a transition that changed nothing (the same as the one before it) is not
counted.

Needs. The ledger covered from the first command until everything settled, since a second effect could hide in any gap; at
least one kind of the exposure whose repeat would show.

Witness. The command and its effects; for a counted kind the last command of that kind that was sent before the surplus.

Limits. A transition of a kind that was never sent to that session, or only refused, is no duplicate but an effect without a
command: no check for that is built, so it makes this one unknown. What a gap may have hidden a half of is not counted.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.attribution import Transition, begin_mark, of_key, shows_repeat
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.matching import sweep
from chaosreprise.checker.verdict import Doubt, Finding, NotTested, Witness
from chaosreprise.history.events import Attribution, Mark

HALF: Mark = "down"  # of a stop, until its `gone` was read


class Surplus(NamedTuple):
    """Effects of one command, in the order of time, of which the last ones are `extra` too many."""

    row: int
    effects: list[Transition]
    extra: int
    two_sessions: bool = False


def judge(case: Case) -> Finding:
    unexplained: list[Transition] = []
    surplus = sorted(
        [*_keyed(case, unexplained), *_rows(case), *_counted(case, unexplained)], key=lambda found: found.row
    )
    extra = sum(found.extra for found in surplus)
    kinds = sorted({op for op in case.commands.op if op != "read"})
    return Finding(
        count=(extra, extra),
        levels={op: case.attributed.level(op) for op in kinds},
        baseline=sum(found.extra for found in surplus if _is_baseline(case, found)),
        evidence=_evidence(case),
        witnesses=[_witness(case, found) for found in surplus[: witness.LIMIT]],
        scope=[*_gap_doubts(case), *case.uncountable(), *_unexplained_doubt(case, unexplained), *_unobservable(case)],
        untested=_untested(case, kinds),
    )


def _keyed(case: Case, unexplained: list[Transition]) -> Iterator[Surplus]:
    marks = {op: begin_mark(entry) for op, entry in case.attributed.entries.items() if entry.level == "keyed"}
    commands = case.commands
    for row, op in enumerate(commands.op):
        refused = commands.outcome[row] == "fail"
        if op not in marks or _marks(case, row, marks[op]) < (1 if refused else 2):
            continue
        found = of_key(case.effects, case.attributed.entries[op], marks[op], commands.key[row], commands.lo[row])
        if len(found) > 1:
            yield Surplus(row, sorted(found, key=lambda transition: transition.hi), len(found) - 1)
        elif refused:
            unexplained += found


def _marks(case: Case, row: int, mark: Mark) -> int:
    entry = case.attributed.entries[case.commands.op[row]]
    return len(case.effects.keyed.get((entry.ledger, case.commands.key[row], mark), ()))


def _rows(case: Case) -> Iterator[Surplus]:
    """Two sessions of the platform for the key of one start, where the ledger shows only one."""
    first_seen: dict[str, list[int]] = defaultdict(list)
    for reports in case.reports.sessions.values():
        key = reports[0].fields.get("key")
        if isinstance(key, str):
            first_seen[key].append(reports[0].hi)
    entry, commands = case.attributed.entries.get("start"), case.commands
    for row, op in enumerate(commands.op):
        own = [seen for seen in first_seen.get(commands.key[row], ()) if seen >= commands.lo[row]]
        if op != "start" or len(own) < 2:
            continue
        made = of_key(case.effects, entry, entry.mark, commands.key[row], commands.lo[row]) if entry else []
        if len(made) < 2:
            yield Surplus(row, made, len(own) - 1, two_sessions=True)


def _counted(case: Case, unexplained: list[Transition]) -> Iterator[Surplus]:
    """Transitions for which no command of their kind and session is left; `unexplained` gets those that never had one."""
    submitted = case.commands.lo
    for (session, op), transitions in case.attributed.of.items():
        if case.attributed.level(op) != "counted" or session in case.attributed.ungenerated:
            continue
        repeats = _shows(case, op)
        entry = case.attributed.entries[op]
        effects = [seen for seen in transitions if _counts(case, entry, seen) and (repeats or not seen.repeats)]
        rows = [row for row in case.rows_of(session, op) if case.commands.outcome[row] != "fail"]
        taken, left = sweep(rows, submitted, [seen.hi for seen in effects])
        surplus: dict[int, list[Transition]] = defaultdict(list)
        for index in left:
            before = [row for row in rows if submitted[row] <= effects[index].hi]
            (surplus[before[-1]] if before else unexplained).append(effects[index])
        for row, extra in surplus.items():
            first = [effects[taken[row]]] if row in taken else []
            yield Surplus(row, [*first, *extra], len(extra))


def _counts(case: Case, entry: Attribution, seen: Transition) -> bool:
    """What surely is a transition of this kind, and whose command would be in the history.

    While a run lives, the newest line of a ledger may be the first half of a transition (`down`, and `gone` to come).
    """
    whole = not case.live or entry.mark != HALF or seen.hi < case.newest_effect(entry.ledger)
    return seen.sure and whole and seen.hi <= case.known_effects_until


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
    lo, hi = case.first_submit, case.watched_until
    ledgers = {entry.ledger for op, entry in case.attributed.entries.items() if _shows(case, op)}
    gaps = [gap for ledger in sorted(ledgers) for gap in case.watch.gaps(ledger, lo, hi)]
    for session in case.our_sessions:
        gaps += [gap for ledger in sorted(ledgers) for gap in case.watch.gaps(f"{ledger}/{session}", lo, hi)]
    return [case.gap_doubt(gap, ": a second effect could hide there") for gap in gaps]


def _unexplained_doubt(case: Case, unexplained: list[Transition]) -> list[Doubt]:
    if not unexplained:
        return []
    first = min(unexplained, key=lambda seen: seen.hi)
    why = (
        f"{len(unexplained)} effects in our sessions belong to no command that was sent and not refused, "
        f"the first at {case.seconds(first.hi):.3f} s on {first.object}"
    )
    do = "find out who else acts on these sessions; no check for effects without a command is built yet"
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
)
