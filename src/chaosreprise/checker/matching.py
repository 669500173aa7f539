"""Which effects can belong to which commands, when only their numbers tell (attribution `counted`).

An effect can belong to a command that was not surely submitted after it: `command.lo <= effect.hi`. So whoever can take
an effect can take every later one as well, and one sweep in the order of time finds a largest matching.
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
