"""What an objective is about, as figures: each between `lo` and `hi`, since what it is made of is known as intervals.

A command without a clear answer, or without its effect, counts as slower than any other: at least as long as it was waited for.
What nobody saw is no figure, and never 0: it is told as a doubt.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from chaosreprise.checker import exempt, exposure, outcome, recovered, stalls, ways, witness
from chaosreprise.checker.case import Case
from chaosreprise.checker.signs import RUNNING
from chaosreprise.checker.table import number
from chaosreprise.checker.verdict import Doubt, Moment
from chaosreprise.history.events import HELD_UP, Observe
from chaosreprise.history.statements import Objective

SHOWN = 3


class Figure(NamedTuple):
    """One command, sample or recovery; or a quantile of `n` of them, with the moments of the greatest."""

    lo: float
    hi: float
    moments: list[Moment]
    n: int = 1


def measure(case: Case, objective: Objective) -> tuple[list[Figure], list[Doubt]]:
    """The figures that must keep the limits, and why some of them are not known."""
    if objective.recovery:
        return _recoveries(case, objective)
    window = _window(case, objective.phase)
    if window is None:
        why = f"the phase {objective.phase!r} did not take place"
        return [], [doubt(objective, why, "see the journal for the step of the method that failed")]
    if objective.rate:
        return _rate(case, objective, *window)
    figures, doubts = (_samples if objective.signal else _latencies)(case, objective, *window)
    if not figures:
        beside = " with a stream" if objective.latency == "stream" else ""
        what = f"sample of {objective.signal}" if objective.signal else f"{objective.op}{beside} that counts"
        why = f"there is no {what} {f'in the phase {objective.phase!r}' if objective.phase else 'in this run'}"
        doubts.append(doubt(objective, why, "an absent series is unknown, never 0: see whether it is recorded"))
    if figures and objective.quantile is not None:
        figures = [_quantile(figures, objective.quantile)]
    return figures, doubts


def doubt(objective: Objective, why: str, do: str) -> Doubt:
    return Doubt(what=objective.name, why=why, do=do)


def needed(quantile: float | None) -> int:
    """How many there must be for one to lie beyond this quantile; of the greatest, and of no quantile, one."""
    return 1 if quantile is None or quantile >= 1 else math.ceil(1 / (1 - quantile) - 1e-9)


def _quantile(figures: Sequence[Figure], quantile: float) -> Figure:
    """The nearest rank, of the lower and of the upper ends. Those that are lacking for it may have been anything."""
    n, lacking = len(figures), max(0, needed(quantile) - len(figures))
    rank = math.ceil(quantile * (n + lacking)) - 1
    greatest = sorted(figures, key=lambda figure: (figure.lo, figure.hi))[max(0, rank - lacking) :][-SHOWN:]
    moments = sorted((moment for figure in greatest for moment in figure.moments), key=lambda moment: moment.hi)
    lows, highs = sorted(figure.lo for figure in figures), sorted(figure.hi for figure in figures)
    lo = lows[rank - lacking] if rank >= lacking else -math.inf
    return Figure(lo, highs[rank] if rank < n else math.inf, moments, n)


def _window(case: Case, phase: str) -> tuple[int, int] | None:
    """The phase, or all phases; the whole history where it has none."""
    phases = [event for event in case.table.phases if phase in ("", event.name)]
    begins = [event.hi for event in phases if event.edge == "begin"]
    ends = [event.lo for event in phases if event.edge == "end"]
    if not phase and not begins:
        return case.first_submit, case.last_sign
    return (min(begins), max(ends)) if begins and ends else None


def _samples(case: Case, objective: Objective, lo: int, hi: int) -> tuple[list[Figure], list[Doubt]]:
    source, _, signal = objective.signal.partition(".")
    whole = not objective.phase
    seen = [event for event in case.table.observed if (event.source, event.signal) == (source, signal)]
    inside = [event for event in seen if whole or (lo <= event.lo and event.hi <= hi)]
    doubts = [
        msgspec.structs.replace(
            case.gap_doubt(gap, f": no sample of {objective.signal} was taken then"), what=objective.name
        )
        for gap in case.watch.gaps(source, lo, hi)
    ]
    if any(event.lo < hi and event.hi > lo for event in seen if event not in inside):
        why = f"samples of {objective.signal} may have been taken in the phase or beside it"
        doubts.append(doubt(objective, why, "sample more often"))
    words = [event for event in case.table.observed if (event.source, event.signal) == (source, f"{signal}.why")]
    said = {event.hi: event.value for event in words}
    figures = []
    for event in inside:
        numbers = list(_numbers(event.value))
        if not numbers:
            why = f"{objective.signal} is {event.value!r} at {case.seconds(event.hi):.3f} s, which is no number"
            doubts.append(doubt(objective, why, "name a signal that is a number"))
        figures += [_sample(case, event, objective, number, said.get(event.hi)) for number in numbers]
    return figures, doubts


def _sample(case: Case, event: Observe, objective: Objective, number: float, said: object) -> Figure:
    """What was taken while a way there was not open may be the way's: as far as its limit it may have been anything."""
    ends = [number]
    if ways.gaps(case, event.lo, event.hi):
        least = -math.inf if objective.min is None else objective.min
        most = math.inf if objective.max is None else objective.max
        ends.append(max(min(number, most), least))
    return Figure(min(ends), max(ends), [_moment(case, event, number, said)])


