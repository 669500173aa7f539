"""All that a check looks at: the columns of one history, its coverage, faults, settling and attribution, at one stage.

A check gets a Case and nothing else: no file, no clock, no environment.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from chaosreprise.checker import table as tables
from chaosreprise.checker.attribution import Attributed, strongest
from chaosreprise.checker.begun import ACTED, Begun
from chaosreprise.checker.coverage import DONE, WARDEN, Gap, Watch
from chaosreprise.checker.life import Life, lives
from chaosreprise.checker.settle import LIVE, Settle
from chaosreprise.checker.verdict import Doubt, Span, Stage
from chaosreprise.history import Contract, History
from chaosreprise.history.events import LIFECYCLE, WAY, Coverage, Op
from chaosreprise.history.statements import Objective

SECOND = 1e9
NOTICED = "noticed_s"
Found = TypeVar("Found")


def sooner(stated: Objective, silence_s: float) -> bool:
    """Whether it wants an agent's absence noticed before its silence shows."""
    return stated.recovery == NOTICED and stated.max is not None and stated.max < silence_s


class Case:
    """One history at one stage. `unclear` is filled once, by `outcome.resolve`."""

    def __init__(self, history: History, contract: Contract, stage: Stage) -> None:
        self.history, self.contract, self.stage = history, contract, stage
        self.live = stage in LIVE
        self.unclear: dict[int, bool | None] | None = None
        self._found: dict[Callable[[Case], Any], Any] = {}
        self.start = min((segment.mono for segment in history.segments), default=0)
        self.table = tables.build(history.events)
        self.commands, self.effects, self.reports = self.table.commands, self.table.effects, self.table.reports
        self.lives: list[Life] = lives(self.table.faults)
        self.last_sign = self._last_sign()
        done = Watch(self.table.coverage, self.last_sign, self.live).done_at("recorder")
        seen_until = self.last_sign if done is None else done
        self.watch = Watch(self.table.coverage, seen_until, self.live)
        self.settle = Settle(self.commands, self.table.phases, self.lives, contract.settle_ns, stage, seen_until)
        begun = Begun(self.effects, contract.processes)
        self.attributed = Attributed(
            strongest(contract.attribution),
            self.commands,
            self.effects,
            self.reports,
            self._gapless,
            self._over,
            begun.acted,
        )

    def once(self, find: "Callable[[Case], Found]") -> Found:
        """What `find` makes of this case, found once for all checks."""
        if find not in self._found:
            self._found[find] = find(self)
        found: Found = self._found[find]
        return found

    @cached_property
    def processes(self) -> set[str]:
        """The ledgers in which processes begin and end, where these are not those of effects."""
        return {self.contract.processes} - {""}

    def shown_by(self, op: str) -> list[str]:
        """The ledgers that must be watched to see the effect of such a command."""
        entry = self.attributed.entries.get(op)
        if entry is None:
            return []
        return [entry.ledger, *(self.processes if op in ACTED.values() else ())]

    @cached_property
    def objectives(self) -> list[Objective]:
        """The contract's, but none is to be noticed sooner than an agent's silence shows here at the latest."""
        silence_s = self.contract.offline_ns / SECOND
        return [
            msgspec.structs.replace(one, max=silence_s) if sooner(one, silence_s) else one
            for one in self.contract.objectives
        ]

    @cached_property
    def first_submit(self) -> int:
        return min(self.commands.lo, default=self.start)

    @cached_property
    def first_armed(self) -> int | None:
        """When the first fault may have begun to act."""
        return min((life.began for life in self.lives if life.began is not None), default=None)

    @cached_property
    def watched_until(self) -> int:
        """The end of what is judged."""
        settled = self.settle.watched_until()
        return self.last_sign if settled is None else settled

    @cached_property
    def known_effects_until(self) -> int:
        """Up to here the command behind each effect is surely in the history, even if the load died or still sends."""
        if self.stage in ("clean", "end") and self.watch.ended("load") is None:
            return max(self.last_sign, self.watched_until)
        answered = (answer.hi for answer in self.commands.answer if answer is not None)
        return max([*answered, *self.commands.hi], default=self.start)

    @cached_property
    def rows_said(self) -> dict[tuple[str, str], dict[str, str]]:
        """The platform's command rows by (session, kind): the last state of each by its id."""
        found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for name, reports in self.reports.commands.items():
            session, action = reports[-1].fields.get("session"), reports[-1].fields.get("action")
            if isinstance(session, str) and isinstance(action, str):
                found[session, action.removesuffix("_session")][name] = reports[-1].state
        return found

    @cached_property
    def rows_by_id(self) -> dict[str, int]:
        """Our commands by the platform's own id of them."""
        named = ((self.commands.platform_id(row), row) for row in range(len(self.commands)))
        return {name: row for name, row in named if name is not None}

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[int]]:
        return self.commands.by_session()

    def rows_of(self, session: str, op: str) -> list[int]:
        """The commands of one kind for one session, in the order of submission."""
        return self._rows.get((session, op), [])

    def unnamed_rows(self, session: str, op: str) -> dict[str, str]:
        """The rows of the platform for such commands that no answer has named, so that they can be those of unclear ones."""
        named = {self.commands.platform_id(row) for row in self.rows_of(session, op)}
        return {name: state for name, state in self.rows_said.get((session, op), {}).items() if name not in named}

    @cached_property
    def our_sessions(self) -> list[str]:
        return sorted({session for session in self.commands.session if session is not None})

    def newest_effect(self, ledger: str) -> int:
        """When the last effect was seen there."""
        return self._newest.get(ledger, self.start)

    @cached_property
    def _newest(self) -> dict[str, int]:
        newest: dict[str, int] = {}
        for (ledger, _), effects in self.effects.sessions.items():
            newest[ledger] = max(newest.get(ledger, self.start), effects[-1].hi)
        return newest

    def seconds(self, moment: int) -> float:
        """Since the start of the run."""
        return round((moment - self.start) / SECOND, 6)

    def span(self, lo: int, hi: int) -> Span:
        return self.seconds(lo), self.seconds(hi)

    def lifecycle_kinds(self) -> list[Op]:
        """The kinds of lifecycle commands whose effects some ledger shows."""
        return [op for op in LIFECYCLE if self.attributed.level(op) != "none"]

    def gap_doubt(self, gap: Gap, suffix: str = "") -> Doubt:
        hi = min(gap.hi, max(self.watched_until, self.last_sign))
        lo = min(max(gap.lo, self.start), hi)
        what = "source" if gap.of in self.reports.sources else "way" if gap.of.startswith(WAY) else "ledger"
        return Doubt(
            what=f"{what} {gap.of}",
            why=f"it was not watched from {self.seconds(lo):.3f} s to {self.seconds(hi):.3f} s ({gap.why}){suffix}",
            do="see logs/recorder.log for why it could not be read then, and run again",
            window=self.span(lo, hi),
        )

    def ledger_doubts(self, ledgers: Iterable[str], suffix: str) -> list[Doubt]:
        """The gaps of these ledgers, and of our sessions in them, from the first command to the end of what is judged."""
        lo, hi, names = self.first_submit, self.watched_until, sorted(set(ledgers))
        gaps = [gap for ledger in names for gap in self.watch.gaps(ledger, lo, hi)]
        for session in self.our_sessions:
            gaps += [gap for ledger in names for gap in self.watch.gaps(f"{ledger}/{session}", lo, hi)]
        return [self.gap_doubt(gap, suffix) for gap in gaps]

    def uncountable(self) -> list[Doubt]:
        """Sessions whose ledger tells no transitions apart."""
        if not self.attributed.ungenerated:
            return []
        why = f"effects in {len(self.attributed.ungenerated)} sessions carry no generation, so they can't be counted"
        return [Doubt(what="ledger", why=why, do="let the ledger record `gen` with each transition")]

    def _last_sign(self) -> int:
        """The last sign of life of the recorder."""
        signs = [event.hi for event in self.table.coverage if _is_recorders(event)]
        for group in (self.effects.sessions, self.reports.commands, self.reports.sessions, self.reports.agents):
            signs += [events[-1].hi for events in group.values()]
        return max(signs, default=self.start)

    def _gapless(self, ledger: str, name: str) -> bool:
        lo, hi = self.first_submit, self.last_sign
        return not self.watch.gaps(ledger, lo, hi) and not self.watch.gaps(f"{ledger}/{name}", lo, hi)

    def _was_open(self, row: int, at: int) -> bool:
        """Whether a row that can be this command's, since nobody was told its name, said then that it is still to be done."""
        for name in self.unnamed_rows(self.commands.session[row] or "", self.commands.op[row]):
            said = [report.state for report in self.reports.commands[name] if report.lo <= at]
            if said and said[-1] not in (tables.FINISHED, tables.FAILED):
                return True
        return False

    def _over(self, ledger: str, row: int) -> int | None:
        """When this command was settled, if its effect would have been seen until then, and the platform had no open row for it."""
        until, lo, session = self.settle.until(row), self.commands.lo[row], self.commands.session[row]
        if until is None or self._was_open(row, until):
            return None
        ledgers = {ledger, *(self.processes if self.commands.op[row] in ACTED.values() else ())}
        if any(self.watch.gaps(name, lo, until, dead_or_alive=True) for name in ledgers):
            return None
        return None if session is not None and self.watch.gaps(f"{ledger}/{session}", lo, until) else until


def _is_recorders(event: Coverage) -> bool:
    """Whether it shows that the recorder lived."""
    return event.of not in ("load", WARDEN) and not event.of.startswith(WAY) and event.why != DONE
