"""What is found of a platform when it is examined: a sentence about one thing, and whether all is well with it.

An adapter may know more of its platform than a run asks for, such as who is logged in or what a database role may do: one that
has `examinations` is asked for them by `chaos reprise doctor`, one that has `impossible` by `chaos reprise conformance`,
one that has `size` by the load.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from chaosreprise.history.events import Resource
from chaosreprise.platform.adapter import Operation

State = Literal["ok", "limited", "not ok"]


class Said(msgspec.Struct, kw_only=True, frozen=True):
    """`limited`: something can't be done or will be unknown. `not ok`: it keeps everything from being done. `do`: what to do next."""

    about: str
    name: str = ""
    state: State = "ok"
    say: str
    do: str = ""


Examination = Callable[[], Awaitable[list[Said]]]


@runtime_checkable
class Examines(Protocol):
    def examinations(self) -> dict[str, Examination]:
        """By what each is about. Each only reads, and may raise a RepriseError, which hides no other."""
        ...


@runtime_checkable
class Leaves(Protocol):
    def left(self) -> list[str]:
        """What of this run stays on the platform once everything was told to end, a few words each: the report tells it."""
        ...


@runtime_checkable
class Lingers(Protocol):
    def lingering(self, sessions: Sequence[str]) -> list[str] | None:
        """Those of these sessions of which a process goes on; None where nobody can see that. `chaos reprise conformance` asks once all were stopped."""
        ...


@runtime_checkable
class Sizes(Protocol):
    def size(self, operation: Operation) -> dict[Resource, int]:
        """How much a start asks for, in bytes and thousandths of a processor; of what is not told nothing is judged."""
        ...


@runtime_checkable
class Refuses(Protocol):
    def impossible(self) -> dict[str, Operation]:
        """Operations that the platform must refuse whatever its state, such as a create that asks for nonsense, by what they are.

        `chaos reprise conformance` sends each once. Should one be accepted, its session bears the run's tag and is stopped with the others.
        """
        ...
