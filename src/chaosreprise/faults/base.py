"""The contract of a fault. Each is one module of `kinds` that defines `FAULT`; `registry` finds it by its file's name.

`plan` looks and decides, everything after it acts only on what was planned. A target is plain JSON, since it is written
to the ledger before `inject`, and whoever finds it there (the warden, the owner, the next run) must be able to `undo`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from chaosreprise.platform.links import LinkAt
from chaosreprise.procs import Incarnation

Target = dict[str, Any]


class Context(NamedTuple):
    """What a fault may use. `owners` (the warden and its run): when all are dead, a hold at the keeper ends.

    `links` by their names as components, `platform_file` and `later` (it strikes at a moment to come) are for planning:
    undoing knows all from the target.
    """

    keeper: str | None
    owners: list[Incarnation]
    links: Mapping[str, LinkAt] = {}
    platform_file: str | None = None
    later: bool = False


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What an experiment may say of a fault beyond its component; base of each fault's own.

    Of a field, `Meta(title=...)` is what it means, `description` what is expected, with the unit: both go into the reference.
    """


class Fault(Protocol):
    """One way to break a platform, and the way back.

    `mark` names this fault on whatever it changes; undo touches nothing that does not carry it.
    """

    groups: tuple[str, ...]
    """The groups of components that it can hit."""
    needs: str
    """What must be there for it, in one line."""
    way_back: str
    """How it is undone, in a few words."""
    proof: str
    """When it is proven to bite, in one line that goes on after "proven when"."""
    momentary: bool
    """Over as soon as it has struck: what it broke comes back by itself, and undoing it is waiting for that."""
    undo_s: float
    """The longest time that `undo` and `verify` need together."""
    arguments: type[Arguments]

    def asks(self, group: str) -> tuple[str, ...]:
        """Settings of the platform file without which it can't be made on a component of this group."""
        ...

    async def plan(self, context: Context, on: str, args: dict[str, Any]) -> Target:
        """The exact target, and what undo needs. Changes nothing. Raises BadInput, NotPossible or NotAllowed."""
        ...

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        """Break it. Raises NotPossible when the target is not what was planned any more."""
        ...

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        """Wait, for a bounded time, until it is seen to bite; what was seen. Raises NotProven with what was seen instead."""
        ...

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        """Make it whole, from any state, also for the second time. Who had done so already (`lease`, `keeper`), or None.

        Raises StackEnded when there is nothing left to mend, any other RepriseError when it is not whole in time.
        """
        ...

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        """Look once more that it is whole and carries no mark. Raises as `undo` does."""
        ...
