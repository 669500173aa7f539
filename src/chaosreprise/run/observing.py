"""Observe-only: the same experiment without its faults, to see what a platform does by itself. REPRISE_OBSERVE asks for it.

The same commands are sent at the same times to the same sessions. The warden is told to refuse every injection as well, so
that a slip in here breaks nothing. The verdict is never true: nothing was broken, so nothing was proven.
"""

import logging
import os
import time
from typing import Any

from chaosreprise.errors import BadInput, shown

VARIABLE = "REPRISE_OBSERVE"
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")
log = logging.getLogger("chaostoolkit")


def asked() -> bool:
    """Whether the environment asks for it. Raises BadInput for a word that might mean either: nothing is broken by a typo."""
    value = os.environ.get(VARIABLE, "")
    if value.lower() not in (*YES, *NO):
        raise BadInput(
            f"{VARIABLE} = {shown(value)}: expected 1 to observe only, or 0 to break what the experiment says"
        )
    return value.lower() in YES


class Pretender:
    """Answers as a warden does, and breaks nothing."""

    def __init__(self) -> None:
        self._on: dict[str, str] = {}

    def request(self, do: str, fault: str = "", kind: str = "", on: str = "", **_: Any) -> dict[str, Any]:
        now = time.monotonic_ns()
        if do == "inject":
            self._on[fault] = on
            log.info(f"observe   {kind} on {on} would begin now: nothing is broken")
        elif do == "undo" and fault in self._on:
            log.info(f"observe   {self._on.pop(fault)} would be made whole now")
        state = "proven" if fault in self._on else "clean"
        return {"state": state, "lo": now, "hi": now, "target": {}, "proof": {}, "observed_only": True}
