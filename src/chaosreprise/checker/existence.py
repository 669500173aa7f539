"""Whether a session surely existed while a call was under way: the platform had shown it before, and showed it again afterwards.

Shown is what a read found, what a list held, what a row said, and what a command was accepted for. What the platform says
while its store is broken shows nothing. Names are never given twice, so what is there before and after was there in
between, unless it had been told to stop, or was reported as ended.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import EVER
from chaosreprise.checker.exempt import ENDED
from chaosreprise.checker.outage import is_of_store
from chaosreprise.history import Answer


class Shown(NamedTuple):
    """By `by` it was surely known to exist; it surely still did at `still`."""

    session: str
    by: int
    still: int


class Existence:
    """`listed`: since when a list for a user has held a session of ours; those of others may come and go."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.since: dict[str, int] = {}
        self.still: dict[str, int] = {}
        self.listed: dict[str | None, dict[str, int]] = {}
        for shown in (*_by_rows(case), *_by_answers(case)):
            self.since[shown.session] = min(self.since.get(shown.session, EVER), shown.by)
            self.still[shown.session] = max(self.still.get(shown.session, 0), shown.still)
        ours = set(case.our_sessions)
        for row, answer in _lists(case):
            if not broken(case, row):
                held = self.listed.setdefault(case.commands.user[row], {})
                for session in ours.intersection(answer.listed or ()):
                    held[session] = min(held.get(session, EVER), answer.hi)
        self._ends = {session: _end(case, session) for session in self.since}

    def all_the_time(self, session: str, lo: int, hi: int) -> bool | None:
        """Whether it existed from `lo` to `hi`; None: it did before, and nothing shows what became of it."""
        if self.since.get(session, EVER) > lo or self._ends[session] <= hi:
            return False
        return True if self.still[session] >= hi else None

    def missing(self, row: int) -> Iterator[tuple[str, bool | None]]:
        """The sessions that a list lacks although lists for the same user had held them, with whether they surely existed."""
        answer = self._case.commands.answer[row]
        if answer is None or answer.listed is None:
            return
        there, lo = set(answer.listed), self._case.commands.lo[row]
        for session, since in self.listed.get(self._case.commands.user[row], {}).items():
            if session not in there and since <= lo:
                existed = self.all_the_time(session, lo, answer.hi)
                if existed is not False:
                    yield session, existed


def existence(case: Case) -> Existence:
    """For `case.once`."""
    return Existence(case)


def denies(case: Case, row: int) -> bool:
    """Whether the answer says that the session does not exist."""
    answer = case.commands.answer[row]
    return answer is not None and answer.outcome == "fail" and answer.rule in case.once(absent_rules)


def absent_rules(case: Case) -> set[str]:
    """The refusals that say so."""
    return {rule.id for rule in case.contract.refusals if rule.absent}


def broken(case: Case, row: int) -> bool:
    """Whether anything of the store may have been broken while this call was under way."""
    answer, lo = case.commands.answer[row], case.commands.lo[row]
    hi = answer.hi if answer is not None else EVER
    return any(
        is_of_store(life)
        and life.began is not None
        and life.began <= hi
        and (life.undone is None or life.undone.hi >= lo)
        for life in case.lives
    )


def _by_rows(case: Case) -> Iterator[Shown]:
    for session, reports in case.reports.sessions.items():
        for report in reports:
            if report.state not in ENDED:
                yield Shown(session, report.hi, report.lo)


def _by_answers(case: Case) -> Iterator[Shown]:
    commands = case.commands
    for row, answer in enumerate(commands.answer):
        session = commands.session[row]
        if answer is None or answer.outcome != "ok" or broken(case, row):
            continue
        for listed in answer.listed or ():
            yield Shown(listed, answer.hi, commands.lo[row])
        if session is not None and commands.op[row] != "start" and answer.result not in ENDED:
            yield Shown(session, answer.hi, commands.lo[row])


def _lists(case: Case) -> Iterator[tuple[int, Answer]]:
    for row, answer in enumerate(case.commands.answer):
        if answer is not None and answer.outcome == "ok" and answer.listed is not None:
            yield row, answer


def _end(case: Case, session: str) -> int:
    """From when on it may have ended: a stop that was not surely refused, or the first word that it has."""
    commands = case.commands
    stops = [commands.lo[row] for row in case.rows_of(session, "stop") if commands.outcome[row] != "fail"]
    words = [report.lo for report in case.reports.sessions.get(session, ()) if report.state in ENDED]
    return min([*stops, *words], default=EVER)
