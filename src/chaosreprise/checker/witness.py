"""Witnesses: the few events around one violation, in the order of time, in words.

What the platform says explains a witness; it never decides one. `row` is its last word on the command.
"""

from collections.abc import Iterable

from chaosreprise.checker.attribution import Transition
from chaosreprise.checker.case import Case
from chaosreprise.checker.table import FAILED, FINISHED
from chaosreprise.checker.verdict import Acted, Label, Moment, Witness
from chaosreprise.history.events import Report

LIMIT = 50  # witnesses of one check; the count says how many there are
SAID = {"pending": "stored", "sent": "sent to {owner}", "ack": "taken by {owner}", FINISHED: "reported as completed"}


def agent_of(case: Case, row: int) -> str | None:
    """The agent that the session's row named when the command was sent, or first named; for a start the one that got it."""
    session = case.commands.session[row]
    if session is None:
        return None
    if case.commands.op[row] == "start":
        return case.reports.first_owner(session)
    return case.reports.owner_at(session, case.commands.hi[row]) or case.reports.first_owner(session)


def row_of(case: Case, row: int) -> str | None:
    """The last word of the platform on this command, and its word on why it failed."""
    reports = case.reports.commands.get(case.commands.platform_id(row) or "")
    if not reports:
        return None
    error = reports[-1].fields.get("error")
    return f"{reports[-1].state}: {error}" if error else reports[-1].state


def label_of(case: Case, row: int, until: int) -> Label | None:
    """Why a lost command was lost, by the platform's row; an open row tells only if it was watched until the end."""
    reports = case.reports.commands.get(case.commands.platform_id(row) or "")
    if not reports:
        return None
    last = reports[-1]
    if last.state == FINISHED:
        return "silent"
    if last.state == FAILED:
        return "reported"
    return None if case.watch.gaps(last.source, last.lo, until) else "stuck"


def name_of(case: Case, row: int) -> str:
    """A command as a person would call it."""
    session, cmd, op = case.commands.session[row], case.commands.cmd[row], case.commands.op[row]
    if op == "start":
        return f"{cmd} start of session {session}" if session else f"{cmd} start"
    return f"{cmd} {op} {'in' if op == 'step' else 'of'} session {session}"


def process_of(inc: list[object] | None) -> str | None:
    """The last distinguishing part of an incarnation: a pid, or a container."""
    if not inc:
        return None
    return f"pid {inc[2]}" if len(inc) == 4 else f"container {str(inc[-1])[:12]}"


def speaker_of(inc: list[object]) -> str:
    """A process that speaks for itself: its pod, and a name that it gave itself."""
    return f"{str(inc[-1])[:12]} in {inc[0]}"


def acted(case: Case, transition: Transition) -> Acted:
    effect = transition.effects[0]
    lo, hi = case.span(transition.lo, transition.hi)
    return Acted(lo=lo, hi=hi, ledger=effect.ledger, object=transition.object, inc=effect.inc)


def place_of(case: Case, row: int, transition: Transition) -> str:
    """Where an effect was, in brackets: the session's agent and the process that it made or ended."""
    parts = [part for part in (agent_of(case, row), process_of(transition.effects[0].inc)) if part]
    return f" ({', '.join(parts)})" if parts else ""


def build(
    case: Case,
    row: int,
    say: str,
    until: int,
    effects: list[Transition],
    *,
    baseline: bool,
    label: Label | None = None,
    missing: str | None = None,
) -> Witness:
    """The witness of a violation by one command: its own events, and the faults and agents around it, up to `until`."""
    moments = []
    lawful = 1 if len(effects) > 1 else 0
    for number, transition in enumerate(effects):
        lo, hi = case.span(transition.lo, transition.hi)
        what = "effect" if number < lawful else "effect again (not legal)"
        moments.append(Moment(lo=lo, hi=hi, what=what, bad=number >= lawful))
    if missing:
        moments.append(Moment(lo=case.seconds(until), hi=case.seconds(until), what=missing, bad=True))
    return scene(case, row, say, until, moments, effects, baseline=baseline, label=label)


def scene(
    case: Case,
    row: int,
    say: str,
    until: int,
    moments: Iterable[Moment],
    effects: Iterable[Transition] = (),
    *,
    baseline: bool,
    label: Label | None = None,
) -> Witness:
    """A witness around one command: these moments among its own events, and the faults and agents around it, up to `until`."""
    drawn = [*_own(case, row), *_said(case, row), *_around(case, row, until), *moments]
    return Witness(
        say=say,
        cmd=case.commands.cmd[row],
        op=case.commands.op[row],
        session=case.commands.session[row],
        agent=agent_of(case, row),
        row=row_of(case, row),
        label=label,
        baseline=baseline,
        moments=sorted(drawn, key=lambda moment: (moment.hi, moment.lo)),
        effects=[acted(case, transition) for transition in effects],
    )


def moment(case: Case, lo: int, hi: int, what: str, *, bad: bool = False) -> Moment:
    """One drawn moment."""
    since, until = case.span(lo, hi)
    return Moment(lo=since, hi=until, what=what, bad=bad)


def _own(case: Case, row: int) -> list[Moment]:
    commands = case.commands
    lo, hi = case.span(commands.lo[row], commands.hi[row])
    found = [Moment(lo=lo, hi=hi, what="submitted")]
    answer = commands.answer[row]
    if answer is not None:
        what = {
            "ok": "accepted",
            "fail": f"refused ({answer.rule})",
            "info": f"no clear answer ({answer.error or answer.status})",
        }
        at = case.seconds(answer.hi)
        found.append(Moment(lo=at, hi=at, what=what[answer.outcome]))
    return found


def _said(case: Case, row: int) -> list[Moment]:
    """The states of the command's row, each once; one that comes back is a redelivery, which is legal."""
    found: list[Moment] = []
    before, seen = None, set()
    for report in case.reports.commands.get(case.commands.platform_id(row) or "", ()):
        if report.state == before:
            continue
        again = " again (legal)" if report.state in seen and report.state != FINISHED else ""
        before = report.state
        seen.add(before)
        lo, hi = case.span(report.lo, report.hi)
        found.append(Moment(lo=lo, hi=hi, what=_words(report) + again))
    return found


def _words(report: Report) -> str:
    if report.state == FAILED:
        error = report.fields.get("error")
        return f"reported as failed ({error})" if error else "reported as failed"
    return SAID.get(report.state, report.state).format(owner=report.owner or "its agent")


def _around(case: Case, row: int, until: int) -> list[Moment]:
    """Faults that were on between the command's submission and `until`, and what the platform said of its agent then."""
    found = []
    since = case.commands.lo[row]
    for life in case.lives:
        if life.proven is None or life.proven.lo > until or (life.undone is not None and life.undone.hi < since):
            continue
        for event, what in ((life.proven, "broken"), (life.undone, "whole again")):
            if event is not None and event.lo <= until:
                lo, hi = case.span(event.lo, event.hi)
                found.append(Moment(lo=lo, hi=hi, what=f"{life.component} {what} ({life.kind})"))
    agent = agent_of(case, row)
    before = None
    for report in case.reports.agents.get(agent or "", ()):
        if report.state != before and since <= report.lo <= until and before is not None:
            lo, hi = case.span(report.lo, report.hi)
            found.append(Moment(lo=lo, hi=hi, what=f"{agent} reported {report.state}"))
        before = report.state
    return found
