"""What a platform file says of breaking: which platform it is about, what may be broken, how much, when, and what ends it.

Everything here is closed unless it is opened: what is not listed is not allowed, and a limit that nobody wrote is a low one.
How these limits decide stands in `faults.safety`, what the guard does in `faults.guard`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from chaosreprise.errors import BadInput, shown
from chaosreprise.platform import windows
from chaosreprise.platform.values import Count, Host, Share, Strict, Text, Url, check_url
from chaosreprise.platform.windows import Window

Several = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Status = Annotated[int, Meta(ge=100, le=599, description="an HTTP status from 100 to 599")]
Number = Annotated[float, Meta(description="a number")]
Query = Annotated[str, Meta(min_length=1, max_length=2000, description="a query in PromQL, at most 2000 characters")]
Kind = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z-]{0,30}\.[a-z][a-z_]{0,30}\Z",
        description="a kind of fault, such as agents.take_away (all: `chaos reprise faults`)",
    ),
]


class Identity(Strict, frozen=True):
    """By what the platform is told from any other; each that is stated is compared. `production` asks for a permission."""

    host: Host | None = None
    stack: Host | None = None
    context: Host | None = None
    cluster_uid: Host | None = None
    production: bool = False

    def stated(self) -> dict[str, str]:
        names = ("host", "stack", "context", "cluster_uid")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Allow(Strict, frozen=True):
    """`share` is of the components of a group, `count` how many of them one run may break, `at_once` how many faults are on.

    `windows`: without any, always. `production` names the permission that REPRISE_PRODUCTION must hold.
    """

    faults: list[Kind] = msgspec.field(default_factory=list)
    share: Share = 0.34
    count: Several = 1
    at_once: Several = 1
    foreign_sessions: Count = 0
    windows: list[Text] = msgspec.field(default_factory=list)
    production: Text | None = None

    def parsed_windows(self) -> list[Window]:
        return [windows.parse(text) for text in self.windows]


class Promql(Strict, frozen=True):
    """Every series of the answer must be below, or above, the limit."""

    url: Url
    query: Query
    below: Number | None = None
    above: Number | None = None


class Guard(Strict, frozen=True):
    """What halts a run when it is seen, once a second: too large a share of unexpected `errors` among at least `least` answers
    of the last `window_s`, another status of `url`, or what `promql` says.
    """

    errors: Share = 0.5
    window_s: Annotated[float, Meta(ge=1, le=3600, description="seconds from 1 to 3600")] = 10.0
    least: Several = 20
    url: Url | None = None
    status: Status = 200
    promql: Promql | None = None


def check(where: str, allow: Allow, guard: Guard) -> None:
    """What must or must not stand together here. Raises BadInput."""
    for number, text in enumerate(allow.windows):
        try:
            windows.parse(text)
        except BadInput as error:
            raise BadInput(f"{where}: allow.windows[{number}] = {shown(text)}: {error}") from error
    check_url(where, "guard.url", guard.url)
    if guard.promql is not None:
        check_url(where, "guard.promql.url", guard.promql.url)
        if (guard.promql.below is None) == (guard.promql.above is None):
            raise BadInput(f"{where}: guard.promql: state one of `below` and `above`, which its value must keep")
