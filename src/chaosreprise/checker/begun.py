"""Which process began when an object was made or scaled up, where processes have a ledger of their own.

The keeper of a stack does both at once. In a cluster a Deployment is made, and later a pod of it runs, or none ever does: then a
start or a wake had no effect, also if it was ended soon: who may leave it out for a later command promises `coalesce`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaosreprise.checker.attribution import Shapes, Transition, shapes
from chaosreprise.checker.table import Effects
from chaosreprise.history.events import Effect, Mark

ACTED: dict[Mark, str] = {"made": "start", "up": "wake"}
"""The marks after which a process begins, and whose they are."""
BEGINS: Mark = "up"


class Stood(NamedTuple):
    """An object from one transition to the next one; `until` is None for the last."""

    object: str
    gen: int | None
    lo: int
    hi: int
    until: tuple[int, int] | None


class Begun:
    """`ledger`: that of processes; "" where it is that of objects: then each transition is its process as well."""

    def __init__(self, effects: Effects, ledger: str) -> None:
        self._effects, self.ledger = effects, ledger
        self._known: dict[tuple[str, str], dict[tuple[str, int | None], Effect]] = {}

    def acted(self, ledger: str, session: str, seen: Transition) -> Transition | None:
        """The transition as it took effect: when its process began, if that is known by itself; None if none did."""
        if not self.ledger or seen.effects[0].mark not in ACTED:
            return seen
        at = ledger, session
        if at not in self._known:
            self._known[at] = dict(self._of_session(shapes(self._effects.sessions.get(at, ())), session))
        process = self._known[at].get((seen.object, seen.gen))
        if process is None:
            return None
        both = (*seen.effects, process)
        return seen._replace(lo=max(seen.lo, process.lo), hi=max(seen.hi, process.hi), effects=both)

    def _of_session(self, shaped: Shapes, session: str) -> Iterator[tuple[tuple[str, int | None], Effect]]:
        """Each process is that of one transition, the first that it can be."""
        begun = [one for one in self._effects.sessions.get((self.ledger, session), ()) if one.mark == BEGINS]
        begun.sort(key=lambda one: one.hi)
        for stood in sorted(_stood(shaped), key=lambda one: one.hi):
            own = next((one for one in begun if _is_of(one, stood)), None)
            if own is not None:
                begun.remove(own)
                yield (stood.object, stood.gen), own


def _stood(shaped: Shapes) -> Iterator[Stood]:
    for name, transitions in shaped.items():
        spans = [(min(one.lo for one in own), max(one.hi for one in own)) for _, _, own in transitions]
        for (gen, mark, _), span, until in zip(transitions, spans, [*spans[1:], None], strict=True):
            if mark in ACTED:
                yield Stood(name, gen, *span, until)


def _is_of(process: Effect, stood: Stood) -> bool:
    return process.hi >= stood.lo and (stood.until is None or process.lo <= stood.until[1])
