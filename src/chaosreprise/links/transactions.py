"""What both directions of a PostgreSQL connection know together: what was asked, what is owed, and the transactions.

A commit is known twice: on its way to the server, by its words (`statements`), and done, by the server's own word. Of a
transaction block that is the tag COMMIT; of a statement without a block it is ReadyForQuery, since an error can come until then.
"""

import collections
from typing import NamedTuple

from chaosreprise.links import statements
from chaosreprise.links.reading import Blind
from chaosreprise.links.units import Frame

MOST_OWED = 100_000
MOST_STATEMENTS = 100  # of one transaction
TEXT_KEPT = 4096  # characters of a statement until its answer, or its transaction's end
IDLE, FAILED = "I", "E"  # the server's word for "in no transaction" and "in a failed one"


class Asked(NamedTuple):
    """`kind`: Q (query, of any number of statements), E (execute) or S (sync)."""

    kind: str
    text: str | None


class Transaction:
    """As far as one direction has got with it."""

    def __init__(self) -> None:
        self.in_block = self.failed = self.wrote = False
        self.statements: list[str] = []

    def begin(self) -> None:
        self.end()
        self.in_block = True

    def end(self) -> None:
        self.in_block = self.failed = self.wrote = False
        self.statements = []

    def add(self, text: str | None, writes: bool) -> None:
        self.wrote |= writes
        if text is not None and len(self.statements) < MOST_STATEMENTS:
            self.statements.append(text)

    def commit(self, frame: Frame) -> None:
        """This frame is its commit."""
        frame.commits, frame.wrote, frame.statements = True, self.wrote, tuple(self.statements)
        self.end()

    def went(self, status: str) -> None:
        """The server said where it is."""
        if status == IDLE:
            self.end()
        else:
            self.in_block, self.failed = True, status == FAILED


class Conversation:
    def __init__(self) -> None:
        self._asked, self._done = Transaction(), Transaction()
        self._owed: collections.deque[Asked] = collections.deque()
        self._ends = 0  # how many of what is owed are no E
        self._copies_in = False

    def ask(self, frame: Frame | None, kind: str, text: str | None) -> None:
        """The client asks for this; with a frame it is found out what that does to the transaction."""
        if len(self._owed) >= MOST_OWED:
            raise Blind(f"more than {MOST_OWED} PostgreSQL requests without an answer")
        kept = text and text[:TEXT_KEPT]
        self._owed.append(Asked(kind, kept))
        self._ends += kind != "E"
        if frame is None:
            return
        for deed in statements.deeds(text) if text is not None else ():
            self._do(frame, deed, kept)
        if kind != "E" and not self._asked.in_block and self._asked.statements:
            self._asked.commit(frame)

    def starts_copy(self) -> None:
        self._copies_in = True

    def ends_copy(self) -> None:
        """The server has passed over each sync that came while it took in rows (libpq sends one before and one after them)."""
        if self._copies_in:
            self._copies_in = False
            self._owed = collections.deque(one for one in self._owed if one.kind != "S")
            self._ends = sum(one.kind != "E" for one in self._owed)

    def answered(self) -> str | None:
        """One statement is done: its text. A query owes until the server is ready again."""
        if not self._owed:
            return None
        return self._owed.popleft().text if self._owed[0].kind == "E" else self._owed[0].text

    def complete(self, frame: Frame, tag: str) -> None:
        """The server has done one statement."""
        transaction = self._done
        if tag in {"BEGIN", "START TRANSACTION"}:
            transaction.begin()
        elif tag == "COMMIT":
            transaction.commit(frame)
        else:
            transaction.add(frame.text if frame.text is not None else tag, statements.writes(tag))
            # The commit has been asked for already, so its answer comes whatever the client does.
            frame.sealed = not transaction.in_block and self._ends > 0
            frame.wrote, frame.statements = transaction.wrote, tuple(transaction.statements)

    def ready(self, frame: Frame, status: str) -> None:
        """After an error the server has passed over what was asked before the sync."""
        if status == IDLE and not self._done.in_block and self._done.statements and not self._done.failed:
            self._done.commit(frame)
        self._copies_in = False
        while self._owed and self._owed.popleft().kind == "E":
            pass
        self._ends = max(self._ends - 1, 0)
        self._done.went(status)
        if not self._owed:
            self._asked.went(status)

    def fail(self) -> None:
        self._done.failed = True

    def _do(self, frame: Frame, deed: str, text: str | None) -> None:
        transaction = self._asked
        if deed == "begin":
            transaction.begin()
        elif deed == "commit" and not transaction.failed:
            transaction.commit(frame)
        elif deed in {"commit", "end"}:
            transaction.end()
        else:
            transaction.add(text, deed == "write")
