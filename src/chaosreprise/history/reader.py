"""Reading histories: a whole one to judge it, or a growing one to act on what it says.

A torn last line is legal and dropped: its writer died in it. Anything else that is not an event is BadInput, with the
file, the line and the reason. Unknown keys are ignored here and stay in the files, which are never rewritten.
"""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from chaosreprise.errors import BadInput, shown
from chaosreprise.history.events import VERSION, AnyEvent, Contract, Segment, Timed

LONGEST_LINE = 16 * 2**20
SUFFIX = ".jsonl"

_decoder = msgspec.json.Decoder(AnyEvent)


class History(NamedTuple):
    """A whole history. `events` are sorted by (hi, lo); `torn` names the segments whose last line was incomplete, or that have none."""

    segments: list[Segment]
    contract: Contract | None
    events: list[Timed]
    torn: list[str]


def load(*places: pathlib.Path) -> History:
    """Read a history: its segments, or folders of them, such as that of a run.

    Raises BadInput when there is none, a line is not an event, or they do not belong together: segments of different
    boots or runs, two of one writer, two contracts.
    """
    paths = {os.path.realpath(path): path for place in places for path in _segments_in(place)}
    segments: list[Segment] = []
    contracts: list[Contract] = []
    events: list[Timed] = []
    torn = []
    for path in paths.values():
        for event in _whole(path):
            if event is None:
                torn.append(path.name)
            elif isinstance(event, Segment):
                segments.append(event)
            elif isinstance(event, Contract):
                contracts.append(event)
            else:
                events.append(event)
    _check_together(", ".join(map(str, places)), segments, contracts)
    events.sort(key=lambda event: (event.hi, event.lo))
    return History(segments, contracts[0] if contracts else None, events, torn)


def schema() -> dict[str, Any]:
    """The JSON Schema of one line."""
    made: dict[str, Any] = msgspec.json.schema(AnyEvent)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"history, version {VERSION}", **made}


class Tail:
    """Follows a growing history, all its segments or one: each call of `new` yields what was added since, file by file.

    `most`: not more bytes of a file than about so many in one call; the next ones give the rest.
    """

    def __init__(self, folder: pathlib.Path, writer: str = "*", most: int = -1) -> None:
        self._folder, self._most = folder, most
        self._pattern = f"{writer}.jsonl"
        self._offsets: dict[pathlib.Path, int] = {}
        self._lines: dict[pathlib.Path, int] = {}

    def new(self) -> Iterator[AnyEvent]:
        for path in self._paths():
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(self._most)
                if len(data) == self._most:
                    data += file.readline()
            whole = data.rfind(b"\n") + 1
            self._offsets[path] = offset + whole
            for line in data[:whole].splitlines():
                number = self._lines[path] = self._lines.get(path, 0) + 1
                yield _decode(path, number, line)

    def _paths(self) -> list[pathlib.Path]:
        """The segments that have grown; one that is named is not looked for, which would cost more than reading it."""
        if "*" in self._pattern:
            return sorted(self._folder.glob(self._pattern))
        path = self._folder / self._pattern
        try:
            return [path] if path.stat().st_size > self._offsets.get(path, 0) else []
        except FileNotFoundError:
            return []


def _segments_in(place: pathlib.Path) -> list[pathlib.Path]:
    if not place.is_dir():
        return [place]
    inside = place / "history"
    if paths := sorted((inside if inside.is_dir() else place).glob(f"*{SUFFIX}")):
        return paths
    raise BadInput(f"{place}: no history there (expected *{SUFFIX}): give the folder of a run or its history/")


def _whole(path: pathlib.Path) -> Iterator[AnyEvent | None]:
    """The events of one segment; None where it ends within a line, or before the first one."""
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    yield _last(path, number, line)
                    return
                yield _decode(path, number, line)
    except OSError as error:
        raise BadInput(
            f"{path}: can't be read ({error.strerror}): give the segments of a history, or its folder"
        ) from error
    if not number:
        yield None


def _last(path: pathlib.Path, number: int, line: bytes) -> AnyEvent | None:
    """A line without its end: an event that lacks nothing else, or None where it was cut off."""
    if len(line) == LONGEST_LINE:
        raise BadInput(f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes, which no line of a history is")
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _decode(path, number, line)


def _decode(path: pathlib.Path, number: int, line: bytes) -> AnyEvent:
    try:
        event: AnyEvent = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error) if line.strip() else "it is empty"
        raise BadInput(f"{path}, line {number}: not an event of a history: {reason}") from error
    except RecursionError as error:
        raise BadInput(f"{path}, line {number}: not an event of a history: it is nested too deeply") from error
    if isinstance(event, Segment):
        if event.v != VERSION:
            raise BadInput(
                f"{path}, line {number}: version {event.v} of the history format; this Reprise reads {VERSION}"
            )
    elif isinstance(event, Contract) and (wrong := _no_pattern(event)) is not None:
        raise BadInput(f"{path}, line {number}: {shown(wrong)} is no regular expression, as `body` must be")
    elif number == 1:
        raise BadInput(f"{path}, line 1: a segment begins with an event of type segment")
    elif isinstance(event, Timed) and event.lo > event.hi:
        raise BadInput(f"{path}, line {number}: lo {event.lo} is after hi {event.hi}")
    return event


def _no_pattern(contract: Contract) -> str | None:
    """What of it should be a regular expression and is none."""
    patterns = [entry.body for entry in contract.refusals]
    patterns += [allowed.body for situation in contract.situations for allowed in situation.allow]
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            return pattern
    return None


def _check_together(where: str, segments: list[Segment], contracts: list[Contract]) -> None:
    if not segments:
        raise BadInput(f"{where}: nothing in it: a history has at least a line of type segment")
    for what in ("run", "boot"):
        values = sorted({getattr(segment, what) for segment in segments})
        if len(values) > 1:
            raise BadInput(f"{where}: segments of different {what}s ({', '.join(values)}): judge one run at a time")
    writers = [segment.writer for segment in segments]
    if twice := [writer for writer in writers if writers.count(writer) > 1]:
        raise BadInput(
            f"{where}: two segments of the writer {twice[0]!r}: leave one of them out, each has its own name"
        )
    if len(contracts) > 1:
        raise BadInput(f"{where}: {len(contracts)} contracts: a history has one, since it says what is judged")
