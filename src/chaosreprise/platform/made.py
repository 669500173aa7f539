"""Sessions that a run has made where nothing lists them: written down, so that somebody can end them when the run is dead.

They stand in the run's mark of litter, after its first line: one line before each create, one with what became of it, one for
each end. Where there is no mark the platform ends with the run, and they with it. A create of which nobody knows what became
may have made a session that nobody can name.
"""

import contextlib
import os
import pathlib
from typing import NamedTuple

import msgspec

from chaosreprise.errors import RunBroken
from chaosreprise.paths import slug, state_path

ASKED, MADE, NOT_MADE, ENDED = "asked", "made", "not made", "ended"


class Known(NamedTuple):
    """`left`: made, and not ended. `nameless`: of so many creates nobody knows what became of them."""

    made: list[str]
    left: list[str]
    nameless: int


def mark(platform: str, run: str) -> pathlib.Path:
    return state_path("litter", slug(platform), run)


class Made:
    """Of one run on a platform."""

    def __init__(self, platform: str, run: str) -> None:
        self._path = mark(platform, run)
        self._known: set[str] | None = None

    def asked(self) -> None:
        """A create is sent. Raises RunBroken where that can't be written down, as the others do."""
        self._say(ASKED)

    def answered(self, session: str | None) -> None:
        """It has made this one, or surely none."""
        self._say(MADE if session is not None else NOT_MADE, session or "")

    def ended(self, session: str) -> None:
        self._say(ENDED, session)

    def sessions(self) -> set[str] | None:
        """Those that were made, also once the mark is gone; None where nobody writes them down."""
        if self._path.exists():
            self._known = (self._known or set()) | set(self.known().made)
        return self._known

    def known(self) -> Known:
        said = [what for what, _ in self._lines()]
        named = {
            what: list(dict.fromkeys(name for one, name in self._lines() if one == what)) for what in (MADE, ENDED)
        }
        nameless = said.count(ASKED) - said.count(MADE) - said.count(NOT_MADE)
        return Known(named[MADE], [name for name in named[MADE] if name not in named[ENDED]], nameless)

    def _lines(self) -> list[tuple[str, str]]:
        try:
            whole = self._path.read_bytes().split(b"\n")[1:-1]
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=tuple[str, str]) for line in whole]

    def _say(self, what: str, session: str = "") -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
                with open(file, "wb", buffering=0) as mark:
                    mark.write(msgspec.json.encode((what, session)) + b"\n")
        except OSError as error:
            raise RunBroken(
                f"{self._path}: can't be written ({error.strerror}), and without it a session could be left behind: make room, "
                "or set XDG_STATE_HOME to another folder"
            ) from error
