"""Toxics of our own on commits in PostgreSQL's protocol, one class each: the two moments at which a client can't know what became of it.

A commit is that of a transaction block, or of statements without one. Without `statement` only a transaction that has
written anything is meant; with it, one that has a statement which contains that text.
"""

import dataclasses
from typing import ClassVar

from chaosreprise.links.messages import Counted
from chaosreprise.links.stage import CUT, END, RESET, TAKE, Behaviour, Interrupted, Put, State
from chaosreprise.links.toxics import NoOp
from chaosreprise.links.units import Chunk, Frame


@dataclasses.dataclass
class OnCommits(Counted):
    statement: str = ""

    def matches(self, frame: Frame) -> bool:
        return any(self.statement in one for one in frame.statements) if self.statement else frame.wrote

    def is_meant(self, state: State, frame: Frame) -> bool:
        return frame.commits and self.matches(frame) and self.counts(state.tally)


@dataclasses.dataclass
class CommitLost(OnCommits):
    """The server has committed; its answer is dropped, and the connection closed."""

    only: ClassVar[str] = "downstream"

    def pipe(self, state: State) -> Behaviour:
        held: list[Chunk] = []  # the end of a statement without a block, until the server says that it is committed
        try:
            while chunk := (yield TAKE):
                frame = chunk.frame
                if frame and self.is_meant(state, frame):
                    state.bite("committed, and its answer dropped", frame)
                    return CUT
                held.append(chunk)
                while held and not self._waits(held):
                    yield Put(held.pop(0))
        except Interrupted:
            for one in held:
                yield Put(one)
            raise
        return END

    def _waits(self, held: list[Chunk]) -> bool:
        """The first may be the answer of what is not known to be committed: an error, or the server's being ready, will tell."""
        first, last = held[0].frame, held[-1].frame
        if first is None or not first.sealed or not self.matches(first):
            return False
        return last is None or last.about["what"] not in {"error", "ready"}


@dataclasses.dataclass
class ResetInCommit(OnCommits):
    """The connection is reset when the client asks for the commit, and the server never hears of that."""

    only: ClassVar[str] = "upstream"

    def pipe(self, state: State) -> Behaviour:
        last: Frame | None = None
        while chunk := (yield TAKE):
            if chunk.frame and chunk.frame is not last and self.is_meant(state, chunk.frame):
                state.bite("reset before its commit", chunk.frame)
                return RESET
            last = chunk.frame
            yield Put(chunk)
        return END


KINDS: dict[str, type[NoOp]] = {"pg_commit_lost": CommitLost, "pg_reset_in_commit": ResetInCommit}
