"""What moves along a direction: chunks of bytes, and, where messages are read, which of them a chunk belongs to."""

from typing import Any


class Frame:
    """A message: `about` is what the feed tells of it, beside `text`; `whole` if all of it is in this one unit."""

    __slots__ = ("about", "commits", "complete", "sealed", "statements", "text", "whole", "wrote")

    def __init__(self, what: str, text: str | None = None, whole: bool = True, **about: Any) -> None:
        self.about: dict[str, Any] = {"what": what, **about}
        self.text = text
        self.whole = whole
        self.complete = True  # False while fragments of it are still to come
        # PostgreSQL: it asks for a commit, or says that it is done; the transaction has written, and by which statements;
        # it tells of a statement whose commit was asked for already
        self.commits = self.wrote = self.sealed = False
        self.statements: tuple[str, ...] = ()


class Chunk:
    """Bytes that arrived together, and when (nanoseconds of CLOCK_MONOTONIC).

    Where toxics act on messages it is a message, or a part of one, and `ends` says whether one ends with it.
    """

    __slots__ = ("data", "ends", "frame", "stamp")

    def __init__(self, data: bytes, stamp: int, frame: Frame | None = None, ends: bool = False) -> None:
        self.data = data
        self.stamp = stamp
        self.frame = frame
        self.ends = ends
