"""Effects for which no command is left, found once: too many for a command (`duplicate`), or of none at all (`phantom`).

Where effects are counted, the two are told apart by whether a command of that kind was sent to that session before, and
not refused: then it may have acted twice, else nothing of ours can have acted there.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from chaosreprise.checker.attribution import Transition, begin_mark, of_key, shows_repeat
from chaosreprise.checker.case import Case
from chaosreprise.checker.matching import sweep
from chaosreprise.history.events import Attribution, Mark

HALF: Mark = "down"  # of a stop, until its `gone` was read


class Surplus(NamedTuple):
    """Effects of one command, in the order of time, of which the last ones are `extra` too many."""

    row: int
    effects: list[Transition]
    extra: int
    two_sessions: bool = False


class Stray(NamedTuple):
    """Effects of no command: `row` is the refused one whose key they carry. `sure`: they are surely none of another's."""

    op: str
    session: str
    effects: list[Transition]
    row: int | None = None
    sure: bool = True


class Unmatched:
    """All effects of one history that no command is left for. Ask for it by `Case.once(Unmatched)`."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.surplus: list[Surplus] = []
        self.strays: list[Stray] = []
        self._by_key()
        self.surplus += self._by_row()
        self._by_count()
        self.surplus.sort(key=lambda found: found.row)

    def _by_key(self) -> None:
        commands, effects, entries = self._case.commands, self._case.effects, self._case.attributed.entries
        marks = {op: begin_mark(entry) for op, entry in entries.items() if entry.level == "keyed"}
        for row, op in enumerate(commands.op):
            refused = commands.outcome[row] == "fail"
            if op not in marks:
                continue
            mark, key = marks[op], commands.key[row]
            if len(effects.keyed.get((entries[op].ledger, key, mark), ())) < (1 if refused else 2):
                continue
            found = of_key(effects, entries[op], mark, key, commands.lo[row])
            found.sort(key=lambda seen: seen.hi)
            if len(found) > 1:
                self.surplus.append(Surplus(row, found, len(found) - 1))
            if found and refused and not self._accepted_elsewhere(row):
                self.strays.append(Stray(op, found[0].object, found[:1], row))

    def _accepted_elsewhere(self, row: int) -> bool:
        """Whether the same key was sent in another command that was not refused: then the effect may be that one's."""
        return self._case.commands.key[row] in self._able_keys

    @cached_property
    def _able_keys(self) -> set[str]:
        commands = self._case.commands
        return {key for key, outcome in zip(commands.key, commands.outcome, strict=True) if outcome != "fail"}

    def _by_row(self) -> Iterator[Surplus]:
        """Two sessions of the platform for the key of one start, where the ledger shows only one."""
        case, commands = self._case, self._case.commands
        first_seen: dict[str, list[int]] = defaultdict(list)
        for reports in case.reports.sessions.values():
            key = reports[0].fields.get("key")
            if isinstance(key, str):
                first_seen[key].append(reports[0].hi)
        entry = case.attributed.entries.get("start")
        for row, op in enumerate(commands.op):
            own = [seen for seen in first_seen.get(commands.key[row], ()) if seen >= commands.lo[row]]
            if op != "start" or len(own) < 2:
                continue
            made = of_key(case.effects, entry, entry.mark, commands.key[row], commands.lo[row]) if entry else []
            if len(made) < 2:
                yield Surplus(row, made, len(own) - 1, two_sessions=True)

    def _by_count(self) -> None:
        """Transitions for which no command of their kind and session is left."""
        case, submitted = self._case, self._case.commands.lo
        for (session, op), transitions in case.attributed.of.items():
            if case.attributed.level(op) != "counted" or session in case.attributed.ungenerated:
                continue
            entry = case.attributed.entries[op]
            effects = [
                seen for seen in transitions if counts(case, entry, seen) and (shows_repeat(entry) or not seen.repeats)
            ]
            rows = [row for row in case.rows_of(session, op) if case.commands.outcome[row] != "fail"]
            taken, left = sweep(rows, submitted, [seen.hi for seen in effects])
            surplus: dict[int, list[Transition]] = defaultdict(list)
            for index in left:
                before = bisect_right(rows, effects[index].hi, key=submitted.__getitem__)
                if before:
                    surplus[rows[before - 1]].append(effects[index])
                else:
                    self.strays.append(
                        Stray(op, session, [effects[index]], sure=ours(case, session, effects[index].lo))
                    )
            for row, extra in surplus.items():
                first = [effects[taken[row]]] if row in taken else []
                self.surplus.append(Surplus(row, [*first, *extra], len(extra)))


def counts(case: Case, entry: Attribution, seen: Transition) -> bool:
    """What surely is a transition of this kind, and whose command would be in the history."""
    return seen.sure and whole(case, entry, seen) and seen.hi <= case.known_effects_until


def whole(case: Case, entry: Attribution, seen: Transition) -> bool:
    """While a run lives, the newest line of a ledger may be the first half of a transition (`down`, and `gone` to come)."""
    return not case.live or entry.mark != HALF or seen.hi < case.newest_effect(entry.ledger)


def ours(case: Case, session: str, moment: int) -> bool:
    """Whether a start of ours had surely been sent by then that made this session: nobody else has a business there."""
    return any(case.commands.hi[row] <= moment for row in case.rows_of(session, "start"))
