"""Where Reprise keeps things: the state directory of the user, the runs, the boot id.

State (faults ledger, locks, local stacks) lives in `$XDG_STATE_HOME/reprise`, by default `~/.local/state/reprise`
(XDG Base Directory Specification 0.8), mode 0700. Runs live in `$REPRISE_RUNS`, by default `./runs`.
"""

import functools
import os
import pathlib
import re

from chaosreprise.errors import BadInput


def state_path(*below: str) -> pathlib.Path:
    """Where the user's state directory is (or a folder below it), whether or not it is there: for who only looks."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(pathlib.Path.home(), ".local", "state")
    return pathlib.Path(base, "reprise", *below)


def state_dir(*below: str) -> pathlib.Path:
    """The user's state directory (or a folder below it), made if absent with mode 0700."""
    folder = state_path(*below)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{folder}: can't make the state directory ({error.strerror}): set XDG_STATE_HOME to a folder that you may write"
        ) from error
    return folder


def runs_root() -> pathlib.Path:
    return pathlib.Path(os.environ.get("REPRISE_RUNS") or "runs").absolute()


def slug(text: str) -> str:
    """A name that is safe as one path component."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


@functools.cache
def boot_id() -> str:
    """The kernel's id of this boot: stamps of CLOCK_MONOTONIC compare only within one."""
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
