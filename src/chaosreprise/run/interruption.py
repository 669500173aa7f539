"""What asks this process to stop while an experiment runs: SIGINT, SIGTERM, SIGHUP (a closed terminal), SIGUSR1, SIGUSR2.

A signal is noted, the warden is told in the same instant, and then it is handed to Chaos Toolkit, whose handlers raise.
What they raise can get lost on its way (an activity swallows it on Python 3.11, logging anywhere), so every hook looks at
the note again, and a run with a note is never true. While `held`, when only healing, judging and writing are left, a
signal is noted and nothing else: who can't wait has SIGKILL, and then the warden undoes.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from chaoslib.exceptions import InterruptExecution

from chaosreprise.errors import RunBroken

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
Do = Callable[[], None]


def _nothing() -> None:
    pass


class Interruption:
    """The note. `by` is the name of the first signal, `at` when it came (CLOCK_MONOTONIC, ns).

    `at_once` runs inside the signal handler: it must neither wait nor take a lock. `journal` is Chaos Toolkit's, which
    says whether the interruption has arrived there.
    """

    def __init__(self) -> None:
        self.installed = False
        self._previous: dict[signal.Signals, Any] = {}
        self._forget()

    def install(self) -> None:
        """Begin to listen, for a new experiment. What is ignored stays so: `nohup`, a job in the background."""
        self._forget()
        self.installed = True
        if threading.current_thread() is not threading.main_thread():
            return  # signals are the main thread's; Chaos Toolkit runs nowhere else either
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN and number not in self._previous:
                self._previous[number] = signal.signal(number, self._caught)

    def restore(self) -> None:
        self.installed = False
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def check(self) -> None:
        """Raise what was lost on its way. Not while an error is under way already, and not once Chaos Toolkit knows."""
        if self.by and sys.exception() is None and self.journal.get("status") != "interrupted":
            raise InterruptExecution(f"interrupted by {self.by}")

    @contextlib.contextmanager
    def breaking(self) -> Iterator[None]:
        """While held: a signal ends what is waited for in here, by RunBroken."""
        self._breaks = True
        try:
            yield
        finally:
            self._breaks = False

    def _forget(self) -> None:
        self.by: str | None = None
        self.at = 0
        self.at_once: Do = _nothing
        self.journal: dict[str, Any] = {}
        self.held = self._breaks = False

    def _caught(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.by is None:
            self.by, self.at = name, time.monotonic_ns()
        self.at_once()
        if self._breaks:
            raise RunBroken(f"interrupted by {name}")
        if self.held:
            _say(
                f"{name}: what is broken is being undone, then the verdict is written (kill -9 {os.getpid()} ends it now)"
            )
        elif callable(previous := self._previous.get(signal.Signals(number))):
            previous(number, frame)
        else:
            raise InterruptExecution(f"{name} received")


def _say(text: str) -> None:
    """Not by way of logging or print: the signal may have come in the middle of them."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


interruption = Interruption()
