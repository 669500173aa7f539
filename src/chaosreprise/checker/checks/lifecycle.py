"""lifecycle: a session was reported in states that nothing explains, or stayed in a passing state for too long.

Definition (design, section 4: "no path of the automaton, with edges matched one-to-one to submitted commands, explains the
samples; or a passing state rests beyond its bound"). The contract states the automaton (`states`): each change of a
session's state by a kind of command, by the platform's own work (`platform`), by the death of a process of the session
(`crash`) or of its agent (`agent`); the last two are legal only where they are stated. From one reported state to the next
there must be a way, and each change by a command on it takes one command of its kind, submitted not surely after the
change, refused by nobody and taken by no other change. Commands without a clear answer may be taken or not. A command that
shows no change is no violation here: `lost` asks for effects.

Where `states` is not promised an agent's word on an older command may come after a newer one was accepted: a state that the older
one leads to is passed over while the platform is about to leave another one, if that one, or what it leads to by itself, is
reported next and in time. What stays is a violation.

A state that the platform leaves by itself passes. It must be left within the bound of the kind of command that leads there,
from when it was surely reached, or from the heal of a fault on the session's path (`due`).

Method. Reports are intervals, so what lies between two of them may be a way of any length. Of the ways only the cheapest
count, and what was taken so far is kept for each: if none can go on, nothing explains what was reported.

Promise: the states that the contract gives are one.

Needs. The automaton. The source of the reports covered from the first command until everything settled, since changes could
hide in a gap. Each of our sessions is reported at least once. Where a `crash` could explain a change, the ledgers of processes:
in a gap of theirs one may have been missed.

Witness. The states before and after, what the way would have taken, the session's commands, the faults around it.

Limits. A state between two looks at the platform is not seen. Sessions that no command of ours names are not judged. Rows that
can't be read while their database is broken are a gap like any other: such a run leaves this check unknown.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaosreprise.checker import witness
from chaosreprise.checker.automaton import ABSENT, Automaton, Needs, add, cheapest
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.due import due
from chaosreprise.checker.passing import EVERY_PATH, stays
from chaosreprise.checker.verdict import Doubt, Finding, Moment, NotTested, Witness
from chaosreprise.history.events import LIFECYCLE, Report

SHOWN = 6
CRASH = "crash"


class Break(NamedTuple):
    """What nothing explains: a report and the state before it, or a passing state and how long it surely stayed."""

    session: str
    report: Report
    before: str
    say: str
    until: int


@dataclass(slots=True)
class Tally:
    """What was found so far. `perhaps` are doubts about one session each."""

    breaks: list[Break] = field(default_factory=list)
    explained: int = 0
    unknown_states: dict[str, int] = field(default_factory=dict)
    perhaps: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)


def judge(case: Case) -> Finding:
    tally, automaton = Tally(), Automaton(case.contract.states)
    sessions = case.our_sessions if case.contract.states else []
    for session in sessions:
        by_source: dict[str, list[Report]] = defaultdict(list)
        for report in case.reports.sessions.get(session, ()):
            by_source[report.source].append(report)
        for reports in by_source.values():
            _explain(case, automaton, session, reports, tally)
            for stay in stays(case, automaton, session, reports):
                if stay.sure:
                    tally.breaks.append(Break(session, stay.report, stay.report.state, stay.say, stay.until))
                else:
                    tally.perhaps.append(f"{session} {stay.say}")
        if not by_source and any(case.commands.outcome[row] == "ok" for row in case.rows_of(session, "start")):
            tally.unreported.append(session)
    tally.breaks.sort(key=lambda found: found.until)
    count = len(tally.breaks)
    return Finding(
        count=(count, count + len(tally.perhaps)),
        baseline=sum(_is_baseline(case, found) for found in tally.breaks),
        evidence=tally.explained,
        witnesses=[_witness(case, found) for found in tally.breaks[: witness.LIMIT]],
        scope=[*_gap_doubts(case), *_other_doubts(case, tally)],
        untested=_untested(case, automaton),
    )


def _explain(case: Case, automaton: Automaton, session: str, reports: Sequence[Report], tally: Tally) -> None:
    """Follow the reports of one source; `taken` is what each way so far has used up."""
    moments, late_words = _moments(case, session), not case.contract.promises.get("states")
    at = before = ABSENT if moments["start"] else reports[0].state
    taken: list[Needs] = [()]
    for number, report in enumerate(reports):
        if report.hi > case.known_effects_until:
            return  # the command behind it may not be in the history yet
        if report.state not in automaton.states:
            tally.unknown_states[report.state] = tally.unknown_states.get(report.state, 0) + 1
            return
        if report.state == at:
            continue
        ways = automaton.ways(at, report.state)
        further = [add(used, needs) for used in taken for needs in ways]
        possible = cheapest(used for used in further if _there(used, moments, report.hi))
        if possible:
            taken = possible
            tally.explained += 1
        elif late_words and _is_late_word(automaton, before, at, report, taken, moments):
            after = next((one for one in reports[number:] if one.state != report.state), None)
            if after is None and case.live:
                return  # it may be taken back yet
            if (
                after is not None
                and () in automaton.ways(at, after.state)
                and _in_time(case, automaton, at, report, after)
            ):
                continue
            tally.breaks.append(
                Break(session, report, at, f"{_called(at)} to {report.state}, and it stayed so", report.hi)
            )
        elif _could_have_died(case, session, report.hi) and any(
            _there(used, {**moments, CRASH: [0] * dict(used).get(CRASH, 0)}, report.hi) for used in further
        ):
            why = "could be explained by the death of a process, which nobody may have seen in a gap of the ledgers"
            tally.perhaps.append(f"{session}, {_called(at)} to {report.state}, {why}")
        else:
            say = _why_not(at, report.state, ways)
            tally.breaks.append(Break(session, report, at, say, report.hi))
        before, at = at, report.state


def _is_late_word(
    automaton: Automaton, before: str, at: str, report: Report, taken: Sequence[Needs], moments: dict[str, list[int]]
) -> bool:
    """Whether the way to a state that passes by itself could have been overtaken by what an older command, or none, leads to."""
    ways = automaton.ways(before, report.state) if at in automaton.passing else []
    return any(_there(add(used, needs), moments, report.hi) for used in taken for needs in ways)


def _in_time(case: Case, automaton: Automaton, at: str, report: Report, after: Report) -> bool:
    """Whether what was passed over may have been taken back by when the state that it overwrote was due to be left."""
    bounds = [bound for op in automaton.passing[at] if (bound := case.contract.bounds.get(op)) is not None]
    limit = due(case, report.hi, max(bounds), EVERY_PATH, report.id) if bounds else None
    return limit is None or after.lo <= limit


def _moments(case: Case, session: str) -> dict[str, list[int]]:
    """From when on each change that is not the platform's own may have happened."""
    found: dict[str, list[int]] = {
        op: [case.commands.lo[row] for row in case.rows_of(session, op) if case.commands.outcome[row] != "fail"]
        for op in LIFECYCLE
    }
    owners = {report.owner for report in case.reports.sessions.get(session, ()) if report.owner}
    found["agent"] = [life.began for life in case.lives if life.began is not None and life.agent in owners]
    found[CRASH] = [
        effect.lo
        for ledger in _ledgers(case)
        for effect in case.effects.sessions.get((ledger, session), ())
        if effect.mark == CRASH
    ]
    return {kind: sorted(own) for kind, own in found.items()}


