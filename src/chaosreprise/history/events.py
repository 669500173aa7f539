"""The events of a history, one struct each; the tag `type` names it in the JSON line.

All times are integer nanoseconds of CLOCK_MONOTONIC of the segment's boot. An event happened at some moment of
`[lo, hi]`: 0 wide for the recorder's own stamps, [last seen absent, first seen] for what is polled.
An incarnation (`inc`) is [boot id, pid namespace, pid, start time] or [pod uid, container id].
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from chaosreprise.history import statements
from chaosreprise.history.statements import Claim, Edge, Known, Objective, Situation

Time = Annotated[int, Meta(ge=0, lt=2**62, description="nanoseconds, from 0 to below 2**62")]
Op = statements.Op
Outcome = Literal["ok", "fail", "info"]
Mark = Literal["b", "e", "made", "up", "down", "gone", "crash", "back"]
State = Literal["planned", "armed", "injected", "proven", "undoing", "undone", "clean", "moot", "leaked"]
Place = statements.Place
Resource = statements.Resource
Level = Literal["keyed", "counted", "state", "none"]

VERSION = 1
STORE, STORE_LINK = "database", "links/database"
AWAY = ("take_away", "pause", "refuse", "hang")
"""The verbs of faults that leave nothing there, or nothing that answers, until they are undone."""
INTERRUPTED = "interrupted"  # signal of `owner`: what broke the run off
MOMENT = "moment"
"""Signal of `owner`: what a batch of commands waits for; {batch, victims, moment}, the last an `Awaited`."""
LEFT = "left"  # signal of `owner`: what of the run stays on the platform, a list of sentences
UNMADE = "unmade"  # signal of `owner`: a fault that the method asked for could not be made; {kind, why}
STALLED = "stalled"  # signal of `load`: it stood still from `lo` to `hi`
HELD_UP = "held_up"  # of the load: a call was not sent, since too many of the platform\'s answers were still to come
HALT = "halt"  # signal of `warden`: somebody ended the run before its time; {by, why}
WAY = "forward/"  # begins what `coverage` is of where a port of this machine leads to pods
POD_ENDED = "a pod of it was ended"  # begins why such a way was not open: told to end, or gone, which a crash is not
LIFECYCLE: tuple[Op, ...] = ("start", "hibernate", "wake", "stop")


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all events."""


class Timed(Event):
    lo: Time
    hi: Time


class Segment(Event, tag="segment"):
    """First line of each segment. `mono` and `wall` (ns since the epoch) were read together: wall time is for people."""

    v: int
    writer: str
    run: str
    boot: str
    host: str
    pid: int
    mono: Time
    wall: Time


