"""Windows of local time: what they cover, also over midnight and when the clocks change."""

from datetime import UTC, datetime

import pytest

from chaosreprise.errors import BadInput
from chaosreprise.platform import windows


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# 16 November 2026 is a Monday; Berlin is an hour ahead of UTC then.
@pytest.mark.parametrize(
    ("window", "since", "until", "covered"),
    [
        ("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-11-16 08:00", "2026-11-16 16:00", True),
        ("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-11-16 07:59", "2026-11-16 09:00", False),
        ("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-11-16 15:59", "2026-11-16 16:01", False),
        ("Mon-Fri 09:00-17:00 Europe/Berlin", "2026-11-21 10:00", "2026-11-21 10:01", False),
        ("Mon,Wed 09:00-10:00 UTC", "2026-11-18 09:00", "2026-11-18 09:30", True),
        ("Mon,Wed 09:00-10:00 UTC", "2026-11-17 09:00", "2026-11-17 09:30", False),
        ("Fri-Mon 09:00-10:00 UTC", "2026-11-22 09:00", "2026-11-22 09:30", True),
        ("daily 22:00-06:00 UTC", "2026-11-16 23:00", "2026-11-17 05:59", True),
        ("daily 22:00-06:00 UTC", "2026-11-16 05:00", "2026-11-16 06:01", False),
        ("Sat-Sun 00:00-24:00 UTC", "2026-11-21 23:59", "2026-11-22 00:01", True),
        ("Sat-Sun 00:00-24:00 UTC", "2026-11-22 23:59", "2026-11-23 00:01", False),
        ("daily 00:00-24:00 UTC", "2026-11-16 00:00", "2026-11-30 00:00", True),
        # 02:30 comes twice on 25 October (00:30 and 01:30 UTC): not before the second; and never on 29 March: later
        ("Sun 02:30-04:00 Europe/Berlin", "2026-10-25 00:45", "2026-10-25 00:46", False),
        ("Sun 02:30-04:00 Europe/Berlin", "2026-10-25 01:30", "2026-10-25 02:59", True),
        ("Sun 01:00-02:30 Europe/Berlin", "2026-10-25 00:31", "2026-10-25 00:32", False),
        ("Sun 02:30-04:00 Europe/Berlin", "2026-03-29 01:15", "2026-03-29 01:16", False),
        ("Sun 02:30-04:00 Europe/Berlin", "2026-03-29 01:30", "2026-03-29 01:59", True),
    ],
)
def test_a_window_covers_what_lies_in_it_by_its_own_clock(window: str, since: str, until: str, covered: bool) -> None:
    assert windows.covers([windows.parse(window)], utc(since), utc(until)) is covered


def test_windows_that_touch_are_one() -> None:
    both = [windows.parse("daily 08:00-12:00 UTC"), windows.parse("daily 12:00-14:00 UTC")]
    assert windows.covers(both, utc("2026-11-16 11:00"), utc("2026-11-16 13:00"))
    assert windows.covers(both[:1], utc("2026-11-16 11:00"), utc("2026-11-16 13:00")) is False


def test_the_next_opening_is_told() -> None:
    window = windows.parse("Mon-Fri 09:00-17:00 Europe/Berlin")
    assert windows.opens([window], utc("2026-11-20 16:01")) == utc("2026-11-23 08:00")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Mon 9-17 UTC", "expected a window such as"),
        ("Mon 09:00-17:00", "expected a window such as"),
        ("Mon 24:00-24:00 UTC", "expected times from 00:00 to 24:00"),
        ("Mon 09:00-24:01 UTC", "expected times from 00:00 to 24:00"),
        ("Xyz 09:00-10:00 UTC", "'Xyz' is no day"),
        ("Mon-X 09:00-10:00 UTC", "'X' is no day"),
        ("Mon 09:00-10:00 Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ("Mon 09:00-10:00 ../../etc/passwd", "is no time zone"),
    ],
)
def test_a_window_that_is_none_says_what_is_expected(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        windows.parse(text)
