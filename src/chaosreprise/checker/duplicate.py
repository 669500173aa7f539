"""duplicate: one command took effect more than once.

Definition. `keyed`: more than one effect with a command's key: for a step more than one `b` (the mark before its payload),
for a start more than one object made, or two sessions whose rows carry its key. `counted`: more transitions of a kind in
one of our sessions than commands of it that may have happened, at any moment of the run: a transition that no command
submitted before it is left for. A redelivery that changes nothing is legal, and so is one that the platform only reports.

`state`: not observable, never true. Kinds whose contract says `repeat = false` (acting again changes nothing there) are
told as such and expose nothing here; a transition that changed nothing (the same as the one before it) is not counted.

Needs. The ledger covered from the first command until everything settled, since a second effect could hide in any gap; at
least one kind of the exposure whose repeat would show.

Witness. The command and its effects; for a counted kind the last command of that kind that was sent before the surplus.

Limits. A transition of a kind that was never sent to that session, or only refused, is no duplicate but an effect without a
command: no check for that is built, so it makes this one unknown. What a gap may have hidden a half of is not counted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.attribution import Transition, begin_mark, of_key, shows_repeat
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.matching import sweep
from chaosreprise.checker.verdict import Doubt, Finding, NotTested
from chaosreprise.history.events import Op


class Surplus(NamedTuple):
    """Effects of one command, in the order of time, of which the last ones are `extra` too many."""

    row: int
    effects: list[Transition]
    extra: int


def judge(case: Case) -> Finding:
    unexplained: list[Transition] = []
    surplus = [*_keyed(case), *_rows(case), *_counted(case, unexplained)]
    surplus.sort(key=lambda found: found.row)
    extra = sum(found.extra for found in surplus)
    kinds = sorted({op for op in case.commands.op if op != "read"})
    return Finding(
        count=(extra, extra),
        levels={op: case.attributed.level(op) for op in kinds},
        baseline=sum(found.extra for found in surplus if _is_baseline(case, found)),
        evidence=_evidence(case),
        witnesses=[_witness(case, found) for found in surplus[: witness.LIMIT]],
        scope=[*_gap_doubts(case), *_unexplained_doubt(case, unexplained), *_unobservable(case)],
        untested=[NotTested(what=f"duplicate of {op}", why=_why_not(case, op)) for op in kinds if not _shows(case, op)],
    )


def _keyed(case: Case) -> Iterator[Surplus]:
    marks = {op: begin_mark(entry) for op, entry in case.attributed.entries.items() if entry.level == "keyed"}
    commands, effects = case.commands, case.effects.keyed
    for row, op in enumerate(commands.op):
        if op not in marks:
            continue
        entry = case.attributed.entries[op]
        if len(effects.get((entry.ledger, commands.key[row], marks[op]), ())) < 2:
            continue
        found = of_key(case.effects, entry, marks[op], commands.key[row], commands.lo[row])
        if len(found) > 1:
            yield Surplus(row, sorted(found, key=lambda transition: transition.hi), len(found) - 1)


def _rows(case: Case) -> Iterator[Surplus]:
    """Two sessions of the platform for the key of one start, where the ledger shows only one."""
    first_seen: dict[str, list[tuple[int, str]]] = {}
    for session, reports in case.reports.sessions.items():
        key = reports[0].fields.get("key")
        if isinstance(key, str):
            first_seen.setdefault(key, []).append((reports[0].hi, session))
    entry, commands = case.attributed.entries.get("start"), case.commands
    for row, op in enumerate(commands.op):
        if op != "start" or len(first_seen.get(commands.key[row], ())) < 2:
            continue
        own = [session for seen, session in first_seen[commands.key[row]] if seen >= commands.lo[row]]
        made = of_key(case.effects, entry, begin_mark(entry), commands.key[row], commands.lo[row]) if entry else []
        if len(own) > 1 and len(made) < 2:
            yield Surplus(row, made, len(own) - 1)


def _counted(case: Case, unexplained: list[Transition]) -> Iterator[Surplus]:
    """Transitions that no command of their kind and session is left for. Fills `unexplained` with those of no command."""
    for entry in case.attributed.entries.values():
        if entry.level != "counted":
            continue
        for session in case.our_sessions:
            transitions = [seen for seen in case.transitions_of(session, entry.op) if _counts(case, seen)]
            if not transitions:
                continue
            rows = [row for row in case.rows_of(session, entry.op) if case.commands.outcome[row] != "fail"]
            taken, left = sweep(rows, case.commands.lo, [seen.hi for seen in transitions])
            effect_by_row = {row: transitions[index] for row, index in taken.items()}
            for index in left:
                before = [row for row in rows if case.commands.lo[row] <= transitions[index].hi]
                if not before:
                    unexplained.append(transitions[index])
                    continue
                first = effect_by_row.get(before[-1])
                yield Surplus(before[-1], [*([first] if first else []), transitions[index]], 1)


def _counts(case: Case, seen: Transition) -> bool:
    """What surely is a transition that changed something, and whose command would be in the history."""
    return seen.sure and not seen.repeats and seen.gen is not None and seen.hi <= case.known_effects_until
