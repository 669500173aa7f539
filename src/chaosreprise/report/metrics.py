"""metrics.prom: the figures of a run for Prometheus, such as node_exporter's textfile collector takes them.

Prometheus' text format and OpenMetrics read it alike: gauges only, since each run has figures of its own and counts from 0, base units
in the names, no stamps on the samples. Times are values. What was not measured has no sample, and is never a 0; a verdict is three samples, of which one is
1. Series stay the same from night to night: no run, no seed, and of labs that Reprise makes no names.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaosreprise.checker import Verdict
from chaosreprise.checker.verdict import Value
from chaosreprise.report import words

Labels = dict[str, str]
Sample = tuple[Labels, float]
VALUES: tuple[Value, ...] = ("true", "false", "unknown")
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Family(NamedTuple):
    """The samples of one name. `unit` is the end of the name, where it has one."""

    name: str
    help: str
    samples: Iterable[Sample]
    unit: str = ""


def metrics(verdict: Verdict) -> str:
    """The text of the file."""
    shared = {"experiment": words.name_of(verdict), "platform": words.platform_of(verdict.platform)}
    found = [*_of_run(verdict), *_of_checks(verdict), *_of_exposure(verdict), *_of_faults(verdict)]
    return "".join(line + "\n" for family in found for line in _lines(family, shared)) + "# EOF\n"


def _of_run(verdict: Verdict) -> Iterator[Family]:
    yield Family(
        "reprise_run_verdict", "The verdict of the newest run: 1 for the one that it is.", _one_of(verdict.value)
    )
    started: list[Sample] = [] if verdict.started is None else [({}, verdict.started)]
    yield Family(
        "reprise_run_started_timestamp_seconds", "When the run began, in seconds since 1970.", started, "seconds"
    )
    ends = [phase.end for phase in verdict.phases if phase.end is not None]
    lasted: list[Sample] = [({}, max(ends))] if ends else []
    yield Family(
        "reprise_run_duration_seconds", "How long it took from its beginning to its last phase.", lasted, "seconds"
    )
    counts = verdict.counts
    results = {name: getattr(counts, name) for name in ("sent", "accepted", "refused", "undecided")}
    yield Family(
        "reprise_commands",
        "Commands and steps of the run by what became of them, without reads; the accepted and refused are among the sent.",
        [({"result": name}, n) for name, n in results.items()],
    )


def _of_checks(verdict: Verdict) -> Iterator[Family]:
    yield Family(
        "reprise_check_verdict",
        "What each check found: 1 for the one that it is.",
        [
            ({"check": name, "required": str(found.required).lower(), **labels}, value)
            for name, found in verdict.checks.items()
            for labels, value in _one_of(found.value)
        ],
    )
    yield Family(
        "reprise_check_violations",
        "Violations that each check found, such as commands lost or run twice: those that are sure, and those that are possible.",
        [
            ({"check": name, "bound": bound}, n)
            for name, found in verdict.checks.items()
            for bound, n in zip(("sure", "possible"), found.count, strict=True)
        ],
    )


def _of_exposure(verdict: Verdict) -> Iterator[Family]:
    yield Family(
        "reprise_exposed_commands",
        "Commands whose path crossed what was broken, by their kind, while it surely was.",
        [({"op": op}, told.n) for op, told in verdict.exposure.items()],
    )
    yield Family(
        "reprise_exposed_commands_needed",
        "How many the experiment asks for.",
        [({"op": op}, told.need) for op, told in verdict.exposure.items() if told.need],
    )
    yield Family(
        "reprise_loss_excluded_above_ratio",
        "The rate of loss above which this run excludes one where it lost nothing, with 95 % confidence.",
        [({"op": op}, told.excludes_above) for op, told in verdict.exposure.items() if told.excludes_above is not None],
        "ratio",
    )


def _of_faults(verdict: Verdict) -> Iterator[Family]:
    for name, when in (("proven", "was surely there"), ("undone", "was surely over")):
        yield Family(
            f"reprise_fault_{name}_timestamp_seconds",
            f"When each fault {when}, in seconds since 1970.",
            [
                ({"fault": fault.fault, "kind": fault.kind, "component": fault.component}, verdict.started + span[1])
                for fault in verdict.faults
                if (span := getattr(fault, name)) is not None and verdict.started is not None
            ],
            "seconds",
        )
    spans = [(told, name, getattr(told, name)) for told in verdict.recovery for name, _ in words.RECOVERED]
    yield Family(
        "reprise_recovery_seconds",
        "How long the platform took to come back from each fault, between a lowest and a highest time.",
        [
            ({"fault": told.fault, "component": told.component, "figure": name, "bound": bound}, value)
            for told, name, span in spans
            if span is not None
            for bound, value in zip(("lowest", "highest"), span, strict=True)
        ],
        "seconds",
    )
    limits = {name: limit for told in verdict.recovery for name, limit in told.limits.items()}
    yield Family(
        "reprise_recovery_objective_seconds",
        "How long that may take at most, where the experiment states it.",
        [({"figure": name}, limit) for name, limit in limits.items()],
        "seconds",
    )


def _one_of(found: Value) -> list[Sample]:
    return [({"verdict": value}, int(value == found)) for value in VALUES]


def _lines(family: Family, shared: Labels) -> Iterator[str]:
    """Nothing where there is no sample."""
    samples = list(family.samples)
    if not samples:
        return
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} gauge"
    if family.unit:
        yield f"# UNIT {family.name} {family.unit}"
    for labels, value in samples:
        told = ",".join(f'{name}="{text.translate(ESCAPES)}"' for name, text in {**shared, **labels}.items())
        yield f"{family.name}{{{told}}} {value!r}"
