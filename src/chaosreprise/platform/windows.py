"""When a platform may be broken: windows of local time, such as `Mon-Fri 09:00-17:00 Europe/Berlin`.

Days are one day, a range (`Mon-Fri`), several (`Mon,Wed`) or `daily`; a window whose end is not after its beginning ends
on the day after. Pure: the moment is given. Where clocks change, the reading that makes the window shorter counts.
"""

import re
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from chaosreprise.errors import BadInput

EXPECTED = 'a window such as "Mon-Fri 09:00-17:00 Europe/Berlin" or "daily 22:00-06:00 UTC"'
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAILY = "daily"
SHAPE = re.compile(r"(\S+) ([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d) (\S+)", re.ASCII)
DAY_MINUTES = 24 * 60


class Window(NamedTuple):
    """`days` are those on which it begins (Monday is 0); `begin` and `end` are minutes of that day, the end possibly of the next."""

    days: frozenset[int]
    begin: int
    end: int
    zone: tzinfo


def parse(text: str) -> Window:
    """Raises BadInput with the reason alone: who asks knows where the text stands."""
    if not (match := SHAPE.fullmatch(text)):
        raise BadInput(f"expected {EXPECTED}")
    days, *clock, zone = match.groups()
    hours, minutes, until_hours, until_minutes = map(int, clock)
    begin, end = hours * 60 + minutes, until_hours * 60 + until_minutes
    if begin >= DAY_MINUTES or end > DAY_MINUTES:
        raise BadInput("expected times from 00:00 to 24:00")
    return Window(_days(days), begin, end if end > begin else end + DAY_MINUTES, _zone(zone))


def covers(windows: Sequence[Window], lo: datetime, hi: datetime) -> bool:
    """Whether every moment from `lo` to `hi` lies in some window."""
    reached = lo
    while True:
        ends = [end for begin, end in _around(windows, reached) if begin <= reached < end]
        if not ends:
            return False
        reached = max(ends)
        if reached >= hi:
            return True


def opens(windows: Sequence[Window], after: datetime) -> datetime:
    """When the next of these windows begins, in UTC."""
    return min(begin for begin, _ in _around(windows, after) if begin > after)


def _around(windows: Sequence[Window], moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows that begin from two days before the moment to eight days after it: (begin, end)."""
    for window in windows:
        today = moment.astimezone(window.zone).date()
        for offset in range(-2, 9):
            day = today + timedelta(days=offset)
            if day.weekday() in window.days:
                yield max(_readings(day, window.begin, window.zone)), min(_readings(day, window.end, window.zone))


def _readings(day: date, minutes: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """What the clock on the wall may mean, in UTC: the same twice, but for an hour that comes twice or not at all."""
    days, rest = divmod(minutes, DAY_MINUTES)
    local = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), zone)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def _days(text: str) -> frozenset[int]:
    if text == DAILY:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first), _day(last if dash else first)
        found.update((begin + offset) % 7 for offset in range((end - begin) % 7 + 1))
    return frozenset(found)


def _day(name: str) -> int:
    if name not in DAYS:
        raise BadInput(f"{name!r} is no day: expected {', '.join(DAYS)}, a range or list of them, or {DAILY}")
    return DAYS.index(name)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"{name!r} is no time zone that this machine knows: expected UTC, or a name such as Europe/Berlin"
        ) from None
