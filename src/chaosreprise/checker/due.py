"""When something was due: its bound after it was accepted, and after the heal of each fault that was on its path meanwhile.

A fault excuses only what it could hold up: one that began after something had been due excuses nothing. Generous where it
is not certain: every agent that the session's row ever named counts as on its path, so does every one of several control
planes, since what one has accepted another may have to deliver, and a fault ends when it surely had.
"""

from collections.abc import Iterable, Iterator

from chaosreprise.checker.case import Case
from chaosreprise.checker.life import SESSIONS, Life

CONTROL_PLANE = "control-plane"


def due(case: Case, since: int, bound: int, path: Iterable[str], session: str | None) -> int | None:
    """The moment from which it is surely late; None while a fault on its path is not known to be healed."""
    moment = since + bound
    if not any(life.began is not None and life.began <= moment for life in case.lives):
        return moment
    for life in sorted(on_path(case, path, session), key=lambda life: life.began or 0):
        if life.began is None or life.began > moment:
            continue
        if life.undone is None:
            return None
        moment = max(moment, life.undone.hi + bound)
    return moment


def on_path(case: Case, path: Iterable[str], session: str | None) -> Iterator[Life]:
    """The faults that began and may have held this up."""
    owners = case.once(_owners).get(session or "", set())
    named = {*path, f"{SESSIONS}{session}"}
    if CONTROL_PLANE in named:
        named.update(life.component for life in case.lives if life.component.startswith(f"{CONTROL_PLANE}/"))
    return (life for life in case.lives if life.began is not None and (life.component in named or life.agent in owners))


def _owners(case: Case) -> dict[str, set[str]]:
    """The agents that each session's row ever named."""
    return {
        session: {report.owner for report in reports if report.owner}
        for session, reports in case.reports.sessions.items()
    }
