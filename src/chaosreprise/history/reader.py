"""Reading histories: a whole one to judge it, or a growing one to act on what it says.

A torn last line is legal and dropped: its writer died in it. Anything else that is not an event is BadInput, with the
file, the line and the reason. Unknown keys are ignored here and stay in the files, which are never rewritten.
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from chaosreprise.errors import BadInput
from chaosreprise.history.events import VERSION, AnyEvent, Contract, Segment, Timed

_decoder = msgspec.json.Decoder(AnyEvent)


class History(NamedTuple):
    """A whole history. `events` are sorted by (hi, lo); `torn` names the segments whose last line was incomplete."""

    segments: list[Segment]
    contract: Contract | None
    events: list[Timed]
    torn: list[str]


def load(folder: pathlib.Path) -> History:
    """Read all segments of a history.

    Raises BadInput when there is none, a line is not an event, or the segments are of different boots or runs.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise BadInput(f"{folder}: no history there (expected *.jsonl): give the folder of a run or its history/")
    segments: list[Segment] = []
    contract: Contract | None = None
    events: list[Timed] = []
    torn = []
    for path in paths:
        lines = path.read_bytes().split(b"\n")
        if lines.pop():
            torn.append(path.name)
        for number, line in enumerate(lines, 1):
            event = _decode(path, number, line)
            if isinstance(event, Segment):
                segments.append(event)
            elif isinstance(event, Contract):
                contract = event
            else:
                events.append(event)
    _check_together(folder, segments)
    events.sort(key=lambda event: (event.hi, event.lo))
    return History(segments, contract, events, torn)


class Tail:
    """Follows a growing history, all its segments or one: each call of `new` yields what was added since, file by file."""

    def __init__(self, folder: pathlib.Path, writer: str = "*") -> None:
        self._folder = folder
        self._pattern = f"{writer}.jsonl"
        self._offsets: dict[pathlib.Path, int] = {}
        self._lines: dict[pathlib.Path, int] = {}

    def new(self) -> Iterator[AnyEvent]:
        for path in sorted(self._folder.glob(self._pattern)):
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self._offsets[path] = offset + whole
            for line in data[:whole].splitlines():
                number = self._lines[path] = self._lines.get(path, 0) + 1
                yield _decode(path, number, line)


def _decode(path: pathlib.Path, number: int, line: bytes) -> AnyEvent:
    try:
        event: AnyEvent = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}, line {number}: not an event of a history: {error}") from error
    if isinstance(event, Segment):
        if event.v != VERSION:
            raise BadInput(
                f"{path}, line {number}: version {event.v} of the history format; this Reprise reads {VERSION}"
            )
    elif number == 1:
        raise BadInput(f"{path}, line 1: a segment begins with an event of type segment")
    elif isinstance(event, Timed) and event.lo > event.hi:
        raise BadInput(f"{path}, line {number}: lo {event.lo} is after hi {event.hi}")
    return event


def _check_together(folder: pathlib.Path, segments: list[Segment]) -> None:
    for what in ("run", "boot"):
        values = sorted({getattr(segment, what) for segment in segments})
        if len(values) > 1:
            raise BadInput(f"{folder}: segments of different {what}s ({', '.join(values)}): judge one run at a time")
