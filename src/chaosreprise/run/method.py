"""What an experiment's method would break: found by walking it, so that the plan is known before anything is touched.

An action of ours whose function has the name of a fault is that fault: `chaosreprise.actions.agents`, `crash` is
`agents.crash`. Its parameters `count` and `hold_s` and the component's name mean the same in all of them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.faults import registry
from chaosreprise.settings import convert

PREFIX = "chaosreprise.actions."
ALL = "all"
HOLD_S = 60.0
Count = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | Literal["all"], Meta(description='a whole number from 1 to 1000, or "all"')
]
Seconds = Annotated[float, Meta(gt=0, le=86400, description="seconds from above 0 to 86400")]


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """One fault that the method asks for: `count` components of its group, by default one, drawn by the seed.

    For sessions `which` names the agent whose sessions are meant. `in_flight`: commands are sent just before.
    """

    kind: str
    which: str = ""
    count: int | str = 1
    hold_s: float = HOLD_S
    in_flight: bool = False
    args: dict[str, Any] = {}

    @property
    def group(self) -> str:
        return self.kind.partition(".")[0]


class _Given(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What all fault actions take; the rest is the fault's own."""

    agent: str = ""
    count: Count = 1
    hold_s: Seconds = HOLD_S
    in_flight: bool = False


class _Step(msgspec.Struct, kw_only=True):
    """What the other actions take that would be found out too late: with the fault on."""

    seconds: Annotated[float, Meta(ge=0, le=86400, description="seconds from 0 to 86400")] = 0.0


def wanted(kind: str, given: dict[str, Any]) -> Wanted:
    """The arguments of an action, checked. Raises BadInput with the argument, its value and what was expected."""
    shared = {name: value for name, value in given.items() if name in _Given.__struct_fields__}
    own = {name: value for name, value in given.items() if name not in shared}
    found = convert(kind, shared, _Given)
    arguments = registry.get(kind).arguments
    if own and not arguments.__struct_fields__:
        raise BadInput(f"{kind}: {', '.join(own)}: this fault takes no arguments of its own: leave them out")
    filled: dict[str, Any] = msgspec.to_builtins(convert(kind, own, arguments))
    return Wanted(
        kind=kind,
        which=found.agent,
        count=found.count,
        hold_s=found.hold_s,
        in_flight=found.in_flight,
        args=filled,
    )


def faults_of(method: Any) -> list[Wanted]:
    """All faults of a method (a list of activities, its variables substituted), in its order."""
    found = []
    for activity in method if isinstance(method, list) else []:
        provider = activity.get("provider") if isinstance(activity, dict) else None
        if not isinstance(provider, dict) or not str(provider.get("module")).startswith(PREFIX):
            continue
        action = f"{provider['module'].removeprefix(PREFIX).replace('_', '-')}.{provider.get('func')}"
        given = provider.get("arguments") or {}
        if not isinstance(given, dict):
            raise BadInput(f"{action}: arguments = {shown(given)}: expected an object of names and values")
        if provider.get("func") in registry.verbs():
            found.append(wanted(action, given))
        else:
            convert(action, {name: value for name, value in given.items() if name == "seconds"}, _Step)
    return found
