"""What an adapter is: the one place that knows how one kind of platform is spoken to.

An adapter never retries, never raises for what the platform did, and says of each effect how it can be known. Time comes
from a Clock only, so that a simulated platform can speak this protocol in virtual time.
"""

from typing import Any, Protocol

import msgspec

from chaosreprise.history import Answer
from chaosreprise.history.events import Attribution, Op, Place, Refusal
from chaosreprise.history.statements import Claim, Edge
from chaosreprise.observe import Source
from chaosreprise.platform.file import Platform
from chaosreprise.platform.kinds import module_of as module_of  # noqa: PLC0414 - children import it while the platform starts

SECONDS = 1_000_000_000
UNCONNECTED = "unconnected"  # the rule of a call that reached nobody: it surely did nothing


class Operation(msgspec.Struct, frozen=True):
    """One attempt of one operation. `key` is ours: unique in the run, and carried by its effect where the platform lets it.

    `seconds`: of a step, how long its payload takes. `noisy`: it writes past its interpreter's `print`, too. `known`: of a step,
    how many bytes an earlier one had left in its ledger. `at_once`: of a start, also where the adapter spaces them. `asks`: of a
    start, where it wants its session. `persistent`: of a start, whether its files are to outlive a hibernation.
    """

    cmd: str
    op: Op
    key: str
    session: str | None = None
    user: str | None = None
    seconds: float = 0.0
    noisy: bool = False
    known: int = 0
    at_once: bool = False
    asks: dict[Place, str] = {}
    persistent: bool = True


class Description(msgspec.Struct, kw_only=True):
    """Pure data for the contract event and for the plan."""

    attribution: list[Attribution]
    refusals: list[Refusal]
    promises: dict[str, Any]
    bounds: dict[str, int]
    offline_ns: int
    sources: list[str]
    states: list[Edge] = []
    claims: list[Claim] = []
    links: list[str] = []
    ways: dict[
        str, list[str]
    ] = {}  # by operation, the components that it crosses but for its agent and session; empty: all alike
    hibernates: bool = True  # and so its sessions can be read
    steps: bool = True  # code can be run in its sessions; where not, they are read instead
    spaces_starts: bool = False  # the adapter keeps creates apart, unless they are asked for at once
    vague: list[Op] = []  # what the platform may refuse in words that prove nothing
    quota: int = 0  # how many sessions a user may have at a time; 0: not known
    records: list[Op] = []  # the kinds of commands of which the platform surely keeps rows
    effects: str = "slots"  # the ledger of the evidence without which effects are not known
    processes: str = ""  # the ledger that says which process began or ended, where it is another one
    signs: list[str] = []  # the evidence in which the sessions' own processes say that they live
    homes: str = ""  # the ledger of what keeps the files of sessions
    read_along: list[str] = []  # agents on whose links it is seen what they and the control plane say to each other


class Broken(msgspec.Struct, frozen=True):
    """A held connection broke at some moment from its last sign of life to when that was noticed."""

    lo: int
    hi: int
    why: str


class Component(msgspec.Struct, kw_only=True):
    """A part of the platform that can be broken: its incarnation, or why there is no handle on it."""

    name: str
    group: str
    inc: list[Any] | None = None
    state: str = "up"
    reason: str | None = None


class Held(Protocol):
    """A connection that is held to a session. `path` are the components that it crosses."""

    path: list[str]

    async def broken(self) -> Broken:
        """Waits until it breaks by itself."""
        ...

    async def close(self) -> None: ...


class Adapter(Protocol):
    def describe(self) -> Description: ...

    async def open(self) -> None:
        """Log in. Raises Unreachable or BadInput: nothing of a run can begin without it."""
        ...

    async def close(self) -> None: ...

    async def perform(self, operation: Operation) -> Answer:
        """One attempt. Whatever the platform does is an answer: ok, fail (it surely did not happen) or info.

        A read without a session asks for the list of all that this user may see.
        """
        ...

    async def hold(self, session: str) -> Held | None:
        """A connection that stays open to this session until it breaks or is closed; None where there is no such thing."""
        ...

    def keys(self, count: int) -> list[str]:
        """`count` keys for starts, unique on this platform as far as this run can know."""
        ...

    def sources(self) -> list[Source]: ...

    def frames(self) -> list[Source]:
        """What reads along on the links to agents; none where nobody can."""
        ...

    def components(self) -> list[Component]: ...

    def identity(self) -> dict[str, str]:
        """What can be found out of which platform this is, by the names of [identity]. Raises Unreachable."""
        ...

    async def foreign(self, component: str) -> int:
        """The sessions that this run did not make, have not ended and may be on this component: whom breaking it may hit.

        Raises Unreachable or NotPossible when they can't be counted in full.
        """
        ...

    async def tidy(self) -> list[str]:
        """Stop every session of this run that is still there; their names. One event loop: opens and closes by itself."""
        ...


def make(platform: Platform, run: str) -> Adapter:
    """The adapter for a platform file. Raises BadInput when that of its kind can't be had, or not with these settings."""
    adapter: Adapter = module_of(platform.file.kind).adapter(platform, run)
    return adapter
