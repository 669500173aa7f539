"""Which processes a session had, and when each of them surely lived, from the ledgers that name them.

A life begins with `up` or `back` and ends with `down` or `crash` of the same incarnation, or when all end: with `gone`, or
a `down` that names none; by then it was over, but before that a gap may hide an end of its own. What was not seen to end lived
until its ledger was no longer watched, once a run is over. Signs of it elsewhere, such as a step that it ran, only make a
life longer. All times are taken narrow: a life surely lasted from `lo` to `hi`, and at no moment surely where `hi` is before `lo`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import EVER
from chaosreprise.history.events import LIFECYCLE, Effect, Mark

BEGINS: tuple[Mark, ...] = ("up", "back")
ENDS: tuple[Mark, ...] = ("down", "crash")
ALL_END: tuple[Mark, ...] = ("gone", "down")
STEPS: tuple[Mark, ...] = ("b", "e")


@dataclass(slots=True)
class Incarnation:
    """One life of a process in a session, from `begin` to `end`; without an end it was not seen to end.

    `by_name`: its end named it, and not just its object.
    """

    name: str
    session: str
    begin: Effect
    lo: int
    hi: int
    end: Effect | None = None
    by_name: bool = False
    ends: tuple[Effect, ...] = ()

    @property
    def latest(self) -> int:
        """When it had surely ended; `EVER` if nothing says that it did."""
        return min((end.hi for end in self.ends), default=EVER)


@dataclass(slots=True)
class Population:
    """`lives` by session, in the order in which they began; `steps` by session; `nameless`: beginnings that name no process."""

    lives: dict[str, list[Incarnation]]
    steps: dict[str, list[Effect]]
    nameless: list[Effect]


def population(case: Case) -> Population:
    """Of our sessions. Ask for it by `Case.once(population)`. Where processes have a ledger, other objects than theirs name none."""
    ours = {*case.our_sessions, *case.once(made_by)}
    found = Population(defaultdict(list), defaultdict(list), [])
    for (ledger, session), effects in case.effects.sessions.items():
        if session in ours:
            found.lives[session] += _lives(case, ledger, session, effects)
            found.steps[session] += [effect for effect in effects if effect.mark in STEPS and effect.inc]
            if ledger in (case.processes or {ledger}):
                found.nameless += [effect for effect in effects if effect.mark in BEGINS and not effect.inc]
    for session, lives in found.lives.items():
        _lengthen(lives, found.steps[session])
        lives.sort(key=lambda life: (life.lo, life.hi))
    return found


def made_by(case: Case) -> dict[str, int]:
    """The start that made each session, by its answer or by its key in a ledger or a row; a key may have made two sessions."""
    commands, entry = case.commands, case.attributed.entries.get("start")
    starts = {commands.key[row]: row for row, op in enumerate(commands.op) if op == "start"}
    found: dict[str, int] = {}
    for row in starts.values():
        session = commands.session[row]
        if session is not None:
            found[session] = row
    for (ledger, key, mark), effects in case.effects.keyed.items():
        if entry is not None and (ledger, mark) == (entry.ledger, entry.mark) and key in starts:
            for effect in effects:
                if effect.hi >= commands.lo[starts[key]]:
                    found.setdefault(effect.session or effect.object, starts[key])
    for session, reports in case.reports.sessions.items():
        named = reports[0].fields.get("key")
        row = starts.get(named, -1) if isinstance(named, str) else -1
        if row >= 0 and reports[0].hi >= commands.lo[row]:
            found.setdefault(session, row)
    return found


def name_of(effect: Effect) -> str:
    return str(effect.inc)


def row_before(case: Case, session: str, moment: int) -> int:
    """The last lifecycle command of the session before a moment, or else its first one, or its start."""
    rows = [row for op in (*LIFECYCLE, "step", "read") for row in case.rows_of(session, op)]
    before = [row for row in rows if case.commands.op[row] in LIFECYCLE and case.commands.lo[row] <= moment]
    return max(before) if before else min(rows) if rows else case.once(made_by)[session]


def _lives(case: Case, ledger: str, session: str, effects: list[Effect]) -> Iterator[Incarnation]:
    """Each incarnation begins once, and ends once at most."""
    lives: dict[str, Incarnation] = {}
    for effect in effects:
        if effect.mark in BEGINS and effect.inc:
            name = name_of(effect)
            lives.setdefault(name, Incarnation(name, session, effect, effect.hi, effect.hi))
    for effect in effects:
        own = lives.get(name_of(effect)) if effect.mark in ENDS and effect.inc else None
        if own is not None and own.end is None and effect.hi >= own.begin.lo:
            own.end, own.by_name = effect, True
    enders = [effect for effect in effects if effect.mark in ALL_END and not effect.inc]
    for life in lives.values():
        later = (end for end in enders if end.object == life.begin.object and follows(end, life.begin) is not False)
        ends = [end for end in (life.end, next(later, None)) if end is not None]
        life.end, life.ends = (ends[0] if ends else None), tuple(ends)
        until = min((end.lo for end in ends), default=None)
        life.hi = until if until is not None and life.by_name else _seen_until(case, ledger, life, until)
        yield life


def follows(later: Effect, earlier: Effect) -> bool | None:
    """Whether one came after the other: by time where that decides, else by their generations; None: nobody knows."""
    if later.lo > earlier.hi:
        return True
    if later.hi < earlier.lo:
        return False
    if later.gen is None or earlier.gen is None or later.gen == earlier.gen:
        return None
    return later.gen > earlier.gen


def _seen_until(case: Case, ledger: str, life: Incarnation, until: int | None) -> int:
    """Until when an end by its own name would have been seen, at most `until`. While a run lives, it may be there and not be read yet."""
    if until is None:
        if case.live:
            return life.begin.lo - 1
        until = case.watch.horizon
    since, own = life.begin.lo, f"{ledger}/{life.begin.object}"
    gaps = case.watch.gaps(ledger, since, until) + case.watch.gaps(own, since, until)
    return min([until, *(gap.lo for gap in gaps)])


def _lengthen(lives: list[Incarnation], steps: list[Effect]) -> None:
    """What ran a step lived then, whatever else is said of it."""
    signs: dict[str, list[Effect]] = defaultdict(list)
    for step in steps:
        signs[name_of(step)].append(step)
    for life in lives:
        if own := signs.get(life.name):
            life.lo = min([life.lo, *(sign.hi for sign in own)])
            life.hi = max([life.hi, *(sign.lo for sign in own)])
