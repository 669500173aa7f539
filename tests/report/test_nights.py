"""Runs compared night after night: what is slower beyond noise, what all of them exclude, and what can't be put together."""

import json
import math
import pathlib
import random
from collections.abc import Callable, Sequence

import pytest
from histories import complete

from chaosreprise import checker, recovery, report
from chaosreprise.errors import BadInput
from chaosreprise.history import Effect, Fault
from chaosreprise.report import nights
from chaosreprise.report.nights import LEAST, Compared, Night, Rule
from chaosreprise.report.spread import NOT_JUDGED, Measured

DAY = 24 * 3600


def night(number: int, elsewhere: float | None = 2.1, verdict: str = "true", **more) -> Night:
    figure = Measured(s=elsewhere, off=0.01) if elsewhere is not None else Measured(why_not="nothing was started")
    fields = {
        "directory": f"runs/e/{number}",
        "run": f"run-{number}",
        "experiment": "e",
        "platform": "p",
        "settings": "s",
        "definitions": "d",
        "started": 1.8e9 + number * DAY,
        "verdict": verdict,
        "recovery": {"elsewhere": figure},
        "lost": 0,
        "exposed": {"stop": 20, "wake": 10},
    }
    return Night(**{**fields, **more})


def one(runs: Sequence[Night], **rule: int) -> Compared:
    (found,) = nights.compare(runs, Rule(**rule))
    return found


def said(found: Compared) -> str:
    return " ".join(" ".join(nights.lines(found)).split())


def noisy(times: Sequence[float], since: int = 0) -> list[Night]:
    return [night(since + number, s) for number, s in enumerate(times)]


QUIET = [2.1, 2.0, 2.2, 2.15, 2.05, 2.1, 2.3, 2.1]


def test_what_two_of_the_last_three_nights_show_beyond_noise_is_slower_and_false():
    found = one(noisy([*QUIET, 6.7, 2.1, 6.8]))
    assert (found.verdict, found.slower) == ("false", ["elsewhere"])
    change = found.figures["elsewhere"]
    assert (change.earlier, change.median, change.now, change.beyond, change.of) == (8, 2.1, 6.8, 2, 3)
    assert any(
        line.strip() == "SLOWER       next start elsewhere 2.10 s -> 6.80 s: beyond noise in 2 of the last 3 runs"
        for line in nights.lines(found)
    )


def test_one_bad_night_is_none_yet_and_another_rule_may_say_that_it_is():
    runs = noisy([*QUIET, 2.1, 2.1, 6.8])
    assert (one(runs).verdict, one(runs).figures["elsewhere"].beyond) == ("true", 1)
    assert one(runs, bad=1).verdict == "false"
    assert one(noisy([*QUIET, 6.8, 2.1, 2.1, 2.1])).verdict == "true"


def test_a_store_as_noisy_as_that_shows_nothing():
    loud = [1.0, 6.0, 2.0, 7.1, 1.5, 5.5, 3.0, 6.4]
    assert one(noisy([*loud, 6.8, 6.5, 6.8])).verdict == "true"


def test_an_outlier_among_ten_hides_no_rise_and_one_among_fewer_is_noise():
    times = [*QUIET, 30.0]
    assert one(noisy([*times, 6.8, 6.8, 6.8])).verdict == "true"
    assert one(noisy([*times, 2.1, 6.8, 6.8, 6.8])).verdict == "false"


@pytest.mark.parametrize(("rise", "slower"), [(1.05, False), (1.3, True)])
def test_less_than_a_tenth_is_no_concern_however_quiet_it_was(rise: float, slower: bool):
    assert one(noisy([2.0] * 10 + [2.0 * rise] * 3)).figures["elsewhere"].slower is slower


def test_less_than_a_tenth_of_a_second_is_no_concern_where_there_was_nothing():
    assert one(noisy([0.0] * 10 + [0.09] * 3)).verdict == "true"
    assert one(noisy([0.0] * 10 + [0.3] * 3)).verdict == "false"


def test_less_than_the_figures_may_be_off_is_noise():
    runs = [night(n, s, recovery={"elsewhere": Measured(s=s, off=0.5)}) for n, s in enumerate([2.0] * 10 + [2.9] * 3)]
    assert one(runs).figures["elsewhere"].slower is False


def test_with_too_few_earlier_nights_nothing_is_judged_and_that_is_said():
    runs = noisy([2.1] * (LEAST - 1) + [6.8] * 3)
    found = one(runs)
    assert (found.verdict, found.figures["elsewhere"].slower) == ("true", None)
    assert any("not judged   next start elsewhere: it takes 7 true runs" in line for line in nights.lines(found))
    assert one(noisy([2.1] * LEAST + [6.8] * 3)).verdict == "false"