def _numbers(value: object) -> Iterator[float]:
    """A number, or true and false as 1 and 0, or several."""
    for one in value if isinstance(value, list) else [value]:
        if (found := number(one)) is not None:
            yield found


def _moment(case: Case, event: Observe, number: float, said: object) -> Moment:
    """`said`: what its source said of this sample in words, as the signal NAME.why."""
    lo, hi = case.span(event.lo, event.hi)
    why = f" ({', '.join(map(str, said))})" if isinstance(said, list) and said else ""
    return Moment(lo=lo, hi=hi, what=f"{event.source}.{event.signal} = {number:g}{why}", bad=True)


def _latencies(case: Case, objective: Objective, lo: int, hi: int) -> tuple[list[Figure], list[Doubt]]:
    commands, effect = case.commands, objective.latency == "effect"
    if effect and case.attributed.level(objective.op) == "none":
        why = f"no ledger shows the effect of {objective.op}"
        return [], [doubt(objective, why, "ask for the latency of its `answer`, or give the platform file a ledger")]
    rows = [
        row
        for row, op in enumerate(commands.op)
        if op == objective.op and (not objective.phase or lo <= commands.lo[row] <= commands.hi[row] <= hi)
    ]
    if objective.latency == "stream":
        return [*_until_stream(case, rows)], []
    figures = []
    for row in rows:
        span = _until_effect(case, row) if effect else _until_answer(case, row)
        if span is not None:
            figures.append(_latency(case, row, *span))
    return figures, []


def _rate(case: Case, objective: Objective, lo: int, hi: int) -> tuple[list[Figure], list[Doubt]]:
    """How many a second were answered with success. Where too few were asked for, nobody knows whether it could have been more;
    what was not sent since as many answers were still to come as may be was asked for in vain."""
    commands, seconds = case.commands, (hi - lo) / 1e9
    asked = [
        row
        for row, op in enumerate(commands.op)
        if objective.rate in ("any", op) and lo <= commands.lo[row] <= commands.hi[row] <= hi
    ]
    held_up = sum(
        (event.source, event.signal) == ("load", HELD_UP)
        and objective.rate in ("any", event.value)
        and lo <= event.lo <= event.hi <= hi
        for event in case.table.observed
    )
    wanted = (len(asked) + held_up) / seconds if seconds > 0 else 0.0
    if not asked or not wanted:
        return [], [doubt(objective, "nothing of the kind was asked for", "ask for some in `workload`")]
    answers = [(commands.outcome[row], commands.answer[row]) for row in asked]
    sure = sum(outcome == "ok" and answer is not None and answer.hi <= hi for outcome, answer in answers)
    maybe = sum(outcome != "fail" and (answer is None or answer.lo <= hi) for outcome, answer in answers)
    reachable = stalls.waited(case, lo, hi) / 1e9
    most = maybe / reachable if reachable else math.inf
    if objective.min is not None and most < objective.min and wanted < objective.min:
        why = f"only {wanted:.3g} a second were asked for"
        return [], [doubt(objective, why, "ask for more in `workload`, or from a machine that can send them in time")]
    what = f"{sure} of {len(asked)} answered with success in {seconds:.3f} s"
    at = case.seconds(hi)
    return [Figure(sure / seconds, most, [Moment(lo=at, hi=at, what=what, bad=True)], len(asked))], []


