"""When the platform's store was proven away, or took no writes, and what got through to it all the same.

An outage holds: a store that dies and comes back by itself, or that is only slow, is none. Success with a row at the end means
that something got through: then the store was not away, and the fault is not proven, whatever was looked at. A store that
is read-only, or reached by no commit, is there for who reads, and away for who must write.
"""

from collections.abc import Iterator

from chaosreprise.checker.case import Case
from chaosreprise.checker.life import Life
from chaosreprise.checker.outcome import UNCONNECTED
from chaosreprise.checker.verdict import Doubt
from chaosreprise.history.events import LIFECYCLE, STORE, STORE_LINK

NO_WRITES = {"database.read_only": "read-only", "database.reset_in_commit": "reached by no commit"}
"""Kinds of faults under which a store can be read and keeps nothing, and how it is then."""


def is_of_store(life: Life) -> bool:
    """Whether this fault is on the store, or on the way to it."""
    return life.component in (STORE, STORE_LINK)


def is_outage(life: Life) -> bool:
    """Whether the store is away while it is on: of the faults on the way there, those that are the store's by their kind leave none open."""
    return life.kind.partition(".")[0] == STORE and is_of_store(life) and life.away


def takes_no_writes(life: Life) -> bool:
    """Whether nothing can be kept while it is on: the store is away, read-only, or no commit reaches it."""
    return is_outage(life) or (life.kind in NO_WRITES and not life.partial)


def state(life: Life) -> str:
    """How the store is while it is on."""
    return NO_WRITES.get(life.kind, "away")


def outages(case: Case) -> list[Life]:
    """The faults by which nothing could be kept."""
    return [life for life in case.lives if takes_no_writes(life)]


def answered(case: Case, row: int) -> bool:
    """Whether the platform itself said something to this call: what reached nobody, or broke off, was not answered."""
    answer = case.commands.answer[row]
    return answer is not None and answer.rule != UNCONNECTED and (answer.outcome != "info" or answer.status is not None)


def surely_in(case: Case, row: int, life: Life) -> bool:
    """Whether the call was sent, and answered, while this surely held."""
    answer = case.commands.answer[row]
    if life.proven is None or life.lasted_until is None or answer is None:
        return False
    return life.proven.hi <= case.commands.lo[row] and answer.hi <= life.lasted_until


def perhaps_in(case: Case, row: int, life: Life) -> bool:
    """Whether it may have been."""
    answer = case.commands.answer[row]
    if life.proven is None or life.healing is None or answer is None:
        return False
    return life.proven.lo <= case.commands.hi[row] and answer.hi <= life.healing.hi


def row_of(case: Case, row: int) -> bool | None:
    """Whether the platform has a row for an accepted command; None where it may be one of several, or was not looked for to the end."""
    answer, session, op = case.commands.answer[row], case.commands.session[row], case.commands.op[row]
    if answer is None or session is None:
        return None
    if op == "start" and session in case.reports.sessions:
        return True
    if answer.id is not None and answer.id in case.reports.commands:
        return True
    end = case.watched_until
    hidden = any(case.watch.gaps(source, end - 1, end, dead_or_alive=True) for source in case.reports.sources)
    shown = case.reports.sessions if op == "start" else case.reports.commands
    unsure = hidden or not shown or (answer.id is None and case.unnamed_rows(session, op))
    return None if unsure else False


def leaks(case: Case) -> list[Doubt]:
    """Outages in which a command was accepted that has its row: it was written."""
    return [doubt for life in outages(case) for doubt in _leak(case, life)]


def _leak(case: Case, life: Life) -> Iterator[Doubt]:
    through = [
        row
        for row, op in enumerate(case.commands.op)
        if op in LIFECYCLE
        and case.commands.outcome[row] == "ok"
        and surely_in(case, row, life)
        and row_of(case, row) is True
    ]
    if through:
        first = case.commands.cmd[through[0]]
        why = (
            f"{life.kind} on {life.component} leaked: {len(through)} commands were accepted while it was on, and have their "
            f"rows, the first {first} by {' and '.join(case.commands.path[through[0]]) or 'a path that nobody named'}"
        )
        do = "find the way to the store that was left open, and break that one too"
        yield Doubt(what=f"fault {life.fault}", why=why, do=do)
