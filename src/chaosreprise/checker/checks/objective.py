"""objective: a figure that the experiment states does not keep its limits.

Definition (design, section 4: "a predicate over a sampled signal or a latency quantile in a phase does not hold"). A figure
is each sample of a signal, the latency of each command of a kind (from its submission to its answer or to its effect; of a start or a wake also to its
stream, from when its session was reported to run), one
quantile of either (nearest rank), a figure of the recovery from each proven fault, or a rate: how many commands of a kind, or
of `any`, were answered with success per second of a phase. It must not be above `max` nor below `min`. With a phase, only
what was sampled or submitted in it counts.

Promise: what the experiment states.

An agent that goes silent can't be noticed before its silence shows (the platform file's `timing.offline_s`): `noticed_s` is allowed
that long, whatever is stated, and the report says so beside the figure.

Figures are intervals: violated for certain when the nearest end is beyond the limit, possibly when the farthest is. Refused
commands count as nothing; one without a clear answer, or without its effect, counts as slower than any other.

Needs. For a signal its source covered throughout the phase, and at least one sample: an absent series is unknown, never 0.
For a latency at least one command; of a stream one whose stream
was asked for then, which is done where one has opened before. For a quantile so many that one lies beyond it, as 20 for 0.95: of fewer it is false where it
would be whatever the others were, and else unknown. For a recovery what the report says of it. For a rate that as many were asked
for: of a platform that was asked for less nobody knows what it takes.

Witness. The figure, its limit, and the commands or samples that are farthest beyond it.

Limits. What happened between two samples is not known. Latencies count from the moment of sending, not from the moment that
the plan intended: what the load could not send in time it did not send (`skipped`), and while it stood still (`stalled`) it
surely waited for nothing. Where effects are counted, of two commands of one session and kind the first effect is taken to be
that of the first.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker import figures
from chaosreprise.checker.case import Case
from chaosreprise.checker.check import Check
from chaosreprise.checker.figures import Figure
from chaosreprise.checker.verdict import Doubt, Finding, Witness
from chaosreprise.history.statements import Objective


class Missed(NamedTuple):
    objective: Objective
    figures: list[Figure]
    n: int


def judge(case: Case) -> Finding:
    missed: list[Missed] = []
    doubts: list[Doubt] = []
    perhaps = evidence = 0
    for objective in case.objectives:
        if _too_soon(case, objective):
            evidence += 1
            continue
        measured, unknown = figures.measure(case, objective)
        evidence += sum(figure.n for figure in measured)
        beyond = [figure for figure in measured if _beyond(figure.lo, figure.hi, objective)]
        unsure = [figure for figure in measured if _beyond(figure.hi, figure.lo, objective)]
        if beyond:
            missed.append(Missed(objective, beyond, sum(figure.n for figure in measured)))
        elif unsure:
            perhaps += 1
            doubts.append(_unsure(objective, unsure))
        doubts += unknown
    return Finding(
        count=(len(missed), len(missed) + perhaps),
        baseline=sum(_is_baseline(case, one.objective) for one in missed),
        evidence=evidence,
        witnesses=[_witness(case, one) for one in missed],
        scope=[*_nothing(case), *doubts],
    )


def _too_soon(case: Case, objective: Objective) -> bool:
    """While the run's processes live, what is about its end is not known yet: nothing is said against it then."""
    return case.live and (objective.phase == "close" or (objective.signal != "" and not objective.phase))


def _beyond(lo: float, hi: float, objective: Objective) -> bool:
    """Whether `lo` is above the maximum or `hi` below the minimum; with the ends swapped: whether either may be."""
    return (objective.max is not None and lo > objective.max) or (objective.min is not None and hi < objective.min)


def _is_baseline(case: Case, objective: Objective) -> bool:
    return case.first_armed is None or objective.phase == "baseline"


def _nothing(case: Case) -> Iterator[Doubt]:
    if not case.contract.objectives:
        why = "the contract states no objective"
        yield Doubt(what="objective", why=why, do="state in `objectives` which figures must keep which limits")


def _unsure(objective: Objective, unsure: list[Figure]) -> Doubt:
    if unsure[0].n < (need := figures.needed(objective.quantile)):
        why = f"{_name(objective)} is of {unsure[0].n}, and only of {need} does one lie beyond it"
        return Doubt(what=objective.name, why=why, do="ask for more of them, or state a lower quantile")
    why = f"{_name(objective)} is {_range(unsure[0])}, and must be {_limits(objective)}"
    return Doubt(
        what=objective.name, why=why, do="look more often, or see which commands had no clear answer or effect"
    )


def _witness(case: Case, one: Missed) -> Witness:
    objective = one.objective
    worst = max(one.figures, key=lambda figure: _by(figure, objective))
    many = f"; {len(one.figures)} of {one.n} are beyond it" if len(one.figures) > 1 else ""
    of = f" (of {worst.n})" if worst.n > 1 else ""
    say = f"{objective.name}: {_name(objective)}{of} is {_range(worst)}, and must be {_limits(objective)}{many}"
    shown = sorted(one.figures, key=lambda figure: _by(figure, objective))[-figures.SHOWN :]
    moments = sorted((moment for figure in shown for moment in figure.moments), key=lambda moment: moment.hi)
    return Witness(
        say=say,
        kind=f"{objective.name}: {_name(objective)} is not {_limits(objective)}",
        cmd="",
        op="",
        session=None,
        baseline=_is_baseline(case, objective),
        moments=moments[: figures.SHOWN],
    )


def _by(figure: Figure, objective: Objective) -> float:
    """How far beyond its limits it surely is."""
    above = figure.lo - objective.max if objective.max is not None else -math.inf
    below = objective.min - figure.hi if objective.min is not None else -math.inf
    return max(above, below)


def _name(objective: Objective) -> str:
    quantile = f"quantile {objective.quantile:g} of " if objective.quantile is not None else ""
    phase = f" in the phase {objective.phase!r}" if objective.phase else ""
    if objective.recovery:
        return objective.recovery
    of = f"rate of {'all calls' if objective.rate == 'any' else objective.rate}" if objective.rate else ""
    what = of or objective.signal or f"{objective.op} to its {objective.latency}"
    return f"{quantile}{what}{phase}"


def _range(figure: Figure) -> str:
    if math.isinf(figure.hi):
        return f"more than {figure.lo:.6g}"
    return f"{figure.hi:.6g}" if figure.hi - figure.lo < 0.001 else f"{figure.lo:.6g} to {figure.hi:.6g}"


def _limits(objective: Objective) -> str:
    parts = [] if objective.max is None else [f"at most {objective.max:g}"]
    parts += [] if objective.min is None else [f"at least {objective.min:g}"]
    unit = "" if objective.signal else " a second" if objective.rate else " s"
    return " and ".join(parts) + unit


CHECK = Check(
    name="objective",
    promise=None,
    ledgers=(),
    levels=("keyed", "counted", "state", "none"),
    early=False,
    says=("a figure does not keep its limits", "figures do not keep their limits"),
    judge=judge,
    asks="objectives",
    baseline=False,
    criteria=(
        "SS-8.2",
        "SS-10.1",
        "SI-3.3",
        "SI-4.1",
        "SI-4.2",
        "SI-1.1",
        "SI-1.2",
        "SI-1.4",
        "SS-2.5",
        "SX-1",
        "SX-13",
    ),
)
