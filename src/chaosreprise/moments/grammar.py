"""What an experiment may say in `at`: a number of seconds, or one small object. Strict, and pure.

A command goes through *stages*, each with a source that shows it: what the load sent and read, what the platform says in
its rows, what a ledger shows. `before` makes a moment narrow: it comes only while a command is between two stages.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput
from chaosreprise.history.events import Op
from chaosreprise.settings import convert

PATIENCE_S = 30.0
Lifecycle = Literal["start", "stop", "hibernate", "wake"]
Acting = Literal["start", "stop", "hibernate", "wake", "step"]
Step = Literal["step"]
Stage = Literal[
    "submit",
    "answer",
    "accept",
    "pending",
    "sent",
    "completed",
    "failed",
    "delivered",
    "acked",
    "reported",
    "b",
    "effect",
]
Later = Literal[
    "answer", "accept", "pending", "sent", "completed", "failed", "delivered", "acked", "reported", "b", "effect"
]
PhaseName = Literal["method", "quiet", "drain", "clean"]
Nth = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Whose = Literal["victim", "any"]
Seconds = Annotated[
    float, Meta(ge=0, le=3600, description='seconds from 0 to 3600, or an object such as {"while": "wake"}')
]
Patience = Annotated[float, Meta(gt=0, le=3600, description="seconds from above 0 to 3600")]

ROWS = ("pending", "sent", "completed", "failed")
FRAMES = ("delivered", "acked", "reported")
OPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("submit", "answer", "accept"), get_args(Op)),
    **dict.fromkeys((*ROWS, *FRAMES), get_args(Lifecycle)),
    "b": get_args(Step),
    "effect": get_args(Acting),
}
"""By stage: the kinds of commands that go through it."""
PAST = {
    "submit": "was sent",
    "answer": "was answered",
    "accept": "was accepted",
    "pending": "was in its row",
    "sent": "was given to its agent",
    "completed": "was completed, by its row",
    "failed": "had failed, by its row",
    "delivered": "was delivered to its agent",
    "acked": "was acknowledged by its agent",
    "reported": "was reported as done by its agent",
    "b": "began",
    "effect": "took effect",
}
ORDINALS = {1: "st", 2: "nd", 3: "rd"}


class Event(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The `n`th command of a kind reaches a stage, counted from when the fault is armed.

    `of`: only commands that cross the fault's own component (`victim`), or `any`; a start counts wherever it goes, unless
    that is said.
    """

    submit: Op | None = None
    answer: Op | None = None
    accept: Op | None = None
    pending: Lifecycle | None = None
    sent: Lifecycle | None = None
    completed: Lifecycle | None = None
    failed: Lifecycle | None = None
    delivered: Lifecycle | None = None
    acked: Lifecycle | None = None
    reported: Lifecycle | None = None
    b: Step | None = None
    effect: Acting | None = None
    n: Nth = 1
    of: Whose | None = None

    @property
    def stage(self) -> Stage:
        return next(stage for stage in get_args(Stage) if getattr(self, stage) is not None)

    @property
    def op(self) -> Op:
        op: Op = getattr(self, self.stage)
        return op

    @property
    def whose(self) -> Whose:
        return self.of or ("any" if self.op == "start" else "victim")