def _ledgers(case: Case) -> set[str]:
    return {entry.ledger for entry in case.attributed.entries.values()} | case.processes


def _could_have_died(case: Case, session: str, hi: int) -> bool:
    """Whether the death of one of its processes could have been missed until then."""
    names = [name for ledger in _ledgers(case) for name in (ledger, f"{ledger}/{session}")]
    return not names or any(case.watch.gaps(name, case.first_submit, hi) for name in names)


def _there(used: Needs, moments: dict[str, list[int]], hi: int) -> bool:
    return all(bisect_right(moments[kind], hi) >= n for kind, n in used)


def _why_not(before: str, after: str, ways: Sequence[Needs]) -> str:
    if not ways:
        return f"{_called(before)} to {after}: there is no such way"
    needs = " or ".join(" and ".join(f"{n} {kind}" for kind, n in needs) for needs in ways)
    return (
        f"{_called(before)} to {after}: that takes {needs}, beside what explains the states before, and there is none"
    )


def _called(state: str) -> str:
    return state or "absent"


def _is_baseline(case: Case, found: Break) -> bool:
    return case.first_armed is None or found.until <= case.first_armed


def _witness(case: Case, found: Break) -> Witness:
    """Around the session's last command before it, if there is one."""
    report, commands = found.report, case.commands
    say = f"session {found.session} at {case.seconds(report.hi):.3f} s: {found.say}"
    rows = sorted(row for op in LIFECYCLE for row in case.rows_of(found.session, op) if commands.lo[row] <= found.until)
    states = [
        witness.moment(case, one.lo, one.hi, f"session {one.state}", bad=one is report)
        for one in case.reports.sessions[found.session]
        if one.source == report.source and one.hi <= found.until
    ][-SHOWN:]
    if found.until > report.hi:
        states.append(witness.moment(case, found.until, found.until, f"session still {report.state}", bad=True))
    others = [
        witness.moment(
            case,
            commands.lo[row],
            commands.hi[row],
            f"{commands.cmd[row]} {commands.op[row]} submitted ({commands.outcome[row]})",
        )
        for row in rows[:-1][-SHOWN:]
    ]
    baseline = _is_baseline(case, found)
    if rows:
        return witness.scene(case, rows[-1], say, found.until, [*others, *states], baseline=baseline)
    moments: list[Moment] = sorted(states, key=lambda moment: (moment.hi, moment.lo))
    return Witness(say=say, cmd="", op="", session=found.session, baseline=baseline, moments=moments)


