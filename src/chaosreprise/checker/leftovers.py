"""What is left of a session by the platform's rows and by the ledgers of objects: rows, objects, processes, commands."""

from collections import defaultdict
from collections.abc import Container, Iterator
from functools import cached_property
from typing import Literal, NamedTuple

from chaosreprise.checker.case import Case
from chaosreprise.checker.exempt import ENDED
from chaosreprise.checker.incarnations import Incarnation, Population, follows
from chaosreprise.checker.table import FAILED, FINISHED
from chaosreprise.checker.witness import process_of
from chaosreprise.history.events import Effect, Report


class Left(NamedTuple):
    """One thing that is left, in words. `row`: the command, if it is one of ours."""

    kind: Literal["session", "object", "process", "command"]
    say: str
    sure: bool
    row: int | None = None


class Remains:
    """What is left at the end of what is judged."""

    def __init__(self, case: Case, population: Population) -> None:
        self._case, self._population = case, population
        self._until = case.watched_until

    def of(self, session: str) -> list[Left]:
        return [*self._row(session), *self._objects(session), *self._processes(session), *self._commands(session)]

    def ended(self, session: str) -> bool:
        """Whether its end was seen, and not just nothing of it."""
        reports = self._case.reports.sessions.get(session)
        return bool(reports and reports[-1].state in ENDED) or any(
            effect.mark == "gone" for ledger in self._complete for effect in self._effects(ledger, session)
        )

    def strangers(self, ours: Container[str]) -> list[str]:
        """Sessions that are reported, have not ended, and are none of these; nor did we name them in a command."""
        named = set(self._case.our_sessions)
        return [
            name
            for name, reports in self._case.reports.sessions.items()
            if name not in ours and name not in named and reports[-1].state not in ENDED
        ]

    def _row(self, session: str) -> Iterator[Left]:
        if (reports := self._case.reports.sessions.get(session)) and reports[-1].state not in ENDED:
            say = f"the session, which the platform calls {reports[-1].state}"
            yield Left("session", say, self._last_word(reports[-1]))

    def _commands(self, session: str) -> Iterator[Left]:
        for name in self._names_of.get(session, ()):
            last = self._case.reports.commands[name][-1]
            if last.state not in (FINISHED, FAILED):
                say = f"the command {name}, which is {last.state}"
                yield Left("command", say, self._last_word(last), self._case.rows_by_id.get(name))

    def _objects(self, session: str) -> Iterator[Left]:
        for ledger in self._complete:
            effects = self._effects(ledger, session)
            made = {effect.object: effect for effect in effects if effect.mark == "made"}
            for name, last in made.items():
                ends = [follows(end, last) for end in effects if end.mark == "gone" and end.object == name]
                if True not in ends:
                    yield Left("object", f"the object {name} in {ledger}", None not in ends and not self._hidden(last))

    def _processes(self, session: str) -> Iterator[Left]:
        for life in self._population.lives.get(session, ()):
            if life.begin.ledger in {*self._complete, *self._case.processes} and self._still_runs(life):
                say = f"the process {(process_of(life.begin.inc) or 'of it').removeprefix('process ')}"
                yield Left("process", say, not self._hidden(life.begin))

    def _still_runs(self, life: Incarnation) -> bool:
        """Whether it was not seen to end: where ends name their process, the end of its object alone is none."""
        return life.end is None or (not life.by_name and life.begin.ledger in self._by_name)

    def _hidden(self, since: Effect) -> bool:
        """Whether its end could have been missed, also because the recorder had died in the meantime."""
        gaps, until = self._case.watch.gaps, self._until
        return bool(
            gaps(since.ledger, since.lo, until, dead_or_alive=True)
            or gaps(f"{since.ledger}/{since.object}", since.lo, until)
        )

    def _last_word(self, report: Report) -> bool:
        """Whether no later word of this source could have been missed at the end."""
        return not self._case.watch.gaps(report.source, self._until - 1, self._until, dead_or_alive=True)

    def _effects(self, ledger: str, session: str) -> list[Effect]:
        return self._case.effects.sessions.get((ledger, session), [])

    @cached_property
    def _complete(self) -> list[str]:
        """The ledgers that show the end of an object: in any other, being there says nothing."""
        declared = {entry.ledger for entry in self._case.attributed.entries.values() if entry.mark == "gone"}
        return sorted(declared)

    @cached_property
    def _by_name(self) -> set[str]:
        """The ledgers in which the end of an object comes with an end of each of its processes."""
        lives = [life for own in self._population.lives.values() for life in own]
        return {life.begin.ledger for life in lives if life.by_name}

    @cached_property
    def _names_of(self) -> dict[str, list[str]]:
        """The platform's rows of commands by session: as the row says, or the command that was answered with its id."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, reports in self._case.reports.commands.items():
            session = reports[-1].fields.get("session")
            if not isinstance(session, str) and (row := self._case.rows_by_id.get(name)) is not None:
                session = self._case.commands.session[row]
            if isinstance(session, str):
                found[session].append(name)
        return found
