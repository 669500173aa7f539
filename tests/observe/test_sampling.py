"""The loop of the sampled sources: what nobody looked at is not watched, where nothing stays of what came and went."""

import asyncio
import math
import time

import pytest

from chaosreprise.clock import SystemClock
from chaosreprise.history import Coverage, Timed
from chaosreprise.observe.source import sample

HZ, UNSEEN_S, STOOD_S = 100, 0.2, 0.4


def sampled(unseen_s: float, stood_s: float) -> tuple[list[Timed], tuple[int, int]]:
    """What a source emits whose process stands still once; and when it did."""
    events: list[Timed] = []

    async def look(since: int, last: bool) -> None:
        await asyncio.sleep(0)

    async def main() -> tuple[int, int]:
        stop = asyncio.Event()
        task = asyncio.create_task(sample("rows", HZ, SystemClock(), events.append, stop, look, unseen_s))
        await asyncio.sleep(5 / HZ)
        before = time.monotonic_ns()
        time.sleep(stood_s)
        after = time.monotonic_ns()
        await asyncio.sleep(5 / HZ)
        stop.set()
        await task
        return before, after

    return events, asyncio.run(main())


def test_a_time_in_which_nobody_looked_is_a_gap_from_the_look_before_to_the_one_after_it() -> None:
    events, (before, after) = sampled(UNSEEN_S, STOOD_S)
    on, off, again, done = (event for event in events if isinstance(event, Coverage))
    assert [one.on for one in (on, off, again, done)] == [True, False, True, False]
    assert off.why.startswith("nobody looked for 0.")
    assert on.hi <= off.lo <= before < after <= off.hi <= again.lo <= done.lo


@pytest.mark.parametrize(("unseen_s", "stood_s"), [(math.inf, STOOD_S), (STOOD_S * 4, STOOD_S)])
def test_a_shorter_time_is_none_nor_any_where_all_is_kept(unseen_s: float, stood_s: float) -> None:
    events, _ = sampled(unseen_s, stood_s)
    assert [event.why for event in events if isinstance(event, Coverage)] == ["watching", "done"]
