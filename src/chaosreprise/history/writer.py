"""One segment, one writer: JSON lines, appended.

`submit` reaches the kernel before the caller goes on; everything else may wait up to 20 ms, so that recording costs
the load almost nothing. A line is written whole or, if the machine or the process dies in it, torn at the very end.
"""

import json
import os
import pathlib
import socket
import threading
import time
from typing import Any, Protocol, Self

import msgspec

from chaosreprise import hidden
from chaosreprise.errors import RunBroken
from chaosreprise.history.events import VERSION, Event, Segment
from chaosreprise.paths import boot_id

BATCH_S = 0.02
WORDS = ("error", "result", "why", "say")
"""What is somebody's own words in a line; all else are names, which may happen to be somebody's password."""


class Recording(Protocol):
    """What events are written to."""

    def write(self, event: Event, at_once: bool = False) -> None: ...


class Writer:
    """Appends events to `<folder>/<writer>.jsonl`, from any thread.

    Raises RunBroken when the segment exists already or can't be written (a full disk, no rights).
    """

    def __init__(self, folder: pathlib.Path, writer: str, run: str) -> None:
        self.path = folder / f"{writer}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._broken(error) from error
        self._encode = msgspec.json.Encoder().encode
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._closing = threading.Event()
        self._error: OSError | None = None
        mono, wall = time.monotonic_ns(), time.time_ns()
        self.write(
            Segment(
                v=VERSION,
                writer=writer,
                run=run,
                boot=boot_id(),
                host=socket.gethostname(),
                pid=os.getpid(),
                mono=mono,
                wall=wall,
            ),
            at_once=True,
        )
        self._flusher = threading.Thread(target=self._flush_regularly, name=f"history {writer}", daemon=True)
        self._flusher.start()

    def write(self, event: Event, at_once: bool = False) -> None:
        """Record an event; with `at_once` it is in the kernel, behind all earlier ones, when this returns."""
        line = self._encode(event)
        if hidden.holds(line):
            line = self._encode(_without_secrets(json.loads(line)))
        with self._lock:
            self._lines.append(line)
            if at_once or self._error is not None:
                self._flush()

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            self._flusher.join()
            self.flush()
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush_regularly(self) -> None:
        while not self._closing.wait(BATCH_S):
            with self._lock:
                try:
                    self._flush()
                except RunBroken:
                    return  # the next write of the owner raises it

    def _flush(self) -> None:
        if self._error is not None:
            raise self._broken(self._error)
        if not self._lines:
            return
        data = memoryview(b"\n".join(self._lines) + b"\n")
        self._lines.clear()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._error = error
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> RunBroken:
        return RunBroken(
            f"{self.path}: can't be written ({error.strerror}), so this run proves nothing: make room, or set REPRISE_RUNS to another folder"
        )


def _without_secrets(line: dict[str, Any]) -> dict[str, Any]:
    for part in (line, line.get("fields") or {}):
        part |= {name: hidden.without(part[name]) for name in WORDS if isinstance(part.get(name), str)}
    return line
