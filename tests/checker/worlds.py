"""An oracle by brute force: is there a world in which a platform as it should be left these effects?

A world gives each effect an exact moment in its interval, in the order of the generations, and a command of its own; an unclear
command may have one or none; where nobody watched, there may be more effects than were seen. It is good if no promise is broken in it: each
accepted command acts, once, in time, not before one that precedes it, nothing acts that nobody asked for, no two processes live
at once, and nothing is left after a stop. All worlds are tried, so this is for a handful of commands of one session.
"""

from collections.abc import Iterator
from typing import NamedTuple

from histories import ATTRIBUTION

REPEATS = {entry.op: entry.repeat for entry in ATTRIBUTION}
BEGINS = ("start", "wake")
HIDDEN = 2  # effects that a gap may hide here: enough for what two mutations can take away


class Sent(NamedTuple):
    """A command: when it was sent, what was answered and when, by when it was due."""

    op: str
    at: int
    outcome: str
    answered: int
    due: int


class Seen(NamedTuple):
    """A transition of the slot, at some moment of [lo, hi]. `ended`: how many processes it named as ended."""

    op: str
    lo: int
    hi: int
    ended: int = 0


class World(NamedTuple):
    """What has happened so far: who has acted, the moment, the last transition, the processes that live, whether the slot is there."""

    acted: frozenset[int] = frozenset()
    now: int = 0
    last: str = ""
    living: int = 0
    there: bool = False


class Oracle:
    def __init__(self, sent: list[Sent], seen: list[Seen], gap: tuple[int, int] | None = None) -> None:
        self._sent, self._seen, self._gap = sent, seen, gap
        self._before = [
            {i for i, one in enumerate(sent) if one.outcome == "ok" and one.answered < other.at} for other in sent
        ]

    def a_good_world_is_possible(self) -> bool:
        return self._go_on(World(), 0, HIDDEN if self._gap else 0)

    def _go_on(self, world: World, number: int, hidden: int) -> bool:
        if number == len(self._seen) and self._ends_well(world):
            return True
        if number < len(self._seen) and any(
            self._go_on(after, number + 1, hidden) for after in self._acts(world, self._seen[number])
        ):
            return True
        return hidden > 0 and any(
            self._go_on(after, number, hidden - 1)
            for op in REPEATS
            for after in self._acts(world, Seen(op, *(self._gap or (0, 0))))
        )

    def _acts(self, world: World, seen: Seen) -> Iterator[World]:
        """The good worlds after this transition."""
        if seen.ended > world.living or (seen.op in BEGINS and world.living):
            return
        for moment in self._moments(world, seen):
            after = World(world.acted, moment, seen.op, int(seen.op in BEGINS), _is_there(world, seen.op))
            if seen.op == world.last and not REPEATS.get(seen.op, True):
                yield after  # it changed nothing
            for i, command in enumerate(self._sent):
                if i not in world.acted and command.op == seen.op and self._may_act(i, moment, world.acted):
                    yield after._replace(acted=world.acted | {i})

    def _may_act(self, i: int, moment: int, acted: frozenset[int]) -> bool:
        command = self._sent[i]
        in_time = command.outcome == "info" or moment <= command.due
        return command.outcome != "fail" and command.at <= moment and in_time and self._before[i] <= acted

    def _moments(self, world: World, seen: Seen) -> list[int]:
        """The moments at which it may make a difference when it happened."""
        lo = max(seen.lo, world.now)
        edges = {lo, seen.hi, *(moment for command in self._sent for moment in (command.at, command.due))}
        return sorted(moment for moment in edges if lo <= moment <= seen.hi)

    def _ends_well(self, world: World) -> bool:
        ok = {i for i, command in enumerate(self._sent) if command.outcome == "ok"}
        told = any(self._sent[i].op == "stop" for i in ok | world.acted)
        return ok <= world.acted and not (told and (world.there or world.living))


def _is_there(world: World, op: str) -> bool:
    return {"start": True, "stop": False}.get(op, world.there)
