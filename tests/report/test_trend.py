"""A figure that rises from run to run is told from one that only varies, and too few runs tell neither."""

import itertools
import math
import random

import pytest

from chaosreprise.report import spread, trend
from chaosreprise.report.spread import Measured, Run
from chaosreprise.report.trend import Point


def points(*seconds: float, off: float = 0.0) -> list[Point]:
    return [Point(run, s, off) for run, s in enumerate(seconds)]


def rises(*seconds: float, off: float = 0.0) -> bool | None:
    return trend.trends({"drained": points(*seconds, off=off)})["drained"].rises


def runs(**figures: list[float]) -> list[Run]:
    """Runs of which each has one of these figures in turn, as p95 of answers."""
    return [
        Run(verdict="true", seed=number, directory=f"r{number}", answers=dict(zip(figures, row, strict=True)))
        for number, row in enumerate(zip(*figures.values(), strict=True))
    ]


def test_the_chance_is_the_share_of_all_orders_that_rise_as_clearly():
    seen = [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
    orders = [trend.chance(points(*order)) for order in itertools.permutations(seen)]
    own = trend.chance(points(*seen))
    assert own == pytest.approx(sum(one <= own + 1e-12 for one in orders) / math.factorial(6))
    assert trend.chance(points(1, 2, 3, 4)) == pytest.approx(1 / 24)
    assert trend.chance(points(4, 3, 2, 1)) == 1.0


def test_of_all_orders_of_figures_without_a_trend_5_in_100_at_most_are_called_one():
    orders = list(itertools.permutations(range(1, 7)))
    assert 0 < sum(bool(rises(*order)) for order in orders) / len(orders) <= trend.ALARM


def test_beyond_60_runs_the_approximation_says_what_the_exact_one_says():
    drawn = random.Random(5)
    seconds = [n * 0.01 + drawn.random() for n in range(60)]
    exact = trend.chance(points(*seconds))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trend, "EXACT", 10)
        assert trend.chance(points(*seconds)) == pytest.approx(exact, rel=0.1)


def test_the_slope_does_not_mind_an_outlier():
    assert trend.slope(points(1.0, 1.1, 9.0, 1.3, 1.4, 1.5)) == pytest.approx(0.1)


def test_runs_that_did_not_measure_it_leave_a_gap():
    assert trend.slope([Point(0, 1.0), Point(4, 3.0)]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds", "off", "says"),
    [
        ((1.0, 1.2, 1.4, 1.6, 1.8), 0.01, True),
        ((1.0, 1.2, 1.4, 1.6, 1.8), 0.5, False),  # within what the figures may be off
        ((1.8, 1.6, 1.4, 1.2, 1.0), 0.01, False),  # faster is no concern
        ((1.0, 1.3, 0.9, 1.2, 1.1), 0.01, False),
        ((2.0, 2.0, 2.0, 2.0, 2.0), 0.0, False),
        ((1.0, 2.0, 3.0), 0.0, None),
    ],
)
def test_what_rises_more_clearly_than_chance_and_by_more_than_it_is_off(seconds, off, says):
    assert rises(*seconds, off=off) is says


def test_more_figures_need_more_runs_so_that_one_in_20_is_wrong_of_all_of_them():
    assert [trend.runs_needed(figures) for figures in (1, 2, 8, 40)] == [4, 5, 6, 7]
    many = {str(n): points(1, 2, 3, 4) for n in range(8)}
    assert {told.rises for told in trend.trends(many).values()} == {None}
    rare = {"read": points(1, 2, 3, 4)} | {str(n): points(1, 2) for n in range(8)}
    assert trend.trends(rare)["read"].rises, "what was hardly ever measured takes nobody's chance"


def test_a_platform_that_gets_slower_is_said_with_how_much_a_run():
    lines = list(spread.trend_lines(runs(read=[0.1, 0.2, 0.3, 0.4, 0.5], step=[0.2, 0.1, 0.3, 0.2, 0.1])))
    assert lines == [
        "SLOWER  p95 read rises by 100 ms a run over 5 runs (Theil-Sen; by chance as clear in 0.0083 of all cases, Mann-Kendall)"
    ]


def test_one_that_does_not_is_said_and_so_is_one_of_which_too_little_is_known():
    flat = runs(read=[0.1, 0.3, 0.2, 0.3, 0.1])
    assert "no slower from run to run: none of 1 figures rises" in "\n".join(spread.trend_lines(flat))
    assert list(spread.trend_lines(flat[:3])) == ["no trend of p95 read: it takes 4 runs that measured them, or more"]
    assert list(spread.trend_lines([])) == []


def test_what_was_not_measured_is_no_point_of_a_trend():
    ran = [Run(verdict="true", recovery={"drained": Measured(why_not="never")})] * 6
    assert spread.trend(ran) == {}
