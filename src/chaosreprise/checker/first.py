"""When each command first acted, and whether that effect is surely its own: what the order of commands is judged by.

`keyed`: its first effect with its key, of a step the mark before its payload. `counted`: commands and transitions of one
session and kind are matched in the order of time; a command's own is *sure* if it is the only command of that kind there,
or each transition up to it came before the next command was sent, so that nobody else could have made it. A transition
counts from its first mark on: a stop from the `down` before its `gone`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker.attribution import STANDING, Transition, begin_mark, end_mark, of_key
from chaosreprise.checker.case import Case
from chaosreprise.checker.matching import sweep
from chaosreprise.checker.surplus import whole


class First(NamedTuple):
    """The first effect of one command, at some moment of [lo, hi], never before the command was sent."""

    lo: int
    hi: int
    sure: bool
    effect: Transition


def first_effects(case: Case) -> dict[int, First]:
    """By row, of all commands that were not refused and were seen to act. Ask for it by `Case.once(first_effects)`."""
    found: dict[int, First] = {}
    for row, lo, hi, sure, effect in (*_keyed(case), *_counted(case)):
        if hi <= case.known_effects_until:
            found[row] = First(max(lo, case.commands.lo[row]), hi, sure, effect)
    return found


Seen = tuple[int, int, int, bool, Transition]
"""Row, lo, hi, whether it is surely its own, effect."""


def _keyed(case: Case) -> Iterator[Seen]:
    entries, commands = case.attributed.entries, case.commands
    keyed = {op: entry for op, entry in entries.items() if entry.level == "keyed"}
    for row, op in enumerate(commands.op):
        if op not in keyed or commands.outcome[row] == "fail":
            continue
        entry, key, lo = keyed[op], commands.key[row], commands.lo[row]
        for mark in dict.fromkeys((begin_mark(entry), end_mark(entry))):
            if seen := of_key(case.effects, entry, mark, key, lo):
                first = min(seen, key=lambda effect: effect.hi)
                yield row, min(effect.lo for effect in seen), first.hi, True, first
                break


def _counted(case: Case) -> Iterator[Seen]:
    submitted, outcome = case.commands.lo, case.commands.outcome
    begun = _beginnings(case)
    for (session, op), group in case.attributed.groups.items():
        if case.attributed.level(op) != "counted" or session in case.attributed.ungenerated:
            continue
        rows = [row for row in group if outcome[row] != "fail"]
        entry, own = case.attributed.entries[op], case.attributed.of[session, op]
        effects = [seen for seen in own if seen.hi <= case.known_effects_until and whole(case, entry, seen)]
        if not rows or not effects:
            continue
        sure, taken = len(rows) == 1, sweep(rows, submitted, [seen.hi for seen in effects])[0]
        forced = list(_forced(case, rows, effects))
        for number, row in enumerate(rows):
            if row in taken:
                effect = effects[taken[row]]
                lo, hi = begun.get((entry.ledger, effect.object, effect.gen), (effect.lo, effect.hi))
                alone = sure or (taken[row] == number and forced[number])
                yield row, lo, hi, alone and effect.sure, effect


def _forced(case: Case, rows: list[int], effects: list[Transition]) -> Iterator[bool]:
    """Of each command: whether one transition for each up to it came before the next was sent; of the last: no other did."""
    holds = True
    for number in range(len(rows)):
        if number + 1 < len(rows):
            sent_next = case.commands.lo[rows[number + 1]]
            holds = holds and number < len(effects) and effects[number].hi < sent_next
        else:
            holds = holds and len(effects) == len(rows)
        yield holds


def _beginnings(case: Case) -> dict[tuple[str, str, int | None], tuple[int, int]]:
    """When each generation of each object first left a mark."""
    found: dict[tuple[str, str, int | None], tuple[int, int]] = {}
    for (ledger, _), effects in case.effects.sessions.items():
        for effect in effects:
            if effect.mark in STANDING:
                name = ledger, effect.object, effect.gen
                lo, hi = found.get(name, (effect.lo, effect.hi))
                found[name] = min(lo, effect.lo), min(hi, effect.hi)
    return found
