"""Runs of one experiment on one platform, night after night: is it slower than it was, and what do all of them exclude together?

*Slower* is a figure that in N of the last M runs lies beyond the noise of those before: more than 4 deviations above their median (of
the median absolute deviation, times 1.4826: Hampel 1974, JASA 69, 383), by a tenth of it, a tenth of a second, and more than the figures may be
off; and a tenth above the highest of them, from 10 on the second highest, so that one bad night hides nothing. Of noise of any shape that takes
less than 5 in 100 for a rise, mostly less than 1 (tests/report/test_nights.py draws it). With fewer than LEAST earlier runs nothing is judged.

*Exposure* adds up over runs that found nothing lost and were true. A loss begins the sum anew: 0 of all since then is what is left to say.
Runs are only put together where experiment, platform, settings and the definitions of the checks are the same.
"""

import math
import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from chaosreprise.checker.verdict import CONFIDENCE
from chaosreprise.errors import BadInput
from chaosreprise.report import spread, words
from chaosreprise.report.markdown import escaped
from chaosreprise.report.spread import NOT_JUDGED, Measured

LEAST = 7  # earlier runs that measured a figure
DEVIATIONS, NORMAL = 4, 1.4826
MARGIN, MARGIN_S = 1.1, 0.1  # times what was, and seconds more: less is no concern
WIDTH = 110
SHOWN = 3  # witnesses of one check
FORGIVING = 10  # earlier runs from which on the highest may be an outlier


class Rule(msgspec.Struct, kw_only=True, frozen=True):
    """Slower is what is beyond noise in `bad` of the last `of` runs, compared with up to `earlier` before them."""

    bad: int = 2
    of: int = 3
    earlier: int = 20


class Night(msgspec.Struct, kw_only=True):
    """One run, as its verdict.json tells it. `broken`: by check, what shows it. `lost`: how many may be; None: nobody knows."""

    directory: str
    run: str = ""
    experiment: str = ""
    platform: str = ""
    settings: str = ""
    definitions: str = ""
    started: float = 0.0
    verdict: str = NOT_JUDGED
    why: str = ""
    broken: dict[str, list[str]] = {}
    recovery: dict[str, Measured] = {}
    lost: int | None = None
    exposed: dict[str, int] = {}


