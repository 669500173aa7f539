"""The lab's own log: one JSON line an event in DIR/logs/lab.jsonl, with nanoseconds of CLOCK_MONOTONIC.

Benchmarks read it to say how exactly Reprise measures. It explains and never decides: no check may read it.
"""

import json
import os
import pathlib
import time


class LabLog:
    """Appends whole lines, one write each, so that several processes can share the file."""

    def __init__(self, folder: pathlib.Path) -> None:
        logs = folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(logs / "lab.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, event: str, **fields: str | int | float | None) -> None:
        os.write(self._fd, json.dumps({"t": time.monotonic_ns(), "event": event} | fields).encode() + b"\n")