def test_nights_that_were_not_true_are_no_measure_of_what_is_normal():
    before = [night(n, 2.1 if n % 2 else 60.0, verdict="true" if n % 2 else "false") for n in range(16)]
    assert one([*before, *noisy([6.8, 6.8, 6.8], 16)]).verdict == "false"


def test_what_did_not_come_at_all_is_slower_where_that_surely_took_longer():
    never = Measured(why_not="it never came back", at_least=40.0)
    since = len(QUIET)
    runs = [*noisy(QUIET), *(night(since + n, recovery={"elsewhere": never}) for n in range(3))]
    found = one(runs)
    assert found.slower == ["elsewhere"]
    assert any("2.10 s -> it never came back" in line for line in nights.lines(found))
    unseen = Measured(why_not="the load was turned off too soon")
    runs = [*noisy(QUIET), *(night(since + n, recovery={"elsewhere": unseen}) for n in range(3))]
    assert one(runs).verdict == "true"
    assert any("not measured next start elsewhere: the load was" in line for line in nights.lines(one(runs)))


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "normal": lambda draw: 2 + 0.2 * draw.gauss(0, 1),
    "skewed": lambda draw: 0.5 * math.exp(0.5 * draw.gauss(0, 1)),
    "even": lambda draw: draw.uniform(1, 2),
    "now and then in the next round": lambda draw: draw.choice([1, 1, 1, 1, 3]) + 0.05 * draw.random(),
    "half of them in the next round": lambda draw: draw.choice([1, 3]) + 0.05 * draw.random(),
    "memoryless": lambda draw: 1 + draw.expovariate(2),
    "far outliers": lambda draw: 1 + 0.1 * abs(draw.gauss(0, 1) / max(0.2, abs(draw.gauss(0, 1)))),
}


@pytest.mark.parametrize("earlier", [LEAST, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_of_any_shape_is_seldom_taken_for_a_rise(shape: str, earlier: int):
    draw = random.Random(f"{shape} {earlier}")
    drawn = SHAPES[shape]
    stores = 300
    alarms = sum(
        one(noisy([drawn(draw) for _ in range(earlier + 3)])).figures["elsewhere"].slower for _ in range(stores)
    )
    assert alarms / stores < 0.05


def test_exposure_grows_over_the_nights():
    found = one([night(n) for n in range(20)])
    assert found.exposure["stop"].commands == 400
    assert found.exposure["stop"].excludes_above == pytest.approx(0.00746, abs=1e-5)
    assert any(
        "0 lost of 400 stop (below 0.75 %), of 200 wake (below 1.5 %), at 95 %, in 20 runs" in line
        for line in nights.lines(found)
    )
    assert (1 - found.exposure["stop"].excludes_above) ** 400 == pytest.approx(0.05)


@pytest.mark.parametrize("left_out", [{"verdict": "unknown"}, {"verdict": "false"}, {"lost": None}])
def test_nights_that_prove_nothing_about_loss_are_in_no_sum(left_out: dict[str, object]):
    assert one([night(n) for n in range(9)] + [night(9, **left_out)]).exposure["stop"].commands == 180


def test_a_loss_begins_the_sum_anew_and_is_said():
    lost = night(5, verdict="false", lost=1)
    found = one([*(night(n) for n in range(5)), lost, *(night(n) for n in range(6, 9))])
    assert (found.exposure["stop"].commands, found.since_loss) == (60, "run-5")
    assert "since run-5 lost some" in said(found)
    found = one([*(night(n) for n in range(5)), lost])
    assert found.exposure == {}
    assert "no rate of loss is excluded: run-5 lost some" in said(found)


def test_a_run_that_stands_there_twice_counts_once():
    copies = [night(n) for n in range(4)] + [night(n, directory=f"backup/{n}") for n in range(4)]
    assert one(copies).exposure["stop"].commands == 80


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"settings": "t"}, "2 runs: other settings of the experiment or the platform"),
        ({"definitions": "e"}, "2 runs: checks of another definition"),
        ({"settings": ""}, "2 runs: their verdict.json does not say their settings"),
    ],
)
def test_what_can_not_be_compared_is_said_and_not_mixed(other: dict[str, str], said: str):
    found = one([night(0, 60.0, **other), night(1, 60.0, **other), *(night(n) for n in range(2, 5))])
    assert found.runs == ["run-2", "run-3", "run-4"]
    assert found.exposure["stop"].commands == 60
    assert any(line.strip() == f"not compared {said}" for line in nights.lines(found))


