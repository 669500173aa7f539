"""The same experiment many times: how its recovery figures spread, from what each run's verdict.json says.

One figure a run: the middle of its interval, and of several faults of a run the slowest. Where one of them could not be
measured the run has no such figure; it is counted, with the reason, and is never a 0. Median and percentiles are of the runs
that measured it. A percentile is shown only where at least one of them lies beyond it (nearest rank: 10 for p90, 20 for
p95), for with fewer it is the slowest run by another name.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.history import Answer, History, Submit
from chaosreprise.report import words
from chaosreprise.report.trend import Point, Trend, runs_needed, trends

PERCENTILES = (90, 95)
VERDICTS = ("true", "false", "unknown")
NOT_JUDGED = "not judged"
NO_FAULT = "no fault was proven"
WORST_FIRST = ("false", NOT_JUDGED, "unknown", "true")


class Measured(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One figure of one run, in seconds, `off` by at most so much; or why there is none, and that it surely took longer than `at_least`."""

    s: float | None = None
    off: float = 0.0
    at_least: float = 0.0
    why_not: str = ""


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the runs: its verdict, or `not judged` and why. `answers`: p95 of how long each kind of accepted command took to be answered."""

    verdict: str
    seed: int | None = None
    directory: str = ""
    why: str = ""
    recovery: dict[str, Measured] = {}
    answers: dict[str, float] = {}


class Spread(msgspec.Struct, kw_only=True):
    """One figure over all runs. `percentiles` are null where too few runs support them."""

    measured: int
    median: float | None = None
    percentiles: dict[str, float | None] = {}
    min: float | None = None
    max: float | None = None
    off: float | None = None
    not_measured: dict[str, int] = {}


def of_verdict(told: Any, directory: str) -> Run:
    """What verdict.json says of one run. Raises BadInput where that is no verdict."""
    try:
        verdict = told["verdict"]
        if verdict not in VERDICTS:
            raise ValueError(verdict)
        recovery = told["recovery"]
        figures = {name: _slowest(name, recovery) for name, _ in words.RECOVERED}
        return Run(
            verdict=verdict,
            seed=told["seed"],
            directory=directory,
            recovery={name: figure for name, figure in figures.items() if figure is not None},
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{directory}/verdict.json: not a verdict: `chaos reprise recheck {directory}` says what it was"
        ) from error


def _slowest(name: str, recovery: Sequence[dict[str, Any]]) -> Measured | None:
    """None where it is no figure of these faults: nobody notices an agent where none was broken."""
    if not recovery:
        return Measured(why_not=NO_FAULT)
    if missing := [told["why_not"][name] for told in recovery if told.get(name) is None and name in told["why_not"]]:
        return Measured(why_not=missing[0], at_least=max(told.get("at_least", {}).get(name, 0.0) for told in recovery))
    spans = [told[name] for told in recovery if told.get(name) is not None]
    if not spans:
        return None
    lo, hi = max(spans, key=lambda span: (span[0] + span[1]) / 2)
    return Measured(s=(lo + hi) / 2, off=(hi - lo) / 2)


def answers(history: History) -> dict[str, float]:
    """By kind of command, p95 of the seconds until it was accepted, where there are enough for one."""
    sent = {event.cmd: event for event in history.events if isinstance(event, Submit)}
    took: dict[str, list[float]] = defaultdict(list)
    for event in history.events:
        if isinstance(event, Answer) and event.outcome == "ok" and event.cmd in sent:
            took[sent[event.cmd].op].append((event.hi - sent[event.cmd].lo) / 1e9)
    found = {op: percentile(sorted(times), 95) for op, times in sorted(took.items())}
    return {op: p95 for op, p95 in found.items() if p95 is not None}


def trend(runs: Sequence[Run]) -> dict[str, Trend]:
    """Of each figure, whether it rises from run to run."""
    figures: dict[str, list[Point]] = defaultdict(list)
    for number, run in enumerate(runs):
        for name, figure in run.recovery.items():
            if figure.s is not None:
                figures[name].append(Point(number, figure.s, figure.off))
        for op, s in run.answers.items():
            figures[f"p95 {op}"].append(Point(number, s))
    return trends(figures)


def trend_lines(runs: Sequence[Run]) -> Iterator[str]:
    """What rises; else what was looked at, or how many runs that would take."""
    found, texts = trend(runs), dict(words.RECOVERED)
    for name, told in found.items():
        if told.rises and told.slope_s is not None and told.p is not None:
            yield (
                f"SLOWER  {texts.get(name, name)} rises by {told.slope_s * 1e3:.3g} ms a run over {told.runs} runs "
                f"(Theil-Sen; by chance as clear in {told.p:.2g} of all cases, Mann-Kendall)"
            )
    judged = [told for told in found.values() if told.rises is not None]
    if judged and not any(told.rises for told in judged):
        yield f"no slower from run to run: none of {len(judged)} figures rises beyond noise (Mann-Kendall, 5 % for all)"
    if few := [texts.get(name, name) for name, told in found.items() if told.rises is None]:
        yield f"no trend of {', '.join(few)}: it takes {runs_needed(max(1, len(judged)))} runs that measured them, or more"


def spreads(runs: Sequence[Run]) -> dict[str, Spread]:
    """Each figure that any run has, or should have."""
    names = [name for name, _ in words.RECOVERED if any(name in run.recovery for run in runs)]
    asked = [
        name for name in names if any(run.recovery[name].why_not != NO_FAULT for run in runs if name in run.recovery)
    ]
    return {name: _spread([_figure(run, name) for run in runs]) for name in asked or names}


def _figure(run: Run, name: str) -> Measured:
    if run.verdict == NOT_JUDGED:
        return Measured(why_not=f"the run was not judged: {run.why}")
    return run.recovery.get(name, Measured(why_not="it is no figure of what was broken then"))


def _spread(figures: Sequence[Measured]) -> Spread:
    times = sorted(figure.s for figure in figures if figure.s is not None)
    missing = dict(Counter(figure.why_not for figure in figures if figure.s is None))
    if not times:
        return Spread(measured=0, percentiles={f"p{p}": None for p in PERCENTILES}, not_measured=missing)
    return Spread(
        measured=len(times),
        median=statistics.median(times),
        percentiles={f"p{p}": percentile(times, p) for p in PERCENTILES},
        min=times[0],
        max=times[-1],
        off=max(figure.off for figure in figures if figure.s is not None),
        not_measured=missing,
    )


def percentile(times: Sequence[float], percent: int) -> float | None:
    """The nearest rank of sorted times; None where nothing lies beyond it."""
    rank = math.ceil(len(times) * percent / 100)
    return times[rank - 1] if rank < len(times) else None


def worst(runs: Iterable[Run]) -> str:
    """False beats whatever could not be judged, which beats unknown, which beats true."""
    found = {run.verdict for run in runs}
    return next((value for value in WORST_FIRST if value in found), NOT_JUDGED)


def counts(runs: Sequence[Run]) -> dict[str, int]:
    found = Counter(run.verdict for run in runs)
    return {value: found[value] for value in (*VERDICTS, NOT_JUDGED)}


def line(number: int, of: int, run: Run) -> str:
    """One run, as soon as it has ended."""
    seed = f"seed {run.seed}" if run.seed is not None else "no seed"
    texts = dict(words.RECOVERED)
    seen = [f"{texts[name]} {figure.s:.2f} s" for name, figure in run.recovery.items() if figure.s is not None]
    parts = [f"{number:>{len(str(of))}}/{of}", seed, run.verdict, " · ".join(seen) or "no recovery was measured"]
    return "   ".join([*parts, run.directory] if not run.why else [*parts[:3], run.why])


def table(runs: Sequence[Run]) -> Iterator[str]:
    """The figures over all runs, as lines."""
    told = ", ".join(f"{n} {value}" for value, n in counts(runs).items() if n)
    yield f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {told}"
    texts, found = dict(words.RECOVERED), spreads(runs)
    if not found:
        return
    heads = ("median", *(f"p{p}" for p in PERCENTILES), "min", "max", "off by", "measured")
    yield f"{'':<22}" + "".join(f"{head:>12}" for head in heads)
    for name, spread in found.items():
        cells = [spread.median, *spread.percentiles.values(), spread.min, spread.max]
        shown = ["–" if cell is None else f"{cell:.2f} s" for cell in cells]
        off = "–" if spread.off is None else words.resolution([(0, 2 * spread.off)])
        row = (*shown, off, f"{spread.measured} of {len(runs)}")
        yield f"{texts[name]:<22}" + "".join(f"{cell:>12}" for cell in row)
        for why, n in spread.not_measured.items():
            yield f"  not measured in {n}: {why}"
    if any(None in spread.percentiles.values() for spread in found.values() if spread.measured):
        yield "p90 needs 10 runs that measured it, p95 needs 20: with fewer it is the slowest one by another name"
