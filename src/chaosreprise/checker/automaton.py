"""The states of a session as a contract states them: which changes are legal, what they take, and which states only pass.

What leads from one state to another is a list of needs: how many commands of each kind, crashes of the session or faults on its agent. Of several ways only
the cheapest count, since a change needs a command of its own and a command needs no change. A state passes if the platform leaves it by itself.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from functools import cache

from chaosreprise.history.statements import Edge

PLATFORM = "platform"
ABSENT = ""
Needs = tuple[tuple[str, int], ...]
"""What a way takes: (kind, how many), in the order of the kinds."""


class Automaton:
    """`passing`: the kinds of commands that each passing state belongs to, whose bounds it has."""

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._from: dict[str, list[Edge]] = defaultdict(list)
        for edge in edges:
            self._from[edge.before].append(edge)
        self.states = {ABSENT, *self._from, *(edge.after for after in self._from.values() for edge in after)}
        self.passing = self._passing()
        self._all_ways = cache(self._reach)
        self.ways = cache(self._ways)
        self.returns = cache(self._returns)

    def _ways(self, before: str, after: str) -> list[Needs]:
        """The cheapest needs of all ways from one state to another; empty: there is no way."""
        return self._all_ways(before).get(after, [])

    def _reach(self, before: str) -> dict[str, list[Needs]]:
        """The same to every state that can be reached. A way in circles is never cheaper, so that this ends."""
        found: dict[str, list[Needs]] = {before: [()]}
        todo: deque[tuple[str, Needs]] = deque([(before, ())])
        while todo:
            at, needs = todo.popleft()
            for edge in self._from.get(at, ()):
                further = needs if edge.by == PLATFORM else add(needs, ((edge.by, 1),))
                known = found.setdefault(edge.after, [])
                kept = cheapest([*known, further])
                if further in kept and further not in known:
                    found[edge.after] = kept
                    todo.append((edge.after, further))
        return found

    def _returns(self, state: str) -> list[Needs]:
        """The cheapest needs of leaving a state and coming back to it."""
        return cheapest(
            rest if edge.by == PLATFORM else add(rest, ((edge.by, 1),))
            for edge in self._from.get(state, ())
            for rest in self.ways(edge.after, state)
        )

    def _passing(self) -> dict[str, set[str]]:
        passing: dict[str, set[str]] = {
            state: set() for state, edges in self._from.items() if any(edge.by == PLATFORM for edge in edges)
        }
        edges = [edge for own in self._from.values() for edge in own if edge.after in passing]
        for edge in edges:
            if edge.by != PLATFORM:
                passing[edge.after].add(edge.by)
        for _ in passing:  # along what the platform does, as far as it goes
            for edge in edges:
                if edge.by == PLATFORM and edge.before in passing:
                    passing[edge.after] |= passing[edge.before]
        return passing


def add(one: Needs, other: Needs) -> Needs:
    total = Counter(dict(one))
    total.update(dict(other))
    return tuple(sorted(total.items()))


def cheapest(ways: Iterable[Needs]) -> list[Needs]:
    """Without those that take at least as much of everything as another one."""
    found = sorted(set(ways), key=lambda needs: sum(n for _, n in needs))
    kept: list[Needs] = []
    for needs in found:
        have = dict(needs)
        if not any(all(have.get(kind, 0) >= n for kind, n in less) for less in kept):
            kept.append(needs)
    return kept
