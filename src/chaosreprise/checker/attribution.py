"""Which effect is whose, by the levels that the contract declares for each kind of command.

`keyed`: the effect carries the command's key. `counted`: the transitions of one session are counted and matched in time
(`matching`). `state`: only that the session got there at all; one effect may serve many commands. `none`: nothing is known.

A transition is one generation of one object, whatever number of marks it left. `up` together with `made` is a start and
no wake, `down` together with `gone` is a stop and no hibernation; `crash` and `back` are no transitions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from chaosreprise.checker.matching import sweep
from chaosreprise.checker.table import FINISHED, Commands, Effects, Reports
from chaosreprise.history.events import Attribution, Effect, Level, Mark

STRENGTH: dict[Level, int] = {"none": 0, "state": 1, "counted": 2, "keyed": 3}
PARTNER: dict[Mark, Mark] = {"up": "made", "down": "gone"}
STANDING: dict[Mark, int] = {"down": 0, "up": 1, "made": 2, "gone": 3}
"""The marks of transitions: what a generation with several of them is, is the highest."""
BEGUN: Mark = "b"
ENDED: Mark = "e"


class Transition(NamedTuple):
    """An effect as a check counts it, at some moment of [lo, hi].

    `sure`: no gap can hide what would make it another kind of transition. `repeats`: the object had the same transition
    just before, so that this one changed nothing.
    """

    object: str
    gen: int | None
    lo: int
    hi: int
    effects: tuple[Effect, ...]
    sure: bool = True
    repeats: bool = False


Shapes = dict[str, list[tuple[int | None, Mark, list[Effect]]]]
"""By object: generation, the mark that says what kind of transition it was, its effects."""


def strongest(entries: Iterable[Attribution]) -> dict[str, Attribution]:
    """The strongest entry of each kind."""
    found: dict[str, Attribution] = {}
    for entry in entries:
        if entry.op not in found or STRENGTH[entry.level] > STRENGTH[found[entry.op].level]:
            found[entry.op] = entry
    return found


def shows_repeat(entry: Attribution | None) -> bool:
    """Whether a second effect of one command could be told from the first."""
    return entry is not None and entry.level in ("keyed", "counted") and entry.repeat


def end_mark(entry: Attribution) -> Mark:
    """The mark that says "it took effect": of a step the one after its payload."""
    return ENDED if entry.mark == BEGUN else entry.mark


def begin_mark(entry: Attribution) -> Mark:
    """The mark that at-most-once counts: of a step the one before its payload."""
    return BEGUN if entry.mark == ENDED else entry.mark


def of_key(effects: Effects, entry: Attribution, mark: Mark, key: str, submitted: int) -> list[Transition]:
    """The effects of one command that carry its key; without those surely older than the command."""
    found: dict[object, Transition] = {}
    for number, effect in enumerate(effects.keyed.get((entry.ledger, key, mark), ())):
        if effect.hi < submitted:
            continue
        line = number if effect.gen is None else (effect.object, effect.gen)
        found.setdefault(line, Transition(effect.object, effect.gen, effect.lo, effect.hi, (effect,)))
    return list(found.values())


def shapes(effects: Sequence[Effect]) -> Shapes:
    """The transitions of each object of one session, whatever their kind, in the order of their generations."""
    objects: dict[str, dict[int | None, list[Effect]]] = defaultdict(lambda: defaultdict(list))
    for effect in effects:
        if effect.mark in STANDING:
            objects[effect.object][effect.gen].append(effect)
    return {
        name: [
            (gen, max((effect.mark for effect in own), key=STANDING.__getitem__), own) for gen, own in _in_order(gens)
        ]
        for name, gens in objects.items()
    }


def _in_order(generations: dict[int | None, list[Effect]]) -> list[tuple[int | None, list[Effect]]]:
    return sorted(generations.items(), key=lambda item: -1 if item[0] is None else item[0])


def of_session(shaped: Shapes, mark: Mark, gapless: Callable[[str], bool]) -> list[Transition]:
    """The transitions that `mark` stands for in one session, in the order of time."""
    found = []
    for name, transitions in shaped.items():
        partner = PARTNER.get(mark)
        known = partner is None or gapless(name) or any(shape == partner for _, shape, _ in transitions)
        before = None
        for gen, shape, effects in transitions:
            if shape == mark:
                own = tuple(effect for effect in effects if effect.mark == mark)
                lo, hi = min(effect.lo for effect in own), max(effect.hi for effect in own)
                found.append(Transition(name, gen, lo, hi, own, sure=known, repeats=shape == before))
            before = shape
    return sorted(found, key=lambda transition: (transition.hi, transition.gen or 0))


class Attributed:
    """The effects of all commands.

    `effect_of` is the one of each row, if there is one. By (session, kind), for the kinds that are not keyed: `groups` are
    the rows that may have had one, `of` all effects, also those of a kind that was never sent there; `absent` are unclear
    rows that surely had none. `over(ledger, row)`: the moment from which an effect of this command can't come any more, if the ledger was watched until then.
    `acted(ledger, session, transition)`: a transition as it took effect, None if it did not (`begun`).
    """

    def __init__(
        self,
        entries: dict[str, Attribution],
        commands: Commands,
        effects: Effects,
        reports: Reports,
        gapless: Callable[[str, str], bool],
        over: Callable[[str, int], int | None] = lambda _ledger, _row: None,
        acted: Callable[[str, str, Transition], Transition | None] = lambda _ledger, _session, seen: seen,
    ) -> None:
        self.entries = entries
        self.effect_of: list[Transition | None] = [None] * len(commands)
        self.groups: dict[tuple[str, str], list[int]] = {}
        self.of: dict[tuple[str, str], list[Transition]] = {}
        self.absent: list[int] = []
        self.ungenerated: set[str] = set()
        self._commands, self._effects, self._reports, self._gapless = commands, effects, reports, gapless
        self._over, self._acted = over, acted
        self._place_starts()
        self._by_key()
        self._by_session()

    def level(self, op: str) -> Level:
        entry = self.entries.get(op)
        return entry.level if entry is not None else "none"

    def row_state(self, row: int) -> str | None:
        """The last word of the platform on this command."""
        reports = self._reports.commands.get(self._commands.platform_id(row) or "")
        return reports[-1].state if reports else None

    def rank(self, row: int) -> int:
        """Who takes an effect first where there is a choice: what the platform calls done, then accepted, then unclear."""
        if self._commands.outcome[row] != "ok":
            return 3
        state = self.row_state(row)
        return 0 if state == FINISHED else 1 if state is None else 2

    def _place_starts(self) -> None:
        """A start whose answer is lost has its session from its effect, or from the row that carries its key."""
        entry = self.entries.get("start")
        by_key = self._reports.session_of_key()
        commands = self._commands
        for row, op in enumerate(commands.op):
            if op != "start" or commands.session[row] is not None:
                continue
            seen = self._effects.keyed.get((entry.ledger, commands.key[row], entry.mark)) if entry else None
            commands.session[row] = (seen[0].session or seen[0].object) if seen else by_key.get(commands.key[row])

    def _by_key(self) -> None:
        marks = {op: end_mark(entry) for op, entry in self.entries.items() if entry.level == "keyed"}
        commands = self._commands
        for row, op in enumerate(commands.op):
            if op in marks:
                found = of_key(self._effects, self.entries[op], marks[op], commands.key[row], commands.lo[row])
                acted = (self._acted(seen.effects[0].ledger, _session(seen), seen) for seen in found)
                self.effect_of[row] = min(filter(None, acted), key=lambda transition: transition.hi, default=None)

    def _by_session(self) -> None:
        rows_of = self._commands.by_session()
        sessions = {session for session, _ in rows_of}
        shaped: dict[tuple[str, str], Shapes] = {}
        for entry in self.entries.values():
            if entry.level not in ("counted", "state"):
                continue
            for session in sessions:
                at = entry.ledger, session
                if at not in shaped:
                    shaped[at] = shapes(self._effects.sessions.get(at, ()))
                transitions = of_session(shaped[at], entry.mark, partial(self._gapless, entry.ledger))
                if entry.level == "counted" and any(gen is None for own in shaped[at].values() for gen, _, _ in own):
                    self.ungenerated.add(session)
                rows = rows_of.get((session, entry.op), [])
                over = [row for row in rows if self._absent(entry.ledger, row, transitions)]
                self.absent += over
                rows = [row for row in rows if row not in over]
                self.groups[session, entry.op] = rows
                self.of[session, entry.op] = transitions
                self._assign(entry.level, rows, self.acted(session, entry.op))

    def acted(self, session: str, op: str) -> list[Transition]:
        """Those of its transitions that took effect, in the order of time."""
        ledger = self.entries[op].ledger
        acted = (self._acted(ledger, session, seen) for seen in self.of[session, op])
        return sorted(filter(None, acted), key=lambda transition: (transition.hi, transition.gen or 0))

    def _absent(self, ledger: str, row: int, transitions: Sequence[Transition]) -> bool:
        """An unclear command that had settled before any effect that could be its own: it takes no later one."""
        commands = self._commands
        until = self._over(ledger, row) if commands.outcome[row] == "info" else None
        if until is None:
            return False
        return not any(commands.lo[row] <= seen.hi and seen.lo <= until for seen in transitions)

    def _assign(self, level: Level, rows: Sequence[int], transitions: Sequence[Transition]) -> None:
        commands = self._commands
        able = [row for row in rows if commands.outcome[row] != "fail"]
        if level == "counted":
            taken, _ = sweep(able, commands.lo, [transition.hi for transition in transitions], self.rank)
            for row, index in taken.items():
                self.effect_of[row] = transitions[index]
            return
        for row in able:
            self.effect_of[row] = next((seen for seen in transitions if seen.hi >= commands.lo[row]), None)


def _session(seen: Transition) -> str:
    return seen.effects[0].session or seen.object
