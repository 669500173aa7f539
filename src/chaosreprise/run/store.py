"""A folder of runs, such as `runs/`: what each verdict.json in it tells, for `chaos reprise compare`.

A run that has none, or half of one, is told in a sentence and never taken for one that found nothing.
"""

import json
import os
import pathlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from chaosreprise.errors import BadInput
from chaosreprise.report import nights
from chaosreprise.report.nights import Night
from chaosreprise.run.directory import Directory

NAME = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")  # of a run's directory
DEEPEST = 4  # folders below the store: artifacts of a CI system lie in some of their own


def told(folder: pathlib.Path) -> Any:
    """The verdict.json of a run's directory. Raises BadInput, with what is left of it."""
    directory = Directory(folder).shown
    try:
        return json.loads((folder / "verdict.json").read_text())
    except OSError as error:
        raise BadInput(
            f"it has no verdict.json ({error.strerror}): `chaos reprise recheck {directory}` judges what it recorded"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"its verdict.json is none: `chaos reprise recheck {directory}` makes it again") from error


def read(store: pathlib.Path, experiment: str = "") -> list[Night]:
    """All runs below a folder, of one experiment by its name. Raises BadInput where there are none."""
    if not store.is_dir():
        raise BadInput(f"{store}: no folder: give one that holds runs, such as runs")
    found = [_night(folder.absolute()) for folder in _runs(store)]
    of = [night for night in found if experiment in ("", night.experiment)]
    if not of:
        others = ", ".join(sorted({night.experiment for night in found}))
        what = f" of {experiment} (there are {others})" if others else ""
        raise BadInput(f"{store}: no run{what} is in it: `chaos run` leaves one in $REPRISE_RUNS, by default runs")
    return of


def _runs(store: pathlib.Path) -> Iterator[pathlib.Path]:
    for path, folders, files in os.walk(store):
        here = pathlib.Path(path)
        if NAME.fullmatch(here.name) or "verdict.json" in files:
            yield here
            folders.clear()
        elif len(here.relative_to(store).parts) >= DEEPEST:
            folders.clear()
        folders.sort()


def _night(folder: pathlib.Path) -> Night:
    directory = str(Directory(folder).shown)
    try:
        return nights.night(told(folder), directory)
    except BadInput as error:
        name = NAME.fullmatch(folder.name)
        began = datetime.strptime(name[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() if name else 0.0
        return Night(directory=directory, run=folder.name, experiment=folder.parent.name, started=began, why=str(error))
