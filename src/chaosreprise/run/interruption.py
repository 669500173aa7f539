"""What asks this process to stop while an experiment runs: SIGINT, SIGTERM, SIGHUP (a closed terminal), SIGUSR1, SIGUSR2.

A signal is noted, the warden is told in the same instant, and then it is handed to Chaos Toolkit, whose handlers raise.
What they raise can get lost on its way (an activity swallows it on Python 3.11, logging anywhere), so a timer raises it
again until Chaos Toolkit knows, every hook looks at the note, and a run with a note is never true. The timer ticks from the
beginning: only the main thread runs handlers, and a signal that comes just before it begins to wait, or to another thread,
does not end its waiting. While `held`, when only healing, judging and writing are left, a signal is noted and nothing else:
who can't wait has SIGKILL, and then the warden undoes.
"""

import atexit
import contextlib
import logging
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

AGAIN_S, TICK_S = 0.1, 0.25  # once somebody wants an end; before
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
        if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:  # else somebody else's timer
            atexit.register(self._stop_timer)  # when Python ends, handlers go first, and the timer would kill it
            self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)

    def restore(self) -> None:
        self.installed = False
        self._stop_timer()
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def check(self) -> None:
        """Raise what was lost on its way. Not while an error is under way already, and not once Chaos Toolkit knows."""
        if self._lost() and sys.exception() is None:
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
            return
        if signal.SIGALRM in self._previous:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
            if _is_logging(frame):
                return
        if callable(previous := self._previous.get(signal.Signals(number))):
            previous(number, frame)
        else:
            raise InterruptExecution(f"{name} received")

    def _again(self, _: int, frame: FrameType | None) -> None:
        if self._lost() and sys.exception() is None and not _is_logging(frame):
            raise InterruptExecution(f"interrupted by {self.by}")

    def _lost(self) -> bool:
        """Somebody wants an end, and nobody who could end it knows."""
        return self.by is not None and not self.held and self.journal.get("status") != "interrupted"

    def _stop_timer(self) -> None:
        if signal.SIGALRM in self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _is_logging(frame: FrameType | None) -> bool:
    """Whether the main thread is in the middle of logging, which swallows errors."""
    while frame is not None:
        if frame.f_code.co_filename == logging.__file__:
            return True
        frame = frame.f_back
    return False


def _say(text: str) -> None:
    """Not by way of logging or print: the signal may have come in the middle of them."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


interruption = Interruption()
