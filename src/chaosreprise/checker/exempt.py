"""Commands that need no effect although they were accepted; they count in no exposure either.

Superseded: a later command of its session was accepted (submitted surely after this one's acceptance), and the platform
promises `coalesce`, so that it may drop what is overtaken. Ended otherwise: the ledger shows the end of its session, the
platform reports it, and no later command of ours can be the cause of it. Closed as failed because an agent was away is
never exempt.
"""

from chaosreprise.checker.case import Case
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
    commands, session, accepted = case.commands, case.commands.session[row], case.commands.accepted_at(row)
    if case.contract.promises.get("coalesce") is not True or session is None or accepted is None:
        return False
    return commands.op[row] in LIFECYCLE and any(
        commands.lo[other] > accepted and commands.outcome[other] == "ok"
        for op in LIFECYCLE
        for other in case.rows_of(session, op)
        if other != row
    )


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