def _until_answer(case: Case, row: int) -> tuple[int, int | None] | None:
    """When it was answered; None at the end: nobody knows. Refused ones count as nothing."""
    outcome_of, answer = case.commands.outcome[row], case.commands.answer[row]
    if outcome_of == "fail":
        return None
    if answer is None:
        return case.watch.done_at("load") or case.commands.hi[row], None
    return answer.hi, answer.hi if outcome_of == "ok" else None


def _until_effect(case: Case, row: int) -> tuple[int, int | None] | None:
    """When it took effect, of those that were accepted and had to."""
    if case.commands.outcome[row] != "ok":
        return None
    effect = case.attributed.effect_of[row]
    if effect is not None:
        return (effect.lo, effect.hi) if effect.sure else (case.commands.hi[row], None)
    if exempt.reason(case, row) is not None:
        return None
    until = case.settle.until(row)
    watched = until is not None and not outcome.gaps(case, row, until)
    return until if until is not None and watched else case.commands.hi[row], None


def _until_stream(case: Case, rows: Sequence[int]) -> Iterator[Figure]:
    """How long it took to open since the session ran, of those that were accepted and asked for; longer, where it never did."""
    asked = {event.cmd: event for event in case.table.streams if event.state in ("open", "refused")}
    for row in rows:
        event = asked.get(case.commands.cmd[row])
        if event is None or case.commands.outcome[row] != "ok":
            continue
        reports = case.reports.sessions.get(event.session or "", ())
        ran = next((one for one in reports if one.state == RUNNING and one.hi >= case.commands.lo[row]), None)
        since = (ran.lo, ran.hi) if ran else (case.commands.lo[row], event.hi)
        least = stalls.waited(case, since[1], event.lo) / 1e9
        opened = event.state == "open"
        most = (event.hi - since[0]) / 1e9 if opened else math.inf
        took = f"{least:.3f} s after it ran" if opened else f"not open {least:.3f} s after it ran"
        at = case.seconds(event.hi)
        what = f"{event.stream}, {witness.name_of(case, row)}: {took}"
        yield Figure(least, most, [Moment(lo=at, hi=at, what=what, bad=True)])


def _latency(case: Case, row: int, lo: int, hi: int | None) -> Figure:
    commands = case.commands
    least = stalls.waited(case, commands.hi[row], lo) / 1e9
    most = math.inf if hi is None else max(0, hi - commands.lo[row]) / 1e9
    took = f"{least:.3f} s" if hi is not None else f"more than {least:.3f} s"
    at = case.seconds(lo if hi is None else hi)
    return Figure(least, most, [Moment(lo=at, hi=at, what=f"{witness.name_of(case, row)}: {took}", bad=True)])


def _recoveries(case: Case, objective: Objective) -> tuple[list[Figure], list[Doubt]]:
    """Of each proven fault that has such a figure."""
    name = objective.recovery.removesuffix("_s")
    figures, doubts = [], []
    lives = {life.fault: life for life in case.lives}
    for told in case.once(recovered.measure):
        span = getattr(told, name)
        life = lives[told.fault]
        broken = exposure.window(case, life)
        at = case.seconds(broken[0] if broken[1] > broken[0] else case.first_armed or case.start)
        if span is not None:
            what = f"{told.component}: {name.replace('_', ' ')} after {span[0]:.3f} to {span[1]:.3f} s since it was {told.since[name]}"
            figures.append(Figure(span[0], span[1], [Moment(lo=at, hi=at, what=what, bad=True)]))
        elif name == "noticed" and life.agent and broken[1] > broken[0] and not _agents_unwatched(case, *broken):
            least = (broken[1] - broken[0]) / 1e9
            what = f"{told.component} broken, and not reported as gone in {least:.3f} s"
            figures.append(Figure(least, math.inf, [Moment(lo=at, hi=at, what=what, bad=True)]))
        elif name in told.at_least:
            what = f"{told.component}: {name} not within {told.at_least[name]:.3f} s of its undo: {told.why_not[name]}"
            figures.append(Figure(told.at_least[name], math.inf, [Moment(lo=at, hi=at, what=what, bad=True)]))
        elif name in told.why_not:
            doubts.append(doubt(objective, f"{told.component}: {told.why_not[name]}", "see `recovery` in the report"))
    if not figures and not doubts:
        doubts.append(doubt(objective, "no proven fault has this figure", "break an agent, or drop the objective"))
    return figures, doubts


def _agents_unwatched(case: Case, lo: int, hi: int) -> bool:
    return not case.reports.agents or any(case.watch.gaps(source, lo, hi) for source in case.reports.sources)
