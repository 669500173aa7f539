"""What a contract may state beyond names and numbers, one struct each: what must hold, what is legal, what is known.

The descriptions are for whoever writes an experiment: `settings` words its errors with them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Op = Literal["start", "stop", "hibernate", "wake", "step", "read"]
Place = Literal["cluster", "region", "platform"]
"""What a start may ask for of its agent: it must get the cluster and the platform, and gets the region if that can be."""
WISH: Place = "region"
Resource = Literal["memory", "cpu"]
"""What a start asks for, and what its session's processes may take at most: bytes, and thousandths of a processor."""
Text = Annotated[str, Meta(min_length=1, max_length=200, description="a text of 1 to 200 characters")]
Limit = Annotated[float, Meta(description="a number")]
Quantile = Annotated[float, Meta(gt=0, le=1, description="a share from above 0 to 1, such as 0.99")]
Within = Annotated[float, Meta(gt=0, le=3600, description="seconds from above 0 to 3600")]
Status = Annotated[int, Meta(ge=0, le=599, description="an HTTP status, or 0 for no answer")]
When = Literal[
    "no-agent-online", "no-agent-fits", "agent-broken", "session-broken", "control-plane-broken", "database-broken"
]


class Objective(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A figure and its limits: of a sampled `signal` (`source.signal`), of a `latency`, of a `recovery`, or a `rate`; in seconds, a signal in its own unit."""

    name: Text
    signal: str = ""
    latency: Literal["", "answer", "effect", "stream"] = ""
    recovery: Literal["", "noticed_s", "elsewhere_s", "first_success_s", "drained_s", "normal_s"] = ""
    rate: Literal["", "any", Op] = ""
    op: Literal["", Op] = ""
    quantile: Quantile | None = None
    phase: Literal["", "baseline", "method", "quiet", "drain", "clean", "close"] = ""
    max: Limit | None = None
    min: Limit | None = None


class Allowed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One legal answer: its status and a regular expression that its body must contain. Status 0: no answer came, or no connection."""

    status: Status
    body: str = ""


class Situation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How calls of these kinds must be answered `when` something holds: one of `allow`, within so many seconds."""

    name: Text
    when: When
    ops: Annotated[list[Op], Meta(min_length=1, description="a list of at least one kind of command")]
    allow: Annotated[list[Allowed], Meta(min_length=1, description="a list of at least one legal answer")]
    within_s: Within


class Claim(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A signal by which the platform says that a component is there: while the signal has one of the values `says`.

    `signal`: of a sampled one `source.signal`; `source.agents` is what a source of reports says of agents, each of them for itself, and then
    `component` is empty. `within_s`: how long after it was surely away the signal may still say that it is there.
    """

    name: Text
    signal: Text
    says: Annotated[list[bool | int | float | str], Meta(min_length=1, description="a list of at least one value")]
    within_s: Within
    component: str = ""


class Edge(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A change of a session's state that is legal, and what makes it: a kind of command, or `platform` for its own work.

    `crash`: only after a process of the session died; `agent`: only while its agent is broken. `before` is empty where the
    session was not there.
    """

    before: str
    after: str
    by: Literal["start", "stop", "hibernate", "wake", "platform", "crash", "agent"]


class Known(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A violation that is known: of which check, the pattern of its witness, why it is accepted, the last day (ISO) on which it is."""

    check: Text
    match: Annotated[
        str, Meta(min_length=1, max_length=2000, description="the words of a witness, with * for one of them")
    ]
    why: Annotated[str, Meta(min_length=1, max_length=2000, description="the reason why it is accepted")]
    expires: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?!\n)$", description="a day such as 2027-01-31")]
