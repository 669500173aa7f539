"""What the run as a whole must have for a verdict: its processes, phases, faults and sources; in the baseline, its cycles.

Each function returns doubts; one doubt makes the run unknown. A process that has no orderly end died, whatever else it
left behind: then nobody knows what it did not write.
"""

from chaosreprise.checker.case import Case
from chaosreprise.checker.coverage import RUNNERS, WARDEN
from chaosreprise.checker.life import ONLINE
from chaosreprise.checker.verdict import Doubt
from chaosreprise.history import History, Observe, Phase
from chaosreprise.history.events import HALT, INTERRUPTED, UNMADE, Op

AGAIN = "run the experiment again"
JOURNAL = "see the journal for the step of the method that failed"


def processes(case: Case) -> list[Doubt]:
    """The load and the recorder began, and ended in order, and the warden if there was one; no segment ends in a torn line."""
    found = []
    warden = any(segment.writer == WARDEN for segment in case.history.segments)
    for name in (*RUNNERS, WARDEN) if warden else RUNNERS:
        if why := case.watch.ended(name) or _began_late(case, name):
            do = f"see logs/{name}.log for what ended it, and {AGAIN}"
            found.append(Doubt(what=name, why=f"the {name} {why}", do=do))
    if not case.live:
        for segment in case.history.torn:
            if case.watch.done_at(segment.removesuffix(".jsonl")) is None:
                why = f"{segment} ends in a torn line: its writer died in it"
                found.append(Doubt(what=segment.removesuffix(".jsonl"), why=why, do=AGAIN))
    return found


def _began_late(case: Case, name: str) -> str | None:
    """Whether something was recorded that is this process's business before it says that it began."""
    first = case.first_armed if name == WARDEN else case.first_submit
    began = case.watch.began(name)
    if first is None or began is None or began <= first:
        return None
    return f"began at {case.seconds(began):.3f} s, when it should have been at work since {case.seconds(first):.3f} s"


def broken_off(history: History) -> list[Doubt]:
    """Nobody ended the run before its time: no signal, no guard, no other shell. What else it lacks then only follows from that."""
    told = {(event.source, event.signal): event for event in history.events if isinstance(event, Observe)}
    if event := told.get(("warden", HALT)):
        told_why = event.value if isinstance(event.value, dict) else {}
        by, why = told_why.get("by"), told_why.get("why")
        reason = "it was stopped by `chaos reprise stop`" if by == "stop" else f"it was halted by the {by}: {why}"
    elif event := told.get(("owner", INTERRUPTED)):
        reason = f"it was interrupted by {event.value}"
    else:
        return []
    phases = [phase for phase in history.events if isinstance(phase, Phase) and phase.edge == "begin"]
    begun = [phase.name for phase in sorted(phases, key=lambda phase: phase.lo) if phase.lo <= event.lo]
    where = f"in the phase {begun[-1]!r}" if begun else "while it was opened"
    return [Doubt(what="run", why=f"{reason}, {where}", do=AGAIN)]


def consistent(case: Case) -> list[Doubt]:
    """Answers and submissions fit together."""
    problems = case.commands.problems
    if not problems:
        return []
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return [
        Doubt(
            what="load", why=f"the history contradicts itself: {problems[0]}{more}", do="see docs/history.md, `submit`"
        )
    ]


def faults(case: Case) -> list[Doubt]:
    """Something was broken, each fault bit, and each is undone and seen whole again."""
    if case.contract.observe:
        why = "observe-only: nothing was broken, so nothing was proven"
        return [Doubt(what="faults", why=why, do="run it again without REPRISE_OBSERVE")]
    unmade = [
        (str(told.get("kind", "faults")), str(told.get("why")))
        for event in case.table.observed
        if (event.source, event.signal) == ("owner", UNMADE)
        for told in [event.value if isinstance(event.value, dict) else {}]
    ]
    found = [
        Doubt(what=f"fault {life.fault}", why=f"{life.kind} on {life.component}: {trouble[0]}{seen}", do=trouble[1])
        for life in case.lives
        if (trouble := life.trouble())
        for seen in ["".join(f": {why}" for kind, why in unmade if kind == life.kind) if life.proven is None else ""]
    ]
    if not found:
        found = [Doubt(what=kind, why=f"it was asked for and not made: {why}", do=JOURNAL) for kind, why in unmade]
    if not any(life.proven is not None for life in case.lives) and not found:
        why = "nothing was broken: no fault is proven in this history"
        found.append(Doubt(what="faults", why=why, do=JOURNAL))
    return found


def settled(case: Case) -> list[Doubt]:
    """Drain, clean and close ended, each when everything before it was settled."""
    do = f"let `drain`, `clean` and the end of the run finish: settling takes {case.contract.settle_ns / 1e9:g} s each"
    return [
        Doubt(what=group.phase, why=group.why, do=do) for group in case.settle.groups.values() if group.until is None
    ]


def successes(case: Case) -> list[Doubt]:
    """Of each kind that was sent one was accepted: what a platform always refuses was not tried."""
    commands = case.commands
    accepted = {op for op, outcome in zip(commands.op, commands.outcome, strict=True) if outcome == "ok"}
    return [
        Doubt(
            what=op,
            why=f"not one {op} was accepted in this run, so nothing is known of what becomes of it",
            do=f"see the answers in history/load.jsonl, or take {op} out of the mix",
        )
        for op in sorted(set(commands.op) - accepted)
    ]


def sources(case: Case) -> list[Doubt]:
    """The platform's own rows were read, also at the end."""
    if not case.reports.sources:
        why = "nothing was reported by the platform itself: its rows were not read"
        return [Doubt(what="rows", why=why, do="see logs/recorder.log, and `evidence` in the platform file")]
    end = case.watched_until
    gaps = [gap for source in sorted(case.reports.sources) for gap in case.watch.gaps(source, end - 1, end)]
    return [case.gap_doubt(gap, ": the platform's last word is not known") for gap in gaps]


def required(case: Case) -> list[Doubt]:
    if case.contract.require:
        return []
    return [Doubt(what="require", why="the experiment requires no check", do="name in `require` what it must show")]


def cycles(case: Case) -> list[Doubt]:
    """Baseline: on every agent that is online each kind of command had its effect, and steps had theirs, if any were sent."""
    agents = sorted(agent for agent, reports in case.reports.agents.items() if reports[-1].state == ONLINE)
    if not agents:
        return [
            Doubt(what="agents", why="the platform reports no agent that is online", do="see whether its agents run")
        ]
    done = _done(case)
    missing = [(agent, op) for agent in agents for op in case.lifecycle_kinds() if (agent, op) not in done]
    found = [
        Doubt(what=op, why=f"no {op} on {agent} was seen to take effect in the baseline", do="make the baseline longer")
        for agent, op in missing
    ]
    sent = "step" in case.commands.op
    if sent and case.attributed.level("step") != "none" and "step" not in {op for _, op in done}:
        found.append(
            Doubt(what="step", why="no step was seen to take effect in the baseline", do="add steps to the mix")
        )
    return found


def _done(case: Case) -> set[tuple[str | None, Op]]:
    """(agent, kind) of all commands that were accepted and took effect."""
    commands, found = case.commands, set()
    owners = {session: case.reports.first_owner(session) for session in case.our_sessions}
    for row, effect in enumerate(case.attributed.effect_of):
        if effect is not None and commands.outcome[row] == "ok":
            found.add((owners.get(commands.session[row] or ""), commands.op[row]))
    return found
