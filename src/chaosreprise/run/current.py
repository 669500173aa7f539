"""The one run that is open in this process: what the control opens, and probes and actions act on.

An action or probe without an open run fails: that is what makes an experiment whose control is missing, or raised, end
without a pass.
"""

import contextlib
from collections.abc import Iterator

from chaoslib.exceptions import ActivityFailed

from chaosreprise.errors import RepriseError
from chaosreprise.run.run import Run

_open: list[Run] = []


def opened(run: Run) -> None:
    _open.append(run)


def closed() -> None:
    _open.clear()


def current() -> Run | None:
    return _open[-1] if _open else None


@contextlib.contextmanager
def activity() -> Iterator[Run]:
    """The open run for a probe or an action; every error raised on purpose becomes ActivityFailed, in its own words."""
    if (run := current()) is None:
        raise ActivityFailed(
            "no run of Reprise is open: the experiment needs the control chaosreprise.controls, and it must have opened"
        )
    try:
        yield run
    except (RepriseError, TimeoutError) as error:
        raise ActivityFailed(str(error) or repr(error)) from error