class Change(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One figure in seconds. `limit` is how far noise reaches; null where too few earlier runs measured it."""

    earlier: int
    median: float | None = None
    limit: float | None = None
    now: float | None = None
    why_not: str = ""
    beyond: int = 0
    of: int = 0
    slower: bool | None = None


class Excluded(msgspec.Struct, kw_only=True):
    """Commands of one kind that were exposed in so many runs and not lost: which rates of loss that excludes, with 95 % confidence."""

    commands: int
    runs: int
    excludes_above: float


class Compared(msgspec.Struct, kw_only=True):
    """One experiment on one platform. `runs` are those that can be compared with the newest, oldest first."""

    experiment: str
    platform: str
    verdict: str
    newest: Night
    rule: Rule
    runs: list[str]
    verdicts: dict[str, int]
    figures: dict[str, Change]
    exposure: dict[str, Excluded]
    since_loss: str = ""
    not_compared: dict[str, int] = {}
    not_judged: dict[str, str] = {}

    @property
    def slower(self) -> list[str]:
        return [name for name, change in self.figures.items() if change.slower]


def night(told: Any, directory: str) -> Night:
    """What verdict.json says of one run. Raises BadInput where that is no verdict."""
    try:
        run = spread.of_verdict(told, directory)
        lost = told["checks"].get("lost", {})
        judged = lost.get("verdict") in ("true", "false")
        found = {
            **{name: told.get(name) or "" for name in ("run", "experiment", "settings", "definitions")},
            "platform": words.platform_of(told["platform"]),
            "started": told["started"] or 0.0,
            "broken": {name: _says(one) for name, one in told["checks"].items() if _is_broken(one)},
            "lost": lost["count"][1] if judged else None,
            "exposed": {op: kind.get("happened", 0) for op, kind in told["exposure"].items()},
        }
        return msgspec.convert(
            {**found, "directory": directory, "verdict": run.verdict, "recovery": run.recovery}, Night
        )
    except (BadInput, LookupError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise BadInput(f"its verdict.json is none: `chaos reprise recheck {directory}` says what it was") from error


def _is_broken(check: dict[str, Any]) -> bool:
    """What is known or not promised does not decide."""
    return check["verdict"] == "false" and check["promised"] and check.get("besides") is None


def _says(check: dict[str, Any]) -> list[str]:
    return [witness["say"] for witness in check["witnesses"][:SHOWN]]


def compare(nights: Iterable[Night], rule: Rule) -> list[Compared]:
    """Each experiment on each platform, by its newest run. A run that stands there twice counts once."""
    groups: dict[tuple[str, str], list[Night]] = defaultdict(list)
    lost: list[Night] = []
    for one in {one.run or one.directory: one for one in sorted(nights, key=_is_judged)}.values():
        if _is_judged(one):
            groups[one.experiment, one.platform].append(one)
        else:
            lost.append(one)
    for one in lost:  # nobody knows where they ran: they belong to each platform of their experiment
        for key in [key for key in groups if key[0] == one.experiment] or [(one.experiment, "")]:
            groups[key].append(one)
    return [
        _compared(sorted(group, key=lambda one: (one.started, one.run)), rule) for _, group in sorted(groups.items())
    ]


def _is_judged(one: Night) -> bool:
    return one.verdict != NOT_JUDGED


def worst(found: Sequence[Compared]) -> str:
    """As of many runs; slower is false."""
    return next(value for value in spread.WORST_FIRST if value in {one.verdict for one in found})


def _compared(group: list[Night], rule: Rule) -> Compared:
    newest = group[-1]
    judged = [one for one in group if _is_judged(one)]
    like = judged[-1] if judged else newest
    same = [one for one in judged if _difference(one, like) is None]
    figures = _figures(same, rule)
    exposure, since = _exposure(same)
    slower = any(change.slower for change in figures.values())
    return Compared(
        experiment=newest.experiment,
        platform=like.platform,
        verdict="false" if slower else newest.verdict,
        newest=newest,
        rule=rule,
        runs=[one.run for one in same],
        verdicts=dict(Counter(one.verdict for one in same)),
        figures=figures,
        exposure=exposure,
        since_loss=since,
        not_compared=dict(Counter(why for one in judged if (why := _difference(one, like)) is not None)),
        not_judged={one.directory: one.why for one in group if not _is_judged(one)},
    )


def _difference(one: Night, like: Night) -> str | None:
    if not (one.settings and one.definitions and like.settings and like.definitions):
        return None if one is like else "their verdict.json does not say their settings"
    if one.settings != like.settings:
        return "other settings of the experiment or the platform"
    return None if one.definitions == like.definitions else "checks of another definition"


def _figures(same: Sequence[Night], rule: Rule) -> dict[str, Change]:
    """Earlier ones are those that were true: what a broken night measured is no noise."""
    last = same[-rule.of :]
    before = [one for one in same[: -rule.of] if one.verdict == "true"][-rule.earlier :]
    names = [name for name, _ in words.RECOVERED if any(name in one.recovery for one in (*before, *last))]
    found = {name: _change(name, before, last, rule) for name in names}
    return {name: change for name, change in found.items() if change.earlier or change.now is not None}


def _change(name: str, before: Sequence[Night], last: Sequence[Night], rule: Rule) -> Change:
    times = [(figure.s, figure.off) for one in before if (figure := one.recovery.get(name)) and figure.s is not None]
    newest = last[-1].recovery.get(name, Measured(why_not="it is no figure of what was broken then"))
    change = Change(earlier=len(times), now=newest.s, why_not=newest.why_not, of=len(last))
    if times:
        change.median = statistics.median(s for s, _ in times)
    if len(times) < LEAST:
        return change
    lately = [one.recovery[name] for one in last if name in one.recovery]
    off = max(off for off in [off for _, off in times] + [figure.off for figure in lately])
    change.limit = limit([s for s, _ in times], off)
    change.beyond = sum((figure.s or figure.at_least) > change.limit for figure in lately)
    change.slower = change.beyond >= rule.bad
    return change


def limit(times: Sequence[float], off: float) -> float:
    """How far the noise of these reaches, each of them `off` by at most so much."""
    middle = statistics.median(times)
    deviation = NORMAL * statistics.median(abs(s - middle) for s in times)
    high = sorted(times)[-2 if len(times) >= FORGIVING else -1]
    return max(middle + DEVIATIONS * deviation, MARGIN * high, MARGIN * middle, middle + max(MARGIN_S, 2 * off))


def _exposure(same: Sequence[Night]) -> tuple[dict[str, Excluded], str]:
    """Of true runs that lost nothing since the last that lost something, or might have; and which that was."""
    losses = [at for at, one in enumerate(same) if one.lost]
    since = losses[-1] + 1 if losses else 0
    counted: dict[str, list[int]] = defaultdict(list)
    for one in same[since:]:
        if one.verdict == "true" and one.lost == 0:
            for op, n in one.exposed.items():
                counted[op] += [n] if n else []
    found = {
        op: Excluded(commands=sum(each), runs=len(each), excludes_above=_excluded(sum(each)))
        for op, each in counted.items()
        if each
    }
    return found, same[losses[-1]].run if losses else ""


def _excluded(commands: int) -> float:
    """Of no loss: (1 - rate) ** commands = 0.05 (Clopper and Pearson 1934, Biometrika 26, 404); about 3 / commands."""
    return -math.expm1(math.log(1 - CONFIDENCE) / commands)


def lines(found: Compared) -> Iterator[str]:
    """For a terminal."""
    yield from ("", f"  {_head(found)}")
    if any(change.earlier for change in found.figures.values()):
        yield f"  {'':<22}{'earlier':>10}{'noise up to':>14}{'now':>12}{'beyond it in':>16}"
        for name, change in found.figures.items():
            yield f"  {dict(words.RECOVERED)[name]:<22}" + "".join(
                f"{cell:>{width}}" for cell, width in zip(_cells(change), (10, 14, 12, 16), strict=True)
            )
    for label, text in _told(found):
        yield from textwrap.wrap(text, WIDTH, initial_indent=f"  {label:<13}", subsequent_indent=" " * 15)


def markdown(found: Compared) -> Iterator[str]:
    """For a CI job's summary."""
    yield from (f"## {escaped(_head(found))}", "")
    if any(change.earlier for change in found.figures.values()):
        yield from ("| figure | earlier | noise up to | now | beyond it in |", "|---|---|---|---|---|")
        yield from (
            f"| {' | '.join([dict(words.RECOVERED)[name], *_cells(change)])} |"
            for name, change in found.figures.items()
        )
        yield ""
    yield from (f"- {label}: {escaped(text)}" for label, text in _told(found))
    yield ""


def _head(found: Compared) -> str:
    word = words.HEADLINE.get(found.newest.verdict, "NOT JUDGED")
    on = f" on {found.platform}" if found.platform else ""
    runs = f"{len(found.runs)} run{'s' if len(found.runs) != 1 else ''}"
    when = f", {datetime.fromtimestamp(found.newest.started, UTC):%Y-%m-%d %H:%M} UTC" if found.newest.started else ""
    return f"{found.experiment}{on}: {runs} to compare; the newest is {word}{when}"


def _cells(change: Change) -> tuple[str, str, str, str]:
    def seconds(s: float | None) -> str:
        return "–" if s is None else f"{s:.2f} s"

    seen = f"{change.beyond} of {change.of}" if change.limit is not None else "–"
    return seconds(change.median), seconds(change.limit), seconds(change.now), seen


def _told(found: Compared) -> Iterator[tuple[str, str]]:
    """What is to be said of it, each with what it is about; the worst first."""
    texts, last = dict(words.RECOVERED), found.rule
    for name in found.slower:
        change = found.figures[name]
        now = change.why_not if change.now is None else f"{change.now:.2f} s"
        yield (
            "SLOWER",
            f"{texts[name]} {change.median:.2f} s -> {now}: beyond noise in {change.beyond} of the last {change.of} runs",
        )
    yield from ((check, say) for check, says in found.newest.broken.items() for say in says)
    for name, change in found.figures.items():
        if change.now is None and not change.slower:
            yield "not measured", f"{texts[name]}: {change.why_not}"
    if few := [texts[name] for name, change in found.figures.items() if change.limit is None]:
        yield (
            "not judged",
            f"{', '.join(few)}: it takes {LEAST} true runs that measured them, before the last {last.of}",
        )
    if found.exposure:
        told = ", ".join(_exposed(op, one) for op, one in found.exposure.items())
        runs = max(one.runs for one in found.exposure.values())
        since = f", since {found.since_loss} lost some" if found.since_loss else ""
        yield "exposed", f"0 lost {told}, at 95 %, in {runs} run{'s' if runs > 1 else ''}{since}"
    elif found.since_loss:
        yield "exposed", f"no rate of loss is excluded: {found.since_loss} lost some, and no true run came after it"
    for why, n in found.not_compared.items():
        yield "not compared", f"{n} run{'s' if n > 1 else ''}: {why}"
    yield from (("not judged", f"{where}: {why}") for where, why in found.not_judged.items() if where)
    yield "newest", found.newest.directory


def _exposed(op: str, one: Excluded) -> str:
    """The rate is rounded up, to two digits."""
    digits = 1 - math.floor(math.log10(one.excludes_above * 100))
    rate = math.ceil(one.excludes_above * 100 * 10**digits - 1e-9) / 10**digits
    return f"of {one.commands:,} {op} (below {rate:g} %)"
