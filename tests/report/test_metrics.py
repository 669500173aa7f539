"""metrics.prom: the verdict's own figures under names of their own, nothing that was not measured, and nothing that breaks a line."""

import re
import shutil
import subprocess

import pytest
from histories import Made, complete

from chaosreprise import checker, recovery, report
from chaosreprise.history import Coverage, Effect, Fault

SAMPLE = re.compile(r'^(reprise_[a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)$')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
NASTY = 'a\\"b\n{c}'


def judged(made: Made) -> checker.Verdict:
    history = made.history()
    return recovery.add(checker.judge(history, "end"), history)


def failed() -> Made:
    made = complete()
    made.drop(Effect, lambda e: e.session == "s-a2-hib0" and e.mark == "up" and e.lo > made.find(Fault)[-1].lo)
    return made


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """By name; each line is a sample or a comment."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.match(line)
            assert match, line
            found.setdefault(match[1], []).append((dict(LABEL.findall(match[2])), float(match[3])))
    return found


def value(text: str, name: str, **labels: str) -> float:
    (one,) = [n for told, n in samples(text)[name] if labels.items() <= told.items()]
    return one


def test_it_holds_the_verdicts_own_figures():
    verdict = judged(complete(seconds_of_steps=7.9))
    text = report.metrics(verdict)
    assert value(text, "reprise_run_verdict", verdict="true") == 1
    assert value(text, "reprise_run_started_timestamp_seconds") == verdict.started
    assert value(text, "reprise_commands", result="accepted") == verdict.counts.accepted > 0
    assert value(text, "reprise_exposed_commands", op="stop") == verdict.exposure["stop"].n > 0
    assert value(text, "reprise_loss_excluded_above_ratio", op="stop") == verdict.exposure["stop"].excludes_above
    (told,) = verdict.recovery
    for bound, s in zip(("lowest", "highest"), told.elsewhere, strict=True):
        assert value(text, "reprise_recovery_seconds", figure="elsewhere", bound=bound) == s
    (fault,) = verdict.faults
    proven = value(text, "reprise_fault_proven_timestamp_seconds", kind=fault.kind, component=fault.component)
    assert proven == verdict.started + fault.proven[1]
    assert all({"experiment", "platform"} <= labels.keys() for each in samples(text).values() for labels, _ in each)


def test_a_verdict_is_1_for_what_it_is_and_0_for_what_it_is_not():
    for made, found in ((complete(), "true"), (failed(), "false"), (complete(settle_ns=10**11), "unknown")):
        text = report.metrics(judged(made))
        told = {labels["verdict"]: n for labels, n in samples(text)["reprise_run_verdict"]}
        assert told == {one: int(one == found) for one in ("true", "false", "unknown")}


def test_each_check_has_its_verdict_and_how_many_were_lost_or_run_twice():
    text = report.metrics(judged(failed()))
    assert value(text, "reprise_check_verdict", check="lost", verdict="false") == 1
    assert value(text, "reprise_check_verdict", check="duplicate", verdict="true") == 1
    assert value(text, "reprise_check_violations", check="lost", bound="sure") == 1
    assert value(text, "reprise_check_violations", check="duplicate", bound="possible") == 0


def test_what_was_not_measured_has_no_sample():
    text = report.metrics(judged(failed()))
    figures = {labels["figure"] for labels, _ in samples(text)["reprise_recovery_seconds"]}
    assert "noticed" in figures
    assert "drained" not in figures, "1 of the exposed commands never took effect"
    made = Made()
    made.contract = None
    assert "reprise_recovery_seconds" not in report.metrics(judged(made))
    made = complete()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    assert value(report.metrics(judged(made)), "reprise_run_verdict", verdict="unknown") == 1


def test_the_names_bear_their_units_and_no_sample_a_stamp_and_each_name_stands_once():
    lines = report.metrics(judged(complete(seconds_of_steps=7.9))).splitlines()
    units = dict(line.split()[2:] for line in lines if line.startswith("# UNIT "))
    assert units
    assert all(name.endswith(f"_{unit}") and unit in ("seconds", "ratio") for name, unit in units.items())
    described = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    assert len(described) == len(set(described))
    assert described == list(dict.fromkeys(line.partition("{")[0] for line in lines if not line.startswith("#")))
    assert lines[-1] == "# EOF"


def test_series_stay_the_same_from_night_to_night():
    def series(**changes) -> set[str]:
        text = report.metrics(judged(complete(**changes)))
        return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    assert series(platform="lab-1a2b3c@vm", seed=1) == series(platform="lab-ffffff@other", seed=2)


@pytest.mark.parametrize("make", [complete, failed, Made, lambda: complete(experiment=NASTY, platform=NASTY)])
def test_prometheus_own_linter_finds_nothing(make):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on the PATH: install Debian's prometheus")
    text = report.metrics(judged(make()))
    samples(text)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
