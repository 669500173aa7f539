"""What is said on the keeper's socket: one struct a request, one answer, strict on both ends.

JSON lines; an answer carries its request's id. The keeper and both clients import this module: the wire has one home.
"""

from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from chaosreprise.procs import Incarnation
from chaosreprise.stack.mends import AnyMend

Code = Literal["conflict", "gone", "bad-request", "not-allowed", "not-possible"]
ComponentState = Literal["starting", "up", "held", "backoff"]
HoldEnd = Literal["release", "lease", "owners"]
SlotState = Literal["up", "down", "gone"]
MAX_LINE = 1 << 20
KEEPER_FILE = "keeper.json"


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all requests. `id` comes back in the answer."""

    id: int


class Status(Request, tag="status"):
    """Everything that the keeper keeps."""


class Hold(Request, tag="hold"):
    """A fault is on this component (`sessions/<slot>` for a slot) from now on, if `inc` is what runs there.

    On a link: if `inc` is what runs of any component, such as the proxy that carries the link.

    `down`: no restart meanwhile. `env`: what is started meanwhile has that in its environment, and is killed when the hold ends;
    the files `left` by it, `{pid}` for its process, are removed once it is ready, and when it has ended. `mends` are done by the
    keeper when the hold ends. `lease_end` is CLOCK_BOOTTIME in ns.
    """

    component: str
    inc: Incarnation
    fault: str
    owners: list[Incarnation]
    lease_end: int
    down: bool = True
    env: dict[str, str] = {}
    left: list[str] = []
    mends: list[AnyMend] = []


class How(TypedDict):
    """The rest of a hold, for the clients."""

    owners: list[Incarnation]
    lease_end: int
    down: NotRequired[bool]
    env: NotRequired[dict[str, str]]
    left: NotRequired[list[str]]
    mends: NotRequired[list[AnyMend]]


class Release(Request, tag="release"):
    """End the hold of this fault: its mends are done, and what was kept down starts. Nothing for any other fault."""

    component: str
    fault: str


class Get(Request, tag="get"):
    """One slot."""

    slot: str


ANEW = "@"  # before the generation in the name of a slot's later workspace; the earlier ones stay as they were


class Change(Request):
    """Base of what changes a slot: compare-and-set on `gen` (0: never made)."""

    slot: str
    gen: int
    note: Any = None


class Make(Change, tag="make"):
    """Make the slot and start an interpreter. `limits`: how much each of its processes may take; the keeper sets
    that of `memory`, in bytes (RLIMIT_DATA). A share of a processor takes a control group, and so rights that few have.
    """

    spec: Any = None
    limits: dict[str, int] = {}


class Up(Change, tag="up"):
    """Start an interpreter, also beside one that runs; `anew`: in a new and empty workspace, which is the slot's from then on."""

    anew: bool = False


class Down(Change, tag="down"):
    """End all interpreters; the workspace stays."""


class Gone(Change, tag="gone"):
    """End all interpreters and forget the slot's token; the workspace stays."""


class End(Request, tag="end"):
    """End the stack."""


AnyRequest = Status | Hold | Release | Get | Make | Up | Down | Gone | End


class LastHold(msgspec.Struct):
    """The hold that ended last, and by what."""

    fault: str
    by: HoldEnd


class Component(msgspec.Struct, kw_only=True):
    """A component as it is now. `inc` is null while no process runs; `state` is `held` only then, too. `homes`: see its spec,
    `spares_orphans`: see the stack's.
    """

    name: str
    state: ComponentState
    inc: Incarnation | None
    held_by: str | None
    restarts: int
    listen: int | None
    last_hold: LastHold | None = None
    homes: list[int] = []
    spares_orphans: bool = False


class Process(msgspec.Struct, omit_defaults=True):
    """One running interpreter of a slot. `host`: where that is not this machine's keeper, but a pod."""

    inc: Incarnation
    port: int
    host: str = "127.0.0.1"


class Slot(msgspec.Struct, kw_only=True):
    """A slot as it is now. An interpreter that crashed is absent from `processes` until it is back, on its port."""

    slot: str
    gen: int
    state: SlotState
    note: Any
    spec: Any
    token: str
    processes: list[Process]
    workspace: str
    held_by: str | None = None
    last_hold: LastHold | None = None


class Link(msgspec.Struct, kw_only=True):
    """A link as it is now: a name that a fault may hold."""

    name: str
    held_by: str | None = None
    last_hold: LastHold | None = None


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The one shape of all answers; which fields are set follows from the request."""

    ok: bool
    id: int | None = None
    code: Code | None = None
    say: str | None = None
    slot: Slot | None = None
    component: Component | None = None
    link: Link | None = None
    stack: str | None = None
    ready: bool = False
    components: list[Component] = []
    slots: list[Slot] = []
    links: list[Link] = []

    @property
    def last_hold(self) -> LastHold | None:
        """The hold that ended last on the component, slot or link that the answer tells of."""
        held = self.component or self.slot or self.link
        return None if held is None else held.last_hold


class KeeperFile(msgspec.Struct):
    """DIR/keeper.json, replaced atomically. `socket` is abstract: `@name` stands for a leading NUL."""

    pid: int
    inc: Incarnation
    socket: str
    ready: bool