def test_other_experiments_and_platforms_are_compared_by_themselves():
    runs = [night(0), night(1, platform="q"), night(2, experiment="f"), night(3, 6.8)]
    found = nights.compare(runs, Rule())
    assert [(each.experiment, each.platform, len(each.runs)) for each in found] == [
        ("e", "p", 2),
        ("e", "q", 1),
        ("f", "p", 1),
    ]


def test_the_worst_newest_run_decides_and_one_that_was_not_judged_is_never_true():
    broken = Night(directory="runs/e/9", run="9", experiment="e", started=2e9, why="it has no verdict.json")
    assert one([night(0), broken]).verdict == NOT_JUDGED
    assert one([night(0), night(1, verdict="unknown")]).verdict == "unknown"
    assert one([night(0, verdict="false"), night(1)]).verdict == "true"
    older = Night(directory="runs/e/0", run="0", experiment="e", started=1.0, why="it has no verdict.json")
    found = one([older, night(0)])
    assert (found.verdict, found.not_judged) == ("true", {"runs/e/0": "it has no verdict.json"})
    assert (
        nights.worst(nights.compare([night(0), night(1, experiment="f", verdict="false"), broken], Rule())) == "false"
    )


def test_labs_that_reprise_makes_are_one_platform(tmp_path: pathlib.Path):
    names = ["lab-1a2b3c@vm", "lab-ffffff@other", "acme@vm", "lab-of-mine@vm"]
    found = [nights.night(written(tmp_path, platform=name), "d").platform for name in names]
    assert found == ["embedded", "embedded", "acme@vm", "lab-of-mine@vm"]


def written(folder: pathlib.Path, **changes) -> dict:
    """verdict.json of a history that is judged."""
    made = complete(seconds_of_steps=7.9, **changes)
    history = made.history()
    report.write(folder, checker.judge(history, "end"), history)
    return json.loads((folder / "verdict.json").read_text())


def test_a_real_verdict_tells_what_is_compared(tmp_path: pathlib.Path):
    found = nights.night(written(tmp_path), "d")
    assert (found.verdict, found.experiment, found.lost) == ("true", "agent-failover", 0)
    assert found.exposed == {"stop": 10, "hibernate": 5, "wake": 5}
    assert found.recovery["elsewhere"].s == pytest.approx(0.63)


def test_a_real_violation_is_told_with_what_shows_it(tmp_path: pathlib.Path):
    made = complete(seconds_of_steps=7.9)
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > made.find(Fault)[-1].lo)
    history = made.history()
    verdict = recovery.add(checker.judge(history, "end"), history)
    found = nights.night(json.loads(report.verdict_json(verdict)), "d")
    assert (found.verdict, found.lost, list(found.broken)) == ("false", 1, ["lost"])
    (say,) = found.broken["lost"]
    assert any(line.strip().startswith("lost") and say in line for line in nights.lines(one([found])))


def test_the_settings_are_those_of_experiment_and_platform_and_no_seed_or_name(tmp_path: pathlib.Path):
    def fingerprints(**changes) -> tuple[str, str]:
        told = written(tmp_path, **changes)
        return told["settings"], told["definitions"]

    same = fingerprints()
    assert fingerprints(seed=8, platform="lab-1a2b3c@vm", experiment="x") == same
    assert fingerprints(settle_ns=3 * 10**9)[0] != same[0]
    assert fingerprints(sha="1" * 64)[0] != same[0]
    more = fingerprints(optional=["reorder"])
    assert (more[0] != same[0], more[1] != same[1]) == (True, True)


def test_the_markdown_holds_the_same_and_nothing_that_a_platform_may_have_made_of_it():
    runs = [*noisy([*QUIET, 2.1, 6.8]), night(10, 6.8, broken={"lost": ["<script>|`x`"]}, verdict="false")]
    text = "\n".join(nights.markdown(one(runs)))
    assert "| next start elsewhere | 2.10 s | 2.53 s | 6.80 s | 2 of 3 |" in text
    assert "- SLOWER: next start elsewhere 2.10 s" in text
    assert "<script" not in text


def test_the_table_fits_a_terminal():
    lines = list(nights.lines(one(noisy([*QUIET, 2.1, 6.8, 6.8]))))
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("told", [None, [], {}, {"verdict": "true", "seed": 1, "recovery": []}])
def test_what_is_no_verdict_is_a_sentence(told):
    with pytest.raises(BadInput, match=r"its verdict\.json is none: `chaos reprise recheck d`"):
        nights.night(told, "d")
