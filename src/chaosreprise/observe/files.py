"""Ledgers that are files: lines appended by somebody else, followed from outside.

A file that shrank, was replaced or vanished is a gap from the last good look to this one; what it holds then is skipped,
because lines that were read before would count twice. A file not yet made in a watched folder is covered and empty.
A torn last line waits for its end.
"""

import asyncio
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from chaosreprise.clock import Clock
from chaosreprise.errors import Unreachable
from chaosreprise.history import Coverage, Timed
from chaosreprise.observe.source import Emit, sample


class Seen(NamedTuple):
    """A complete line, the object (folder) that it belongs to, and between which two looks it appeared."""

    object: str
    line: bytes
    lo: int
    hi: int


Parse = Callable[[Seen], Timed | None]
"""A line as an event; None for a line of somebody else. Raises ValueError for a line that nobody can read."""


class FileTail:
    """Follows one append-only file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._inode = 0
        self._offset = 0

    def read(self) -> tuple[list[bytes], str | None]:
        """The lines completed since the last call, and the reason for a gap between the two calls, if there is one."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            gap = f"{self.path.name} vanished ({error.strerror})" if self._inode else None
            self._inode = self._offset = 0
            return [], gap
        gap = None
        if self._inode and status.st_ino != self._inode:
            gap = f"{self.path.name} was replaced"
        elif status.st_size < self._offset:
            gap = f"{self.path.name} shrank"
        self._inode = status.st_ino
        if gap:
            self._offset = status.st_size
            return [], gap
        if status.st_size == self._offset:
            return [], None
        try:
            return self._new_lines(), None
        except OSError as error:
            return [], f"{self.path.name} can't be read ({error.strerror})"

    def _new_lines(self) -> list[bytes]:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        return data[:whole].splitlines()


class FileSource:
    """One ledger in one file."""

    def __init__(self, name: str, path: pathlib.Path, hz: float, parse: Parse) -> None:
        self.name = name
        self._tail = FileTail(path)
        self._hz = hz
        self._parse = parse

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            del last
            lines, gap = self._tail.read()
            if not gap and not self._tail.path.is_file():
                gap = (
                    f"{self._tail.path} is not there"
                    if not self._tail.path.exists()
                    else f"{self._tail.path} is no file"
                )
            emit_lines(self.name, lines, since, clock.now(), self._parse, emit)
            if gap:
                raise Unreachable(gap)

        await sample(self.name, self._hz, clock, emit, stop, look)


class FolderSource:
    """One ledger in many files: `<folder>/<object>/<file>`, where objects come and go."""

    def __init__(self, name: str, folder: pathlib.Path, file: str, hz: float, parse: Parse) -> None:
        self.name = name
        self._folder = folder
        self._file = file
        self._hz = hz
        self._parse = parse
        self._tails: dict[str, FileTail] = {}

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        async def look(since: int, last: bool) -> None:
            del last
            try:
                names = [entry.name for entry in os.scandir(self._folder) if entry.is_dir()]
            except FileNotFoundError as error:
                only = "make it, if the platform does so only with its first session"
                raise Unreachable(f"{self._folder} is not there: {only}") from error
            except OSError as error:
                raise Unreachable(f"{self._folder} can't be listed ({error.strerror})") from error
            for name in {*names, *self._tails}:
                tail = self._tails.get(name)
                if tail is None:
                    tail = self._tails[name] = FileTail(self._folder / name / self._file)
                lines, gap = tail.read()
                now = clock.now()
                if gap:
                    emit(Coverage(lo=since, hi=now, of=f"{self.name}/{name}", on=False, why=gap))
                    emit(Coverage(lo=now, hi=now, of=f"{self.name}/{name}", on=True, why="watching again"))
                emit_lines(f"{self.name}/{name}", lines, since, now, self._parse, emit)

        await sample(self.name, self._hz, clock, emit, stop, look)


def emit_lines(of: str, lines: list[bytes], lo: int, hi: int, parse: Parse, emit: Emit) -> None:
    """Emit what the lines say; a line that can't be read is a gap of that moment, since it may have been any effect."""
    for line in lines:
        try:
            event = parse(Seen(of.rpartition("/")[2], line, lo, hi))
        except ValueError as error:
            emit(Coverage(lo=lo, hi=hi, of=of, on=False, why=f"a line can't be read: {error}"))
            emit(Coverage(lo=hi, hi=hi, of=of, on=True, why="watching again"))
        else:
            if event is not None:
                emit(event)
