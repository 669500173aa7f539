"""What an experiment states in its control's `arguments`: the contract of the run.

Checked twice, since Chaos Toolkit shows them raw to `validate_control` and substituted to `before_experiment_control`:
names and literals at validation, where a `${variable}` may still stand for anything; everything again when the run opens.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chaosreprise import checker, criteria
from chaosreprise.errors import BadInput, shown
from chaosreprise.platform import kinds
from chaosreprise.platform.file import Lab, Registry
from chaosreprise.platform.values import (
    Agents,
    ControlPlanes,
    Mebibytes,
    Name,
    NumberOfPlatforms,
    NumberOfRegions,
    Users,
)
from chaosreprise.run import stated
from chaosreprise.run.stated import StatedObjective, StatedSituation
from chaosreprise.settings import convert
from chaosreprise.workload.plan import STEPS, WAITING, Workload

Number = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Seconds = Annotated[float, Meta(ge=0, le=3600, description="seconds from 0 to 3600")]


PODS = {"session_pods": "sessions", "agent_pods": "agents"}  # a need -> the components that must be pods


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """`baseline_s`: how long steps and reads run before anything is broken."""

    baseline_s: Seconds = 3.0


class Needs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What the platform must have at least. The embedded one is made so if it can be of that kind, any other is refused."""

    kind: Name = "streamspace"
    agents: Agents = 1
    control_planes: ControlPlanes = 1
    regions: NumberOfRegions = 1
    clusters: NumberOfRegions = 1
    agent_platforms: NumberOfPlatforms = 1
    disk_mib: Mebibytes = 0
    users: Users = 1
    witness: bool = False
    registry: Registry | None = None
    session_pods: bool = False
    agent_pods: bool = False

    @property
    def pods(self) -> str:
        """What must be pods, by its name here; empty: nothing."""
        return next((name for name in PODS if getattr(self, name)), "")

    @property
    def embeddable(self) -> bool:
        """Whether such a platform is made where none is named."""
        return self.kind in kinds.BUILT_IN and not self.pods

    def by_group(self) -> dict[str, int]:
        """By groups of components, those that are not everywhere."""
        wanted = {"agents": self.agents, "control-plane": self.control_planes}
        return {group: number for group, number in wanted.items() if number > 1}

    def lab(self, lab: Lab) -> Lab:
        """The embedded platform, large enough. Raises BadInput when it can't be of that kind."""
        if not self.embeddable:
            what = f"{self.pods} = true" if self.pods else f"kind = {shown(self.kind)}"
            raise BadInput(
                f"{WHERE}: needs.{what}: the embedded platform can't be one: set REPRISE_PLATFORM to the file of one"
            )
        sizes = [name for name in self.__struct_fields__ if name not in ("kind", "registry", *PODS)]
        at_least = {name: max(getattr(lab, name), getattr(self, name)) for name in sizes}
        registry = self.registry or lab.registry
        return msgspec.structs.replace(lab, serves=self.kind, registry=registry, **at_least)


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """`known`: a file of violations that are known, beside the experiment. `criteria`: the ids of those that it tests."""

    name: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z", description="a name of small letters, digits and dashes")
    ]
    require: list[str]
    optional: list[str] = []
    exposure: dict[Literal[(*WAITING, *STEPS)], Number] = {}  # type: ignore[valid-type]
    workload: Workload = Workload()
    needs: Needs = Needs()
    objectives: list[StatedObjective] = []
    refusals: list[StatedSituation] = []
    limits: Limits = Limits()
    known: Annotated[str, Meta(max_length=4096, description="the path of a file such as known.toml")] = ""
    criteria: list[str] = []


FIELDS = Arguments.__struct_fields__
WHERE = "control arguments"
STATED_BY = {"objectives": "objectives", "situations": "refusals"}  # lists of the contract -> what states them here


def read(raw: Any, known_checks: list[str]) -> Arguments:
    """Typed arguments. Raises BadInput with the argument, its value and what was expected."""
    arguments = _read(raw, known_checks)
    for name in arguments.require:
        field = STATED_BY.get(checker.asks(name) or "")
        if field is not None and not getattr(arguments, field):
            raise BadInput(
                f"{WHERE}: the required check {shown(name)} judges what `{field}` states: state something there"
            )
    return arguments


def _read(raw: Any, known_checks: list[str]) -> Arguments:
    arguments = convert(WHERE, raw, Arguments)
    for name in (*arguments.require, *arguments.optional):
        if name not in known_checks:
            raise BadInput(f"{WHERE}: {shown(name)} is not a check: known are {', '.join(known_checks)}")
    if not arguments.require:
        raise BadInput(f"{WHERE}: require = []: name the checks that this experiment must show")
    for name in arguments.criteria:
        if name not in criteria.ids():
            raise BadInput(f"{WHERE}: criteria: {shown(name)} is no criterion: `chaos reprise criteria` lists them")
    kinds.check(f"{WHERE}: needs.kind", arguments.needs.kind)
    stated.check(WHERE, arguments.objectives, arguments.refusals)
    return arguments


def read_raw(raw: Any, known_checks: list[str]) -> None:
    """The same for arguments in which `${variables}` still stand: each is taken for a value that fits."""
    fixed = _without_variables(raw)
    if isinstance(raw, dict):
        for key, value in (("name", "unnamed"), ("require", known_checks)):
            if key in raw and not fixed.get(key) and fixed.get(key) != raw[key]:
                fixed[key] = value
        for key in STATED_BY.values():
            if isinstance(raw.get(key), list):
                fixed[key] = [entry for entry in raw[key] if entry == _without_variables(entry)]
    _read(fixed, known_checks)


def platform(configuration: dict[str, Any]) -> str:
    """Which platform the experiment's configuration names. Raises BadInput when that is no text."""
    named = configuration.get("platform")
    if named is not None and not isinstance(named, str):
        raise BadInput(f"configuration.platform = {shown(named)}: expected `embedded` or the path of a platform file")
    return named or "embedded"


def _without_variables(raw: Any) -> Any:
    """Drop what is `${...}`: the default takes its place."""
    if isinstance(raw, dict):
        return {key: _without_variables(value) for key, value in raw.items() if not _is_variable(value)}
    if isinstance(raw, list):
        return [_without_variables(value) for value in raw if not _is_variable(value)]
    return raw


def has_variable(value: object) -> bool:
    """Whether a variable stands anywhere in it."""
    if isinstance(value, dict):
        return any(map(has_variable, value.values()))
    return any(map(has_variable, value)) if isinstance(value, list) else _is_variable(value)


def _is_variable(value: object) -> bool:
    """Whether Chaos Toolkit would put something else there: it takes `$name` as well, and anywhere in a text."""
    return isinstance(value, str) and re.search(r"\$(\{[_a-z][_a-z0-9]*\}|[_a-z])", value, re.IGNORECASE) is not None
