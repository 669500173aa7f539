"""The same experiment many times: medians and percentiles of what was measured, and what was not is counted and never 0."""

import json
import pathlib

import pytest
from histories import complete

from chaosreprise import checker, recovery, report
from chaosreprise.errors import BadInput
from chaosreprise.history import Effect, Fault
from chaosreprise.report import spread
from chaosreprise.report.spread import NOT_JUDGED, Run


def fault(why_not: dict[str, str] | None = None, **figures: float) -> dict:
    """One entry of `recovery` in a verdict.json, each figure known to 10 ms."""
    spans = {name: [value - 0.01, value + 0.01] for name, value in figures.items()}
    empty = dict.fromkeys(("noticed", "elsewhere", "first_success", "drained", "normal"))
    return {"fault": "f1", "component": "agents/a2", **empty, **spans, "why_not": why_not or {}}


def ran(folder: pathlib.Path, *faults: dict, verdict: str = "true", seed: int = 7) -> Run:
    """A run whose verdict.json was written by hand."""
    folder.mkdir(exist_ok=True)
    path = folder / "verdict.json"
    path.write_text(json.dumps({"verdict": verdict, "seed": seed, "recovery": list(faults)}))
    return spread.of_verdict(json.loads(path.read_text()), str(folder))


def test_each_figure_has_its_median_and_its_ends(tmp_path: pathlib.Path):
    runs = [ran(tmp_path, fault(noticed=noticed, drained=2.0)) for noticed in (0.3, 0.1, 0.8, 0.2)]
    found = spread.spreads(runs)
    assert list(found) == ["noticed", "drained"]
    noticed = found["noticed"]
    assert (noticed.measured, noticed.min, noticed.max) == (4, pytest.approx(0.1), pytest.approx(0.8))
    assert noticed.median == pytest.approx(0.25)
    assert noticed.off == pytest.approx(0.01)


def test_a_percentile_needs_a_run_beyond_it():
    times = [float(n) for n in range(1, 101)]
    assert spread.percentile(times[:9], 90) is None
    assert spread.percentile(times[:10], 90) == 9.0
    assert spread.percentile(times[:19], 95) is None
    assert spread.percentile(times[:20], 95) == 19.0
    assert (spread.percentile(times, 90), spread.percentile(times, 95)) == (90.0, 95.0)


def test_what_could_not_be_measured_is_counted_with_its_reason_and_never_0(tmp_path: pathlib.Path):
    runs = [ran(tmp_path, fault(drained=3.0))] * 10
    runs += [ran(tmp_path, fault({"drained": "1 of 20 exposed commands never took effect"}), verdict="false")] * 2
    runs += [ran(tmp_path, verdict="unknown")]
    runs += [Run(verdict=NOT_JUDGED, why="it has no verdict.json")]
    found = spread.spreads(runs)["drained"]
    assert (found.measured, found.min, found.median, found.percentiles) == (10, 3.0, 3.0, {"p90": 3.0, "p95": None})
    assert found.not_measured == {
        "1 of 20 exposed commands never took effect": 2,
        "no fault was proven": 1,
        "the run was not judged: it has no verdict.json": 1,
    }


def test_a_figure_that_no_run_could_measure_has_no_number_at_all(tmp_path: pathlib.Path):
    runs = [ran(tmp_path, fault({"normal": "the load was turned off too soon"}, noticed=0.1))]
    found = spread.spreads(runs)["normal"]
    assert (found.measured, found.median, found.min, found.max, found.off) == (0, None, None, None, None)
    shown = next(line for line in spread.table(runs) if line.startswith("normal latency"))
    assert "0.0" not in shown
    assert shown.endswith("0 of 1")


def test_of_several_faults_of_a_run_the_slowest_counts_and_one_without_a_figure_takes_it(tmp_path: pathlib.Path):
    assert ran(tmp_path, fault(drained=1.0), fault(drained=4.0)).recovery["drained"].s == pytest.approx(4.0)
    one = ran(tmp_path, fault(drained=1.0), fault({"drained": "never"})).recovery["drained"]
    assert (one.s, one.why_not) == (None, "never")


def test_a_figure_that_is_none_of_what_was_broken_has_no_row(tmp_path: pathlib.Path):
    runs = [ran(tmp_path, fault(drained=1.0)), ran(tmp_path)]
    assert list(spread.spreads(runs)) == ["drained"]
    assert "noticed" not in "\n".join(spread.table(runs))


def test_false_beats_what_was_not_judged_beats_unknown_beats_true():
    def worst(*verdicts: str) -> str:
        return spread.worst([Run(verdict=verdict) for verdict in verdicts])

    assert worst("true", "true") == "true"
    assert worst("true", "unknown", "true") == "unknown"
    assert worst("unknown", NOT_JUDGED, "true") == NOT_JUDGED
    assert worst("unknown", NOT_JUDGED, "false") == "false"
    assert worst() == NOT_JUDGED


def test_the_table_counts_the_verdicts_and_fits_a_terminal(tmp_path: pathlib.Path):
    runs = [ran(tmp_path, fault(noticed=0.05, drained=2.5), verdict=one) for one in ("true", "true", "false")]
    lines = list(spread.table(runs))
    assert lines[0] == "3 runs: 2 true, 1 false"
    assert [line.split() for line in lines[1:3]] == [
        ["median", "p90", "p95", "min", "max", "off", "by", "measured"],
        ["noticed", "0.05", "s", "–", "–", "0.05", "s", "0.05", "s", "±10", "ms", "3", "of", "3"],
    ]
    assert max(map(len, lines)) <= 110


def test_a_line_for_each_run_says_its_verdict_its_recovery_and_where_it_is(tmp_path: pathlib.Path):
    run = ran(tmp_path, fault(noticed=0.05, normal=2.5))
    assert spread.line(3, 10, run) == f" 3/10   seed 7   true   noticed 0.05 s · normal latency 2.50 s   {tmp_path}"
    missing = Run(verdict=NOT_JUDGED, seed=8, why="it has no verdict.json")
    assert spread.line(4, 10, missing) == " 4/10   seed 8   not judged   it has no verdict.json"


def test_a_real_verdict_is_read(tmp_path: pathlib.Path):
    made = complete(seconds_of_steps=7.9)
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > made.find(Fault)[-1].lo)
    report.write(tmp_path, recovery.add(checker.judge(made.history(), "end"), made.history()), made.history())
    run = spread.of_verdict(json.loads((tmp_path / "verdict.json").read_text()), str(tmp_path))
    assert (run.verdict, run.seed) == ("false", 7)
    assert run.recovery["noticed"].s == pytest.approx(0.05)
    assert run.recovery["drained"].why_not == "1 of 20 exposed commands never took effect"
    assert run.recovery["normal"].s == 0


@pytest.mark.parametrize(
    "told", [None, [], {}, {"verdict": "maybe"}, {"verdict": "true", "seed": 1, "recovery": [{"noticed": [1]}]}]
)
def test_what_is_no_verdict_is_said_in_a_sentence(told):
    with pytest.raises(BadInput, match=r"runs/x/verdict\.json: not a verdict"):
        spread.of_verdict(told, "runs/x")
