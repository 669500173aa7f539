"""What a platform says of itself: each change once, between its two looks; what could not be read is a gap."""

import asyncio
from collections.abc import Iterable

import pytest

from chaosreprise.clock import SystemClock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage, Report, Timed
from chaosreprise.observe import ReportSource, Said

HZ = 200
Looks = list[list[Said] | Exception]


def watch(looks: Looks) -> list[Timed]:
    """What is emitted when each look finds the next of `looks`, and all further ones the last."""
    events: list[Timed] = []
    left = iter(looks)
    stop = asyncio.Event()

    async def read() -> Iterable[Said]:
        found = next(left, None)
        if found is None:
            stop.set()
            found = looks[-1]
        if isinstance(found, Exception):
            raise found
        return found

    asyncio.run(ReportSource("rows", HZ, read).run(SystemClock(), events.append, stop))
    return events


def states(events: list[Timed]) -> list[tuple[str, str, str]]:
    return [(event.about, event.id, event.state) for event in events if isinstance(event, Report)]


def test_each_state_is_reported_once_with_what_else_is_known():
    runs, ends = Said("session", "s1", "running", "a1", {"key": "k"}), Said("session", "s1", "terminated", "a1")
    events = watch([[], [runs], [runs], [ends, Said("agent", "a1", "online")]])
    assert states(events) == [
        ("session", "s1", "running"),
        ("session", "s1", "terminated"),
        ("agent", "a1", "online"),
    ]
    first = next(event for event in events if isinstance(event, Report))
    assert (first.source, first.owner, first.fields) == ("rows", "a1", {"key": "k"})


def test_a_report_lies_between_the_look_that_did_not_show_it_and_the_one_that_did():
    one, two = (Said("agent", "a1", state) for state in ("online", "offline"))
    seen = [event for event in watch([[one], [two]]) if isinstance(event, Report)]
    assert seen[0].lo <= seen[0].hi
    assert seen[0].lo <= seen[1].lo <= seen[0].hi <= seen[1].hi


def test_an_agent_and_a_session_of_one_name_are_two():
    assert len(states(watch([[Said("agent", "x", "online"), Said("session", "x", "online")]]))) == 2


@pytest.mark.parametrize("error", [Unreachable("no answer"), FileNotFoundError(2, "No such file")])
def test_what_could_not_be_read_is_a_gap_and_no_empty_answer(error: Exception):
    said = Said("agent", "a1", "online")
    events = watch([[said], error, [said]])
    assert len(states(events)) == 1
    covered = [(event.on, event.why) for event in events if isinstance(event, Coverage)]
    assert [on for on, _ in covered] == [True, False, True, False]
    assert "no answer" in covered[1][1] or "No such file" in covered[1][1]
