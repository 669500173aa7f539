"""Which effects can belong to which commands, when only their numbers tell (attribution `counted`).

An effect can belong to a command that was not surely submitted after it: `command.lo <= effect.hi`. So whoever can take
an effect can take every later one as well, and one sweep in the order of time finds a largest matching. Where a command can
take an effect only until some moment, both are spans of time that must meet.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence


def sweep(
    rows: Iterable[int],
    submitted: Sequence[int],
    effects: Sequence[int],
    rank: Callable[[int], int] | None = None,
) -> tuple[dict[int, int], list[int]]:
    """Match rows to effects, each given by the latest moment at which it happened, in ascending order.

    `submitted` is the earliest moment of submission by row. Returns {row: index of its effect} and the effects that
    nobody could take. The matching is a largest one; where there is a choice, low ranks go first, then the earlier.
    """
    waiting = sorted(rows, key=lambda row: submitted[row])
    able: list[tuple[int, int, int]] = []
    taken: dict[int, int] = {}
    left: list[int] = []
    next_row = 0
    for index, happened in enumerate(effects):
        while next_row < len(waiting) and submitted[waiting[next_row]] <= happened:
            row = waiting[next_row]
            heapq.heappush(able, (rank(row) if rank else 0, next_row, row))
            next_row += 1
        if able:
            taken[heapq.heappop(able)[2]] = index
        else:
            left.append(index)
    return taken, left


Span = tuple[int, int]


def meeting(ones: Sequence[Span], others: Sequence[Span]) -> dict[int, int]:
    """A largest matching of spans [lo, hi] that meet, as {number of one: number of the other}.

    Who ends first goes first, and takes who ends first of the other side: that one meets nobody whom one that ends later
    would not meet as well.
    """
    sides = _Side(ones), _Side(others)
    ends = sorted(
        (hi, side, number) for side, spans in enumerate((ones, others)) for number, (_, hi) in enumerate(spans)
    )
    found: dict[int, int] = {}
    for hi, side, number in ends:
        if number in sides[side].free and (partner := sides[1 - side].take(hi)) is not None:
            sides[side].free.discard(number)
            found[number if side == 0 else partner] = partner if side == 0 else number
    return found


class _Side:
    """The spans of one side; `free` are the numbers of those that nobody has taken."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._waiting = sorted(range(len(spans)), key=lambda number: spans[number][0], reverse=True)
        self._begun: list[Span] = []
        self.free = set(range(len(spans)))

    def take(self, moment: int) -> int | None:
        """The number of the free one that ends first of those that meet this moment; moments only grow."""
        while self._waiting and self._spans[self._waiting[-1]][0] <= moment:
            number = self._waiting.pop()
            heapq.heappush(self._begun, (self._spans[number][1], number))
        while self._begun:
            hi, number = heapq.heappop(self._begun)
            if hi >= moment and number in self.free:
                self.free.discard(number)
                return number
        return None