class Attribution(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the effects of one kind of command are known in one ledger.

    `mark` is the one that counts as "took effect". `repeat` tells whether acting twice could be seen there.
    """

    op: Op
    ledger: str
    level: Level
    mark: Mark
    repeat: bool = True


class Refusal(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One entry of the refusal table: an answer of this status (and body, a regular expression) proves that nothing was done.

    `absent`: it says that the session does not exist.
    """

    id: str
    status: int
    body: str = ""
    ops: list[Op] = []
    absent: bool = False


class Contract(Event, tag="contract"):
    """What this run must show, from the experiment, and what the platform promises, from the adapter and its file.

    `quota`: how many sessions of one user may be active at a time; 0: not known. `records`: the kinds of commands of which the
    platform surely keeps rows. `processes`: the ledger in which processes begin and end, where it is not that of the effects.
    `signs`: the ledgers in which the processes of sessions say themselves that they live. `homes`: the ledger of what keeps their files.
    """

    sha: str
    seed: int
    require: list[str]
    optional: list[str]
    exposure: dict[str, int]
    objectives: list[Objective]
    settle_ns: Time
    promises: dict[str, Any]
    claims: list[Claim]
    refusals: list[Refusal]
    attribution: list[Attribution]
    bounds: dict[str, Time]
    offline_ns: Time
    known: list[Known]
    experiment: str = ""
    platform: str = ""
    observe: bool = False
    situations: list[Situation] = []
    states: list[Edge] = []
    quota: int = 0
    records: list[Op] = []
    processes: str = ""
    signs: list[str] = []
    homes: str = ""


class Phase(Timed, tag="phase"):
    """baseline, method, quiet, drain, clean, and close (what happens after the canaries are removed)."""

    name: str
    edge: Literal["begin", "end"]


class Submit(Timed, tag="submit"):
    """One attempt of one operation, written before its first byte leaves. `intended` is when the plan wanted it sent.

    `path` are the components that it crosses, for a lifecycle command also the agent that the session's row names. A read
    without a session asks for the list of those that `user` may see. `asks`: where a start wants its session. `persistent`:
    whether a start asked for files that outlive a hibernation. `resources`: how much a start asked for.
    """

    cmd: str
    op: Op
    intended: Time
    key: str
    session: str | None = None
    user: str | None = None
    path: list[str] = []
    asks: dict[Place, str] = {}
    persistent: bool = True
    resources: dict[Resource, int] = {}


class Answer(Timed, tag="answer"):
    """`lo` is when the first byte had left at the earliest, `hi` when the answer was read.

    `session` is the session that a start made, `id` the platform's own id of the command. `rule` is the entry of the
    refusal table behind a `fail`, or `unconnected`. `listed` are the sessions of a list that was whole. `retry_s`: how long the
    platform wants to be left alone, of a call beyond its limit of rates: no failure, but the budget of its user.
    """

    cmd: str
    outcome: Outcome
    rule: str | None = None
    status: int | None = None
    session: str | None = None
    id: str | None = None
    error: str | None = None
    result: str | None = None
    listed: list[str] | None = None
    retry_s: float | None = None


class Effect(Timed, tag="effect"):
    """A line of a ledger: something happened in the world.

    `limits`: how much the process that began may take; null where nothing limits it, absent where that was not seen. `homes`: the
    names of what keeps files that its pod was given.
    """

    ledger: str
    object: str
    mark: Mark
    inc: list[Any] | None = None
    key: str | None = None
    session: str | None = None
    gen: int | None = None
    limits: dict[Resource, int | None] = {}
    homes: list[str] = []


class Report(Timed, tag="report"):
    """What the platform says about itself. `id` is its own id of the command, session or agent.

    About a `frame`: what passed on a link that our own proxy reads along; `id` is that of the command in it.
    """

    source: str
    about: Literal["command", "session", "agent", "frame"]
    id: str
    state: str
    owner: str | None = None
    fields: dict[str, Any] = {}


class Observe(Timed, tag="observe"):
    """A sample of a signal. An absent signal is no event, and coverage off: never 0."""

    source: str
    signal: str
    value: Any


class Coverage(Timed, tag="coverage"):
    """`of` (a ledger, `ledger/object` for one object of it, or a source) is really watched from or until here, or a way (`forward/NAME`) open."""

    of: str
    on: bool
    why: str


class Awaited(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A moment that is waited for: `at` as the experiment states it, `say` in words.

    `came`: when the last thing that was missing had happened at the latest; `cmds`: the commands that it is about. `why`:
    why it did not come.
    """

    at: Any
    say: str
    came: Time | None = None
    cmds: list[str] = []
    why: str | None = None


class Fault(Timed, tag="fault"):
    """A state that a fault reached. `lease_end` is CLOCK_BOOTTIME; `by` says who undid it (run, owner, warden, keeper, lease, guard, stop, heal; rollback: of
    a restart that was stuck), or who had ended it before (server, database, somebody else).

    `moment`: what it waited for between `armed` and `injected`.
    """

    fault: str
    kind: str
    component: str
    state: State
    inc: list[Any] | None = None
    by: str | None = None
    lease_end: int | None = None
    proof: dict[str, Any] | None = None
    moment: Awaited | None = None


class Stream(Timed, tag="stream"):
    """A connection that is held open to a session: `open`, then `closed` by us, or `broke`: last seen alive, first seen broken.

    `refused`: it was asked for again and again until then, and did not open. `path` are the components that it crosses, as in a
    submission. `cmd`: the start or the wake after which it was asked for, as soon as its session ran.
    """

    stream: str
    state: Literal["open", "closed", "broke", "refused"]
    session: str | None = None
    path: list[str] = []
    why: str | None = None
    cmd: str | None = None


class Sign(Timed, tag="sign"):
    """A process of a session said that it lives: made at some moment of [lo, hi].

    `number` counts the reports of this process and is kept in its memory alone; `kept`: how many processes had left their line
    in the session's home when it began, itself included, where a home is kept; `found`: of the first sign, the names in those before
    its own, at most the last ones, empty where none can be read; `away_ns`: the longest pause between two of its
    reports since the sign before, by its own clock; `ending`: it had been asked to end.
    """

    ledger: str
    session: str
    inc: list[Any]
    number: int
    kept: int | None = None
    found: list[str] | None = None
    away_ns: Time = 0
    ending: bool = False


AnyEvent = Segment | Contract | Phase | Submit | Answer | Effect | Report | Observe | Coverage | Fault | Stream | Sign
