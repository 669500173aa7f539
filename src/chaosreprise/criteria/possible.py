"""Which criteria can be tested on one platform, and why not the others: pure, from what of it is seen and what may be broken."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from chaosreprise.checker import registry
from chaosreprise.checker.attribution import STRENGTH, strongest
from chaosreprise.criteria.coverage import Covered, table
from chaosreprise.criteria.experiments import Experiment
from chaosreprise.criteria.lists import ALL, Criterion
from chaosreprise.history.events import LIFECYCLE, Attribution, Level

GIVEN = (
    "claims",
    "quota",
    "states",
)  # what an adapter states, and without which a check that asks for it has nothing to judge


class Possible(NamedTuple):
    """The experiments `by` which a criterion can be tested there; else `why` by none."""

    criterion: Criterion
    by: list[str]
    why: str


def of_platform(
    system: str, levels: Mapping[str, Level], kinds: Collection[str], parts: Mapping[str, int]
) -> list[Possible]:
    """All criteria of a system, each with what can test it there.

    `levels`: of each check that can judge there the attribution that it has (`levels_of`); `kinds`: the faults that can be made
    and are allowed; `parts`: how many there are of what an experiment may need (`agents`, `control_planes`, `users` and so on).
    """
    there = _There(system, levels, kinds, parts)
    return [_possible(entry, there) for entry in table() if entry.criterion.system in (system, ALL)]


def levels_of(
    ledgers: Collection[str],
    attribution: Sequence[Attribution],
    given: Collection[str],
    ops: Collection[str] = LIFECYCLE,
) -> dict[str, Level]:
    """The checks that can judge, with the level at which they surely can: that of the weakest of the kinds of commands `ops`.

    `ledgers`: the kinds of evidence that are there, `rows` among them where the platform's own are read, and `slots` where
    effects are known; `given`: which of GIVEN the adapter states.
    """
    known = strongest(attribution)
    weakest: Level = min((known[op].level if op in known else "none" for op in ops), key=STRENGTH.__getitem__)
    return {
        check.name: weakest
        for check in registry.checks().values()
        if {*check.ledgers} <= {*ledgers} and weakest in check.levels and check.asks not in {*GIVEN} - {*given}
    }


def said(found: Sequence[Possible]) -> str:
    """In one line."""
    can = sum(bool(one.by) for one in found)
    return f"{len(found)} criteria: {can} can be tested here, {len(found) - can} cannot"


class _There(NamedTuple):
    system: str
    levels: Mapping[str, Level]
    kinds: Collection[str]
    parts: Mapping[str, int]

    def judges(self, check: str) -> bool:
        return self.levels.get(check, "none") in registry.checks()[check].levels and check in self.levels

    def against(self, experiment: Experiment, checks: Collection[str]) -> Iterator[str]:
        """Why this experiment can't show there what one of these checks proves."""
        if experiment.system != self.system:
            yield f"it is for a {experiment.system}"
        yield from (f"{kind} can't be made" for kind in experiment.kinds if kind not in self.kinds)
        for name, wanted in experiment.needs.items():
            if (number := self.parts.get(name, 0)) < wanted:
                yield f"{number} of {wanted} {name.replace('_', ' ')} are there"
        yield from (f"{check} can't be judged" for check in experiment.require if not self.judges(check))
        proving = [check for check in experiment.checks if check in checks]
        if not any(map(self.judges, proving)):
            yield f"{' and '.join(proving) or 'nothing'} can't be judged, by which it is proven"


def _possible(entry: Covered, there: _There) -> Possible:
    reasons = {one.name: next(there.against(one, entry.checks), "") for one in entry.experiments}
    by = [name for name, reason in reasons.items() if not reason]
    if by:
        return Possible(entry.criterion, by, "")
    if reasons:
        name, reason = next(iter(reasons.items()))
        return Possible(entry.criterion, [], f"{name}: {reason}")
    only = "only a test of the embedded platform shows it, and no experiment"
    return Possible(entry.criterion, [], only if entry.criterion.tests else entry.says)
