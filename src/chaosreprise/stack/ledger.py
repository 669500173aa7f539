"""slots.jsonl: what the keeper did and saw, one line a change, one write each, as a cluster's events would tell it."""

import os
import pathlib
from typing import Any, Literal

import msgspec

from chaosreprise.paths import boot_id
from chaosreprise.procs import Incarnation

FILE = "slots.jsonl"
Mark = Literal["made", "up", "down", "gone", "crash", "back"]


class Ledger:
    """Appends to `folder/slots.jsonl`. `t` is CLOCK_MONOTONIC in ns: just after a process was made or was seen dead."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._fd = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._write({"v": 1, "boot": boot_id()})

    def slot(self, mark: Mark, slot: str, gen: int, inc: Incarnation | None, t: int, spec: Any = None) -> None:
        """`spec` is told with `made` only."""
        self._write({"t": t, "mark": mark, "kind": "slot", "object": slot, "gen": gen, "inc": inc, "spec": spec})

    def component(self, mark: Mark, name: str, inc: Incarnation, t: int) -> None:
        """Components have no generation: the platform does not make them."""
        self._write({"t": t, "mark": mark, "kind": "component", "object": name, "gen": None, "inc": inc, "spec": None})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._fd, msgspec.json.encode(line) + b"\n")
