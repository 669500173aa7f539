"""What an experiment's method would break: found by walking it, so that the plan is known before anything is touched.

An action of ours whose function has the name of a fault is that fault: `chaosreprise.actions.agents`, `crash` is
`agents.crash`. The parameters that `_Given` has mean the same in all of them.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.faults import registry
from chaosreprise.moments import At, Event, Moment, needed, read
from chaosreprise.moments.needs import unreachable
from chaosreprise.run.contract import has_variable
from chaosreprise.settings import convert
from chaosreprise.workload.plan import OPEN_LOOP

ALL = "all"
SEND = "commands.send"
SESSIONS = "sessions"
SPARE = 2  # more than are counted, where the moment is narrow: those behind wait longer on their way
UNDOES = ("bring_back", "resume", "relieve", "restore")
BURST = ("wake", "hibernate", "stop")  # what is sent for a fault with commands in flight
LINKS = "links"
HOLD_S = 60.0
Count = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | Literal["all"], Meta(description='a whole number from 1 to 1000, or "all"')
]
Share = Annotated[float, Meta(gt=0, le=1, description="a share from above 0 to 1")]
Seconds = Annotated[float, Meta(gt=0, le=86400, description="seconds from above 0 to 86400")]


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """One fault that the method asks for: `count` components of its group, by default one, drawn by the seed.

    With a `region` the agents of that one are meant, by default all. For sessions `which` names the agent whose sessions are
    meant. `link` is a link, or `agents` for those to the agents that are meant. `in_flight`: commands are sent just before, of
    this `share` of the reserve. `one_by_one`: each is whole before the next one is hit. `at`: the moment at which it strikes.
    `beside`: which faults of the method, by number, surely are on when it begins.
    """

    kind: str
    which: str = ""
    region: str = ""
    link: str = ""
    count: int | str = 1
    hold_s: float = HOLD_S
    in_flight: bool = False
    share: float = 1.0
    one_by_one: bool = False
    args: dict[str, Any] = {}
    at: At | None = None
    beside: tuple[int, ...] = ()

    @property
    def group(self) -> str:
        return self.kind.partition(".")[0]

    def waits_for(self, exposure: dict[str, int]) -> At | None:
        """The moment at which it strikes: the stated one, and not before as many commands are sent as are to be in flight.

        Of steps as many have begun: they are quick until they run, and what was stopped before that was not tried.
        """
        if not self.in_flight:
            return self.at
        sent = [
            Event(b="step", n=n, of="any") if kind == "step" else Event(submit=kind, n=n, of="any")  # type: ignore[arg-type]
            for kind, n in exposure.items()
        ]
        return (
            msgspec.structs.replace(self.at, all=[*self.at.all, *sent])
            if isinstance(self.at, Moment)
            else Moment(all=sent)
        )

    def prompts(self, agents: int) -> dict[str, int]:
        """The commands that its moment needs and that nobody else would send: how many of each kind, of all but starts for each victim."""
        besides = () if self.group == SESSIONS else OPEN_LOOP
        return _prompts(
            self.at, agents, (*BURST, *besides) if self.in_flight else besides, 0 if self.group == SESSIONS else SPARE
        )


class Batch(msgspec.Struct, kw_only=True, frozen=True):
    """Commands that the method sends at a moment."""

    at: At
    seconds: float
    share: float = 1.0

    def prompts(self, agents: int) -> dict[str, int]:
        return _prompts(self.at, agents, OPEN_LOOP, SPARE)


class _Given(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What all fault actions take; the rest is the fault's own."""

    agent: str = ""
    which: str = ""
    region: str = ""
    link: str = ""
    count: Count | None = None
    hold_s: Seconds = HOLD_S
    in_flight: bool = False
    share: Share = 1.0
    one_by_one: bool = False
    at: Any = None


class _Step(msgspec.Struct, kw_only=True):
    """What the other actions take that would be found out too late: with the fault on."""

    seconds: Annotated[float, Meta(ge=0, le=86400, description="seconds from 0 to 86400")] = 0.0
    share: Share = 1.0


