"""Whether a figure of runs one after another rises: the Theil-Sen slope, and the Mann-Kendall test against noise.

The slope is the median of the slopes of all pairs (Theil 1950; Sen 1968, JASA 63, 1379). The test asks how many of the pairs rise, and how
often so many would by chance (Mann 1945, Econometrica 13, 245; Kendall, Rank Correlation Methods, 1975), one-sided, since a platform that
gets faster is no concern: exact up to 60 runs, by the normal approximation beyond. Neither minds an outlier. Several
figures share one chance of 5 % for a false alarm (Bonferroni), so that with more of them more runs are needed. What rises by less than
the figures may be off is noise too.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

ALARM = 0.05
LEAST = 4  # runs: of a single figure 1 in 4! is below that
EXACT = 60


class Point(NamedTuple):
    """A figure of the run of this number, in seconds, `off` by at most so much."""

    run: int
    s: float
    off: float = 0.0


class Trend(msgspec.Struct, kw_only=True):
    """Over so many runs: the rise of each in seconds, and how often it would be as clear by chance. `rises`: null where they are too few."""

    runs: int
    slope_s: float | None = None
    p: float | None = None
    rises: bool | None = None


def trends(figures: Mapping[str, Sequence[Point]]) -> dict[str, Trend]:
    """Each figure that any run has measured. One that fewer than LEAST runs measured takes nobody's chance."""
    measured = {name: points for name, points in figures.items() if points}
    sharing = max(1, sum(len(points) >= LEAST for points in measured.values()))
    return {name: _trend(points, sharing) for name, points in measured.items()}


def runs_needed(figures: int) -> int:
    """How many runs can tell a rise at all, of so many figures: that all are in rising order has a chance of 1 in n!."""
    return next(n for n in itertools.count(LEAST) if math.factorial(n) * ALARM >= figures)


def slope(points: Sequence[Point]) -> float:
    """Theil-Sen: of two points at least."""
    return statistics.median((b.s - a.s) / (b.run - a.run) for a, b in itertools.combinations(points, 2))


def chance(points: Sequence[Point]) -> float:
    """Mann-Kendall: how often at least so many pairs rise where nothing does. Ties make it larger, never smaller."""
    n = len(points)
    score = sum((b.s > a.s) - (b.s < a.s) for a, b in itertools.combinations(points, 2))
    if n > EXACT:
        deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
        return 1 - statistics.NormalDist().cdf((score - 1) / deviation)
    falls = (n * (n - 1) // 2 - score) // 2
    return sum(_orders(n)[: falls + 1]) / math.factorial(n)


def _trend(points: Sequence[Point], sharing: int) -> Trend:
    n = len(points)
    if n < runs_needed(sharing):
        return Trend(runs=n)
    rise, p = slope(points), chance(points)
    beyond = rise * (points[-1].run - points[0].run) > 2 * max(point.off for point in points)
    return Trend(runs=n, slope_s=rise, p=p, rises=p * sharing <= ALARM and beyond)


def _orders(n: int) -> list[int]:
    """How many orders of n have 0, 1, 2, ... pairs that fall."""
    found = [1]
    for size in range(2, n + 1):
        sums = [0, *itertools.accumulate([*found, *[0] * (size - 1)])]
        found = [sums[i + 1] - sums[max(0, i + 1 - size)] for i in range(len(sums) - 1)]
    return found