class Moment(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of `after`, `while`, `agent`, `phase`; or `all`, also beside one of the first two. It must come `within_s` seconds."""

    after: Event | None = None
    before: Later | None = None
    all: Annotated[list[Event], Meta(max_length=20, description="a list of at most 20 events")] = []
    while_: Op | None = msgspec.field(default=None, name="while")
    agent: Annotated[str, Meta(min_length=1, max_length=100, description="a state such as offline")] | None = None
    phase: PhaseName | None = None
    n: Nth = 1
    of: Whose | None = None
    within_s: Patience = PATIENCE_S

    @property
    def whose(self) -> Whose:
        return self.of or "victim"

    @property
    def focus(self) -> Event | None:
        """What its narrow part begins with."""
        return self.after if self.while_ is None else Event(submit=self.while_, n=self.n, of=self.of)

    @property
    def until(self) -> Later | None:
        """The stage that the command in its focus must not have reached."""
        if self.while_ is not None:
            return "answer" if self.while_ == "read" else "effect"
        return self.before

    def events(self) -> list[tuple[Event, Later | None]]:
        """The stages of commands that it is made of, each with the one that the command must not have reached."""
        focus = [] if self.focus is None else [(self.focus, self.until)]
        return [*((event, None) for event in self.all), *focus]


At = float | Moment
KINDS = ("after", "all", "while", "agent", "phase")


class _Seconds(msgspec.Struct):
    at: Seconds


class _Stated(msgspec.Struct):
    at: Moment


def read(source: str, raw: object) -> At | None:
    """`at` as it was stated; None for none. Raises BadInput with `source`, what is wrong and what to do."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        return convert(source, {"at": raw}, _Seconds).at
    at = convert(source, {"at": raw}, _Stated).at
    for wrong in _wrong(at):
        raise BadInput(f"{source}: {wrong}")
    return at


def plain(at: At) -> Any:
    """As an experiment states it."""
    return msgspec.to_builtins(at)


def patience_s(at: At | None) -> float:
    """The longest time that is waited for it."""
    return at.within_s if isinstance(at, Moment) else at or 0.0


def words(at: At) -> str:
    """For people: it goes on after "would crash agents/a1" and "it struck"."""
    if not isinstance(at, Moment):
        return f"after {at:g} s"
    if at.phase is not None:
        return f"in the phase {at.phase}"
    if at.agent is not None:
        return f"when {'an' if at.whose == 'any' else 'its'} agent is shown {at.agent}"
    before = f", before it {PAST[at.before]}" if at.before else ""
    happened = [f"{_command(event)} {PAST[event.stage]}" for event in (*at.all, at.after) if event is not None]
    parts = [f"after {' and '.join(happened)}{before}"] if happened else []
    return ", ".join([*parts, f"while {_command(at.focus)} is under way"] if at.while_ and at.focus else parts)


def _command(event: Event) -> str:
    whose = " (anybody's)" if event.of == "any" else " on it" if event.of == "victim" and event.op == "start" else ""
    if event.n == 1:
        return f"a {event.op}{whose}"
    suffix = "th" if event.n % 100 in (11, 12, 13) else ORDINALS.get(event.n % 10, "th")
    return f"the {event.n}{suffix} {event.op}{whose}"


def _wrong(at: Moment) -> Iterable[str]:
    """What the types can't say."""
    said = [name for name in KINDS if getattr(at, "while_" if name == "while" else name) not in (None, [])]
    if len(said) != 1 and sorted(said) not in (["after", "all"], ["all", "while"]):
        named = " and ".join(said) if said else "nothing"
        yield f"at: it names {named}: name one of {', '.join(KINDS)}"
        return
    yield from _wrong_event("at.after", at.after) if at.after is not None else ()
    for number, event in enumerate(at.all):
        yield from _wrong_event(f"at.all[{number}]", event)
    yield from _wrong_before(at)
    if (at.n != 1 or at.of is not None) and at.while_ is None and at.agent is None:
        yield "at: n and of belong to the event: put them beside its stage"
    if at.n != 1 and at.agent is not None:
        yield f"at.n = {at.n}: an agent is shown so or not: leave n out"


def _wrong_event(where: str, event: Event) -> Iterable[str]:
    stages = [stage for stage in get_args(Stage) if getattr(event, stage) is not None]
    if len(stages) != 1:
        named = " and ".join(stages) if stages else "no stage"
        yield f'{where}: it names {named}: name one, such as {{"accept": "wake"}} ({", ".join(get_args(Stage))})'


def _wrong_before(at: Moment) -> Iterable[str]:
    if at.before is None:
        return
    if at.after is None:
        yield f'at.before = "{at.before}": it goes with after, which says of which command'
    elif at.before == at.after.stage:
        yield f'at.before = "{at.before}": the command has come that far already: name a later stage'
    elif at.after.op not in OPS[at.before]:
        yield f'at.before = "{at.before}": a {at.after.op} has no such stage: name one of {", ".join(_stages(at.after.op))}'


def _stages(op: str) -> list[str]:
    return [stage for stage in get_args(Later) if op in OPS[stage]]