def wanted(kind: str, given: dict[str, Any]) -> Wanted:
    """The arguments of an action, checked. Raises BadInput with the argument, its value and what was expected."""
    shared = {name: value for name, value in given.items() if name in _Given.__struct_fields__}
    own = {name: value for name, value in given.items() if name not in shared}
    found = convert(kind, shared, _Given)
    _check_link(kind, found.link)
    at = read(kind, found.at)
    if found.in_flight and at is not None and not needed(at):
        raise BadInput(
            f"{kind}: at = {shown(found.at)}: in_flight strikes among commands: wait for one, or leave in_flight out"
        )
    if why := unreachable(at, f"links/{found.link}" if found.link else kind.partition(".")[0]):
        raise BadInput(f"{kind}: at = {shown(found.at)}: {why}")
    arguments = registry.get(kind).arguments
    if own and not arguments.__struct_fields__:
        raise BadInput(f"{kind}: {', '.join(own)}: this fault takes no arguments of its own: leave them out")
    filled: dict[str, Any] = msgspec.to_builtins(convert(kind, own, arguments))
    return Wanted(
        kind=kind,
        which=found.agent or found.which,
        region=found.region,
        link=found.link,
        count=found.count or (ALL if found.region else 1),
        hold_s=found.hold_s,
        in_flight=found.in_flight,
        share=found.share,
        one_by_one=_in_turn(kind, found),
        args=filled,
        at=at,
    )


def batch(given: dict[str, Any]) -> Batch | None:
    """The arguments of `commands.send`, checked; None for one that is sent at once."""
    step = _step(SEND, given)
    at = read(SEND, given.get("at"))
    return None if at is None else Batch(at=at, seconds=step.seconds, share=step.share)


def _step(action: str, given: dict[str, Any]) -> _Step:
    return convert(action, {name: given[name] for name in _Step.__struct_fields__ if name in given}, _Step)


def _in_turn(kind: str, given: _Given) -> bool:
    if given.one_by_one and not registry.get(kind).momentary:
        raise BadInput(
            f"{kind}: one_by_one = true: it does not end by itself, so the next one would wait: leave it out"
        )
    if given.one_by_one and given.at is not None:
        raise BadInput(
            f"{kind}: one_by_one = true: its moment (at) would come for the first one only: leave one of them out"
        )
    return given.one_by_one


def _check_link(kind: str, link: str) -> None:
    if (kind.partition(".")[0] == LINKS) != bool(link):
        expected = "name a link, such as database or agents" if not link else "this fault takes no link: leave it out"
        raise BadInput(f"{kind}: link = {shown(link)}: {expected}")


def faults_of(method: Any) -> list[Wanted]:
    """All faults of a method (a list of activities, its variables substituted), in its order.

    One that is held is on until anything of its group is undone; what goes on in the background may be over, or not have begun.
    """
    found: list[Wanted] = []
    on: list[int] = []
    for activity, action, given in _activities(method):
        group, _, verb = action.partition(".")
        if registry.is_fault(action):
            fault, here = wanted(action, given), not activity.get("background")
            found.append(msgspec.structs.replace(fault, beside=tuple(on) if here else ()))
            on += [len(found) - 1] if here and not registry.get(action).momentary else []
        elif verb in UNDOES:
            on = [number for number in on if found[number].group != group]
        elif action != SEND:
            _step(action, given)
        else:
            batch(given)
    return found


def batches_of(method: Any) -> list[Batch]:
    """All batches of commands of a method that wait for their moment."""
    found = [batch(given) for action, given in _actions(method) if action == SEND]
    return [one for one in found if one is not None]


def check_raw(method: Any) -> None:
    """Raises BadInput for what is wrong whatever its variables stand for: an argument with a `${variable}` is left out, and a fault that needs it."""
    for action, given in _actions(method):
        fixed = {name: value for name, value in given.items() if not has_variable(value)}
        if registry.is_fault(action):
            fields = msgspec.structs.fields(registry.get(action).arguments)
            if not any(field.required and field.name in given.keys() - fixed.keys() for field in fields):
                wanted(action, fixed)
        elif action == SEND:
            batch(fixed)


def _prompts(at: At | None, agents: int, besides: Collection[str], spare: int) -> dict[str, int]:
    """What must be sent: a start may go to any of the agents, where only those of one count."""
    found: dict[str, int] = {}
    for event, until in at.events() if isinstance(at, Moment) else []:
        if event.op not in besides:
            times = agents if event.op == "start" and event.whose == "victim" else 1
            narrow = 0 if until is None else spare
            found[event.op] = max(found.get(event.op, 0), (event.n + narrow) * times)
    return found


def _actions(method: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The actions of ours, by name, with their arguments."""
    return ((action, given) for _, action, given in _activities(method))


def _activities(method: Any) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    for activity in method if isinstance(method, list) else []:
        provider = activity.get("provider") if isinstance(activity, dict) else None
        action = registry.action(provider)
        if provider is None or action is None:
            continue
        given = provider.get("arguments") or {}
        if not isinstance(given, dict):
            raise BadInput(f"{action}: arguments = {shown(given)}: expected an object of names and values")
        yield activity, action, given
