"""Commands that need no effect although they were accepted; they count in no exposure either.

Superseded: a later command of its session was accepted or happened (submitted surely after this one's acceptance), and the
platform promises `coalesce`, so that it may drop what is overtaken. Where nobody knows whether the other one was accepted, or which of
the two came first, it may have been superseded: that decides nothing. Ended otherwise: the ledger shows the end of its session, the
platform reports it, and no later command of ours can be the cause of it. Closed as failed because an agent was away is
never exempt.
"""

from collections.abc import Iterator

from chaosreprise.checker import outcome
from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import EVER
from chaosreprise.history.events import LIFECYCLE

ENDED = ("terminated", "failed")


def reason(case: Case, row: int) -> str | None:
    """Why this accepted command may have no effect; None when it must have one."""
    session = case.commands.session[row]
    accepted = case.commands.accepted_at(row)
    if session is None or accepted is None or case.commands.op[row] not in LIFECYCLE:
        return None
    if superseded(case, row):
        return "superseded by a later accepted command"
    if _ended_otherwise(case, row, session, accepted):
        return "its session had ended otherwise, and the platform says so"
    return None


def superseded(case: Case, row: int) -> bool:
    """Whether the platform may drop it, by its own promise, since a later command of its session was accepted."""
    accepted = case.commands.accepted_at(row)
    return accepted is not None and any(
        case.commands.lo[other] > accepted and outcome.happened(case, other) for other in _others(case, row)
    )


def perhaps(case: Case, row: int) -> bool:
    """Whether it may have been superseded: another command was perhaps accepted, and perhaps after it."""
    return not superseded(case, row) and any(
        case.commands.outcome[other] != "fail"
        and _accepted_until(case, other) >= case.commands.lo[row]
        and outcome.happened(case, other) is not False
        for other in _others(case, row)
    )


def _accepted_until(case: Case, row: int) -> int:
    """By when it was accepted, if it was: one without a clear answer at any time."""
    accepted = case.commands.accepted_at(row)
    return EVER if accepted is None else accepted


def _others(case: Case, row: int) -> Iterator[int]:
    """The other lifecycle commands of its session, where the platform may drop one for another."""
    session = case.commands.session[row]
    if case.contract.promises.get("coalesce") is not True or session is None or case.commands.op[row] not in LIFECYCLE:
        return
    for op in LIFECYCLE:
        yield from (other for other in case.rows_of(session, op) if other != row)


def _ended_otherwise(case: Case, row: int, session: str, accepted: int) -> bool:
    """A second stop finds its session ended; anything else must not precede a stop that may have ended it."""
    reports = case.reports.sessions.get(session)
    if not reports or reports[-1].state not in ENDED or not _gone(case, session, case.settle.until(row)):
        return False
    commands = case.commands
    return commands.op[row] == "stop" or not any(
        commands.outcome[stop] != "fail" and commands.hi[stop] > accepted for stop in case.rows_of(session, "stop")
    )


def _gone(case: Case, session: str, until: int | None) -> bool:
    entry = case.attributed.entries.get("stop")
    if entry is None or until is None:
        return False
    effects = case.effects.sessions.get((entry.ledger, session), ())
    return any(effect.mark == entry.mark and effect.hi <= until for effect in effects)
