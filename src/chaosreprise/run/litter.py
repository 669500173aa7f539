"""Sessions that a run made and could not stop because it was killed: the next run on the platform stops them first.

A run leaves a mark in the user's state directory before its first session, and takes it away after its last one is
stopped. Only sessions of runs with a mark are touched: a tag alone may be that of somebody else's run.
"""

import pathlib

from chaosreprise.paths import slug, state_dir


def mark(platform_id: str, run: str) -> pathlib.Path:
    """Say that this run may leave sessions; remove the file when it surely does not."""
    path = state_dir("litter", slug(platform_id)) / run
    path.touch(mode=0o600)
    return path


def left(platform_id: str) -> list[pathlib.Path]:
    """The marks of earlier runs, whose names are those of the runs. Call it while holding the platform's lock."""
    return sorted(state_dir("litter", slug(platform_id)).iterdir())
