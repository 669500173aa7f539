"""Which criterion is tested by what: put together from what experiments and checks declare, never told by hand."""

from typing import Literal, NamedTuple

from chaosreprise.checker import registry
from chaosreprise.criteria.experiments import Experiment, experiments
from chaosreprise.criteria.lists import Criterion, criteria

Status = Literal["tested here", "testable on the real platform", "not yet", "not testable", "undeclared"]


class Covered(NamedTuple):
    """A criterion, the experiments that test it, and the checks that prove it, also where no experiment asks them yet."""

    criterion: Criterion
    experiments: list[Experiment]
    checks: list[str]

    @property
    def status(self) -> Status:
        stated = self.criterion
        if self.experiments or stated.tests:
            return "tested here"
        if stated.elsewhere:
            return "testable on the real platform"
        if stated.not_yet:
            return "not yet"
        return "not testable" if stated.cannot else "undeclared"

    @property
    def says(self) -> str:
        """The status in words, with the reason for it or what it lacks."""
        stated = self.criterion
        match self.status:
            case "tested here":
                return f"tested here in part; missing: {stated.missing}" if stated.missing else "tested here"
            case "testable on the real platform":
                return f"testable on the real platform: {stated.elsewhere}"
            case "not yet":
                return f"not yet: {stated.not_yet}"
            case "not testable":
                return f"not testable because {stated.cannot}"
        return "undeclared: no experiment, no test, and no reason why"


def table() -> list[Covered]:
    """All criteria, in their order."""
    return [covered(name) for name in criteria()]


def covered(name: str) -> Covered:
    """One of them. Raises KeyError for an id that is none."""
    own = [experiment for experiment in experiments().values() if name in experiment.criteria]
    proving = [check.name for check in registry.checks().values() if name in check.criteria]
    return Covered(criteria()[name], own, proving)
