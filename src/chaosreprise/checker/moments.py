"""Whether each fault that waited for its moment struck in it, and each batch of commands was sent in it.

What was recorded of the moment says by which commands it came; where they were is looked up in the history. An event of the
moment must surely have happened before the strike began, the stage that must not have been reached surely after it was over,
for one command at least, recorded or come so far since: where all were further it was missed, and where that can't be told it is
not known. Either makes the run unknown: what it was made for was not tried.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chaosreprise.checker.case import Case
from chaosreprise.checker.life import AGAIN, Life
from chaosreprise.checker.stages import Span, is_its_own, reached, would_be_seen
from chaosreprise.checker.verdict import Doubt
from chaosreprise.errors import BadInput
from chaosreprise.history.events import LIFECYCLE, MOMENT, Awaited
from chaosreprise.moments import Moment, read
from chaosreprise.moments.commands import agents_of
from chaosreprise.moments.grammar import PAST, Event, Stage

SLACK_NS = 1_000_000  # two readings of one clock in two places
SEE = "see the times of this fault in report.html: the platform may be quicker than what shows it"


class Strike(NamedTuple):
    """What waited, from when on things counted for it, and when it acted."""

    victims: list[str]
    since: int
    span: Span


def doubts(case: Case) -> list[Doubt]:
    """Each moment that was missed, or of which that can't be told. What did not come at all is the fault's own trouble."""
    return [*_faults(case), *_batches(case)]


def of(life: Life) -> Awaited | None:
    """What a fault waited for; None for one that was made at once."""
    events = [life.states[state] for state in ("injected", "armed") if state in life.states]
    return next((event.moment for event in events if event.moment is not None), None)


def _faults(case: Case) -> Iterator[Doubt]:
    for life in case.lives:
        waited, armed, injected = of(life), life.states.get("armed"), life.states.get("injected") or life.proven
        if waited is None or injected is None:
            continue  # what was never made is the fault's own trouble
        why: str | None = "its moment can't be told: nothing says when it was armed"
        if armed is not None:
            why = _unmet(case, waited, Strike([life.component], armed.hi, Span(injected.lo, injected.hi)))
        if why:
            yield _doubt(f"fault {life.fault}", f"{life.kind} on {life.component}: ", waited, why)


def _doubt(what: str, who: str, waited: Awaited, why: str) -> Doubt:
    return Doubt(what=what, why=f"{who}{why} ({waited.say})", do=f"{SEE}; or {AGAIN}")


class _Batch(msgspec.Struct):
    """What the owner recorded of a batch of commands; `victims` are the components that were broken then."""

    batch: str
    victims: list[str]
    moment: Awaited


def _batches(case: Case) -> Iterator[Doubt]:
    told: dict[str, list[tuple[int, _Batch]]] = {}
    for event in case.table.observed:
        if (event.source, event.signal) == ("owner", MOMENT):
            batch = msgspec.convert(event.value, _Batch)
            told.setdefault(batch.batch, []).append((event.hi, batch))
    for name, events in told.items():
        (since, _), (came, last) = events[0], events[-1]
        waited, what, who = last.moment, f"commands {name}", "the commands were not sent: "
        if waited.came is None:
            yield _doubt(what, who, waited, waited.why or "nothing says that their moment came")
            continue
        sent = [lo for lo, op in zip(case.commands.lo, case.commands.op, strict=True) if op in LIFECYCLE]
        first = min((lo for lo in sent if lo >= came), default=None)
        if first is None:
            yield _doubt(what, who, waited, "none was sent after their moment came")
        elif why := _unmet(case, waited, Strike(last.victims, since, Span(came, first))):
            yield _doubt(what, "", waited, why)


def _unmet(case: Case, waited: Awaited, strike: Strike) -> str | None:
    """Why it is not sure that it struck in its moment; None when it is."""
    if waited.came is None:
        return "nothing says that its moment came"
    try:
        at = read("moment", waited.at)
    except BadInput as error:
        return f"its moment can't be read: {error}"
    if not isinstance(at, Moment):
        early = strike.span.lo + SLACK_NS < strike.since + int((at or 0) * 1e9)
        return "its moment had not come: it struck before its time" if early else None
    if at.phase is not None:
        return _not_in_phase(case, at.phase, strike.span)
    if at.agent is not None:
        return _not_shown(case, at, strike)
    return _not_between(case, at, waited, strike)


def _not_in_phase(case: Case, name: str, span: Span) -> str | None:
    """The run was in that phase, from before the strike to after it."""
    begun = [phase.hi for phase in case.table.phases if (phase.name, phase.edge) == (name, "begin")]
    ended = [phase.lo for phase in case.table.phases if (phase.name, phase.edge) == (name, "end")]
    if not any(hi <= span.lo for hi in begun):
        return f"its moment was missed: the phase {name} had not begun"
    if any(lo < span.hi for lo in ended):
        return f"its moment was missed: the phase {name} was over"
    return None


def _not_shown(case: Case, at: Moment, strike: Strike) -> str | None:
    """The platform called an agent so when it struck."""
    wanted = agents_of(strike.victims) if at.whose == "victim" else set(case.reports.agents)
    why = f"its moment can't be told: no report shows {'an' if at.whose == 'any' else 'its'} agent {at.agent}"
    for agent in sorted(wanted):
        reports = case.reports.agents.get(agent, [])
        known = [report for report in reports if report.hi <= strike.span.lo]
        if not known or known[-1].state != at.agent:
            continue
        gaps = [gap for source in case.reports.sources for gap in case.watch.gaps(source, known[-1].hi, strike.span.hi)]
        later = next((report for report in reports[len(known) :] if report.lo < strike.span.hi), None)
        if later is None and not gaps:
            return None
        why = f"its moment may have been missed: {agent} was shown {later.state if later else 'nobody knows how'} then"
    return why


def _not_between(case: Case, at: Moment, waited: Awaited, strike: Strike) -> str | None:
    """Its commands had come so far, and one of them no further."""
    rows = [case.commands.number[cmd] for cmd in waited.cmds if cmd in case.commands.number]
    if len(rows) < len(waited.cmds):
        return "its moment can't be told: a command of it is not in the history"
    narrow: list[int] = []
    for event, until in at.events():
        own = [row for row in rows if _meant(case, row, event, strike)]
        sure = [row for row in own if _surely_reached(case, row, event.stage, strike)]
        if not sure:
            return f"its moment can't be told: no {event.op} of it surely {PAST[event.stage]} before it struck"
        narrow += _candidates(case, event, strike) if until is not None else []
    return None if at.until is None else _all_further(case, narrow, at.until, strike.span)


def _candidates(case: Case, event: Event, strike: Strike) -> list[int]:
    """All commands that had surely come as far as the nth one."""
    rows = (row for row in range(len(case.commands)) if _meant(case, row, event, strike))
    spans = [(span.hi, row) for row in rows if (span := _surely_reached(case, row, event.stage, strike))]
    return [row for _, row in sorted(spans)[event.n - 1 :]]


def _meant(case: Case, row: int, event: Event, strike: Strike) -> bool:
    """Whether the command is of that kind, and crosses what was struck where it has to."""
    if case.commands.op[row] != event.op:
        return False
    if event.whose == "any":
        return True
    agents = agents_of(strike.victims)
    if event.op == "start" and agents:
        return case.reports.first_owner(case.commands.session[row] or "") in agents
    crossed = {*strike.victims, *(f"agents/{agent}" for agent in agents)}
    return not crossed.isdisjoint(case.commands.path[row])


def _surely_reached(case: Case, row: int, stage: Stage, strike: Strike) -> Span | None:
    """When it had, if that was surely between the begin of the wait and the strike."""
    span = reached(case, row, stage)
    if span is None or (stage == "effect" and not is_its_own(case, row)):
        return None
    return span if strike.since <= span.hi <= strike.span.lo else None


def _all_further(case: Case, rows: list[int], until: Stage, strike: Span) -> str | None:
    """Why there is not one command that surely had not reached this stage; the best of the reasons."""
    missed, unsure = "", ""
    for row in rows:
        cmd, span = case.commands.cmd[row], reached(case, row, until, perhaps=True)
        if span is not None and span.hi < strike.lo:
            at, struck = case.seconds(span.hi), case.seconds(strike.lo)
            missed = f"its moment was missed: {cmd} {PAST[until]} at {at:.3f} s, and it struck at {struck:.3f} s"
        elif (span is None or span.lo > strike.hi) and would_be_seen(case, row, until, strike.hi):
            return None
        else:
            unsure = f"its moment may have been missed: whether {cmd} {PAST[until]} before it struck can't be told"
    return unsure or missed
