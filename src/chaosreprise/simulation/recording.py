"""A history in memory: what each writer of a run has written, to be judged, followed while it grows, or kept as files."""

import pathlib
from collections.abc import Iterator

import msgspec

from chaosreprise.clock import SECOND
from chaosreprise.history import Contract, Event, History, Segment, Timed
from chaosreprise.history.events import VERSION
from chaosreprise.simulation.loop import EPOCH_S

WALL = 1_800_000_000 * SECOND  # a day like any other, so that nothing depends on today


class Segmented:
    """One writer's part; `new` yields what was added since the last call."""

    def __init__(self, writer: str, run: str) -> None:
        mono = round(EPOCH_S * SECOND)
        self.writer = writer
        self.first = Segment(
            v=VERSION, writer=writer, run=run, boot="virtual", host="virtual", pid=1, mono=mono, wall=WALL
        )
        self.events: list[Event] = []
        self._followed = 0

    def write(self, event: Event, at_once: bool = False) -> None:
        del at_once
        self.events.append(event)

    def new(self) -> Iterator[Event]:
        while self._followed < len(self.events):
            self._followed += 1
            yield self.events[self._followed - 1]


class Recorded:
    """The history of one simulated run."""

    def __init__(self, run: str) -> None:
        self.owner, self.load, self.recorder, self.warden = (
            Segmented(name, run) for name in ("owner", "load", "recorder", "warden")
        )
        self.segments = (self.owner, self.load, self.recorder, self.warden)

    def history(self) -> History:
        events: list[Timed] = []
        contract = None
        for event in (
            event for segment in sorted(self.segments, key=lambda one: one.writer) for event in segment.events
        ):
            if isinstance(event, Contract):
                contract = event
            elif isinstance(event, Timed):
                events.append(event)
        events.sort(key=lambda event: (event.hi, event.lo))
        return History([segment.first for segment in self.segments], contract, events, [])

    def files(self) -> dict[str, bytes]:
        """The same as the files of a history, by name."""
        encode = msgspec.json.Encoder().encode
        return {
            f"{segment.writer}.jsonl": b"".join(encode(event) + b"\n" for event in (segment.first, *segment.events))
            for segment in self.segments
        }

    def save(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(data)
