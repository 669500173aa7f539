"""What is said on the warden's socket: JSON lines, one request, one answer with its id.

The same id twice gives the same answer, also while the first is still being worked on: who lost an answer asks again.
"""

from typing import Any, Literal

import msgspec

from chaosreprise.errors import BadInput, NotAllowed, NotPossible, NotProven, RepriseError, RunBroken, Unreachable
from chaosreprise.faults.ledger import Record
from chaosreprise.faults.lives import Busy
from chaosreprise.history.events import Awaited
from chaosreprise.moments import At

Verb = Literal["plan", "inject", "undo", "status", "halt", "bye"]
ERRORS: dict[str, type[RepriseError]] = {
    error.code: error for error in (BadInput, Busy, NotAllowed, NotPossible, NotProven, RunBroken, Unreachable)
}


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`inject` and `plan` need fault, kind and on; `undo` a fault; `status` without one tells of all.

    `halt` (by the run, or by `chaos reprise stop`) undoes everything and injects nothing any more; `bye` also ends the
    warden. `hold_ns` is how long it is meant to last, `at` the moment at which it strikes, else at once.
    """

    id: int
    do: Verb
    fault: str = ""
    kind: str = ""
    on: str = ""
    hold_ns: int = 0
    args: dict[str, Any] = {}
    at: At | None = None
    by: Literal["run", "stop"] = "run"


class Told(msgspec.Struct, kw_only=True):
    """A fault as it is now. It reached its state at some moment of [lo, hi], CLOCK_MONOTONIC in ns."""

    fault: str
    kind: str
    on: str
    state: str
    lo: int
    hi: int
    lease_end: int
    target: dict[str, Any]
    by: str | None = None
    proof: dict[str, Any] | None = None
    say: str | None = None
    moment: Awaited | None = None


def told(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(msgspec.convert(record, Told, from_attributes=True))
    return found
