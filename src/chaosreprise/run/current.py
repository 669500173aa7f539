"""The one run that is open in this process: what the control opens, and probes and actions act on.

An action or probe without an open run fails and ends the experiment: that is what keeps an experiment whose control is
missing, or raised, from ending as if all were well. Chaos Toolkit alone would call it completed.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

from chaoslib.exceptions import ActivityFailed

from chaosreprise.errors import RepriseError
from chaosreprise.run import method
from chaosreprise.run.interruption import interruption
from chaosreprise.run.run import Run

log = logging.getLogger("chaostoolkit")
At = float | dict[str, Any] | None
"""What an action takes as `at`: seconds, or an object (docs/moments.md)."""
_open: list[Run] = []
_passed: list[bool] = []


def opened(run: Run) -> None:
    _open.append(run)


def closed(passed: bool) -> None:
    """The run is over; `passed` says whether a true verdict of it has been written and nothing speaks against it."""
    _open.clear()
    _passed[:] = [passed]


def passed() -> bool:
    return _passed == [True]


def current() -> Run | None:
    return _open[-1] if _open else None


@contextlib.contextmanager
def activity() -> Iterator[Run]:
    """The open run for a probe or an action; every error raised on purpose becomes ActivityFailed, in its own words."""
    if (run := current()) is None:
        _end_the_experiment()
    interruption.check()
    try:
        yield run
    except (RepriseError, TimeoutError) as error:
        raise ActivityFailed(str(error) or repr(error)) from error


def inject(kind: str, **given: Any) -> list[dict[str, Any]]:
    """A fault of the method, for its action."""
    with activity() as run:
        return run.inject(method.wanted(kind, given))


def send(**given: Any) -> dict[str, Any]:
    """Commands of the load, for its action."""
    with activity() as run:
        return run.send(given["seconds"], given["share"], method.batch(given))


def undo(group: str, which: str = "") -> list[dict[str, Any]]:
    """Undo what is on a group, for an action that may be a rollback too: without an open run there is nothing to undo."""
    if current() is None:
        return []
    with activity() as run:
        return run.undo(group, which)


def _end_the_experiment() -> NoReturn:
    """By chaoslib's own way out, SIGUSR1: its handler raises SystemExit, which no activity swallows, in the main thread."""
    say = "no run of Reprise is open: the experiment needs the control chaosreprise.controls, and it must have opened"
    if callable(signal.getsignal(signal.SIGUSR1)):
        log.error(say)
        os.kill(os.getpid(), signal.SIGUSR1)
    raise ActivityFailed(say)