def _gap_doubts(case: Case) -> list[Doubt]:
    sources = {reports[0].source for reports in case.reports.sessions.values()}
    gaps = [gap for source in sorted(sources) for gap in case.watch.gaps(source, case.first_submit, case.watched_until)]
    return [case.gap_doubt(gap, ": a change of state could hide there") for gap in gaps]


def _other_doubts(case: Case, tally: Tally) -> Iterator[Doubt]:
    if not case.contract.states:
        why = "the contract does not state the states of a session"
        yield Doubt(what="lifecycle", why=why, do="state them in `states`, or use an adapter that knows them")
    for state, n in tally.unknown_states.items():
        why = f"{n} sessions were reported as {state!r}, which is none of the states that the contract states"
        yield Doubt(what="states", why=why, do="add it to the states, with the changes that lead there and away")
    if tally.perhaps:
        more = f", and {len(tally.perhaps) - 1} more" if len(tally.perhaps) > 1 else ""
        do = "let the run last longer than the bounds, and the platform's rows be read throughout"
        yield Doubt(what="lifecycle", why=f"session {tally.perhaps[0]}{more}", do=do)
    if tally.unreported and case.stage in ("clean", "end"):
        why = f"the platform never reported {len(tally.unreported)} of our sessions, such as {tally.unreported[0]}"
        yield Doubt(
            what="lifecycle", why=why, do="see whether its rows carry the run's tag, and whether they were read"
        )


def _untested(case: Case, automaton: Automaton) -> list[NotTested]:
    free = sorted(
        state for state, ops in automaton.passing.items() if not ops <= case.contract.bounds.keys() or not ops
    )
    if not free:
        return []
    return [
        NotTested(what=f"{', '.join(free)} lasting too long", why="the contract gives no bound for what leads there")
    ]


CHECK = Check(
    name="lifecycle",
    promise=None,
    ledgers=("rows",),
    levels=("keyed", "counted", "state", "none"),
    early=True,
    says=("a session was in a state that nothing explains", "sessions were in states that nothing explains"),
    judge=judge,
    asks="states",
    criteria=("SS-2.1", "SS-2.3", "SS-3.1", "SS-3.2", "SS-4.1", "SS-4.2"),
)
