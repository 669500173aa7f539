"""The directory of a run: `<runs>/<experiment>/<UTC time>-<4 hex>/`, whose name carries the run's id, and `<runs>/latest`.

plan.json  history/  faults.jsonl  journal.json  verdict.json  report.html  report.md  junit.xml  metrics.prom  logs/
"""

import contextlib
import json
import pathlib
import secrets
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from chaosreprise.errors import BadInput, RunBroken
from chaosreprise.paths import runs_root


class Directory:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.run = path.name
        self.history = path / "history"
        self.logs = path / "logs"

    @property
    def shown(self) -> pathlib.Path:
        """The path as a person would type it: relative where that is below the working directory."""
        here = pathlib.Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path

    def write_json(self, name: str, value: Any) -> None:
        """Write a file as a whole or not at all. Raises RunBroken when that is not possible."""
        text = json.dumps(value, indent=2, default=str) + "\n"
        self._as_a_whole(name, lambda new: new.write_text(text))

    def keep(self, name: str, source: pathlib.Path) -> None:
        """A copy of a file, if there is one. Raises RunBroken when it can't be made."""
        if source.exists():
            self._as_a_whole(name, lambda new: shutil.copyfile(source, new))

    def _as_a_whole(self, name: str, write: Callable[[pathlib.Path], object]) -> None:
        new = self.path / f".{name}.new"
        try:
            write(new)
            new.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise RunBroken(
                f"{self.path / name}: can't be written ({error.strerror}): make room, or set REPRISE_RUNS to another folder"
            ) from error


def make(experiment: str) -> Directory:
    """A new directory, and `latest` turned to it atomically. Raises BadInput when it can't be made."""
    root = runs_root()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    directory = Directory(root / experiment / name)
    try:
        for folder in (directory.history, directory.logs):
            folder.mkdir(parents=True)
        link = root / f".latest-{name}"
        link.symlink_to(directory.path.relative_to(root))
        link.replace(root / "latest")
    except OSError as error:
        raise BadInput(
            f"{directory.path}: the run's directory can't be made ({error.strerror}): set REPRISE_RUNS to a folder that you may write"
        ) from error
    return directory
