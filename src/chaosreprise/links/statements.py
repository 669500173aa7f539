"""What a text of SQL does to the transaction that it runs in, by its words: so a commit is known before the server has seen it."""

import functools
import re

# What may hold a semicolon or a word that is none: comments, texts, names, dollar quotes. One without an end goes to the end.
QUOTED = re.compile(
    r"--[^\n]*+|/\*.*?(?:\*/|\Z)|\b[eE]'(?:[^'\\]|''|\\.)*+(?:'|\Z)|'[^']*+(?:'|\Z)|\"[^\"]*+(?:\"|\Z)"
    r"|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)",
    re.DOTALL,
)
READING = (
    "SELECT SHOW SET RESET DISCARD FETCH MOVE CLOSE DECLARE EXPLAIN PREPARE DEALLOCATE LISTEN UNLISTEN VALUES TABLE "
    "LOCK SAVEPOINT RELEASE CHECKPOINT LOAD"
)
READS = frozenset(READING.split())
AROUND = frozenset({"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"})
CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE)\b")
REMEMBERED = 2000  # characters of a text


def deeds(text: str) -> tuple[str, ...]:
    """For each statement of a text: `begin`, `commit`, `end` (without a commit), `write` or `read`."""
    return _remembered(text) if len(text) <= REMEMBERED else _deeds(text)


def writes(tag: str) -> bool:
    """Whether what the server calls done, such as `INSERT 0 1`, may have changed anything."""
    return tag not in AROUND and tag.partition(" ")[0] not in READS


def _deeds(text: str) -> tuple[str, ...]:
    bare = QUOTED.sub(" ", text).upper()
    return tuple(_deed(words) for part in bare.split(";") if (words := part.split()))


_remembered = functools.lru_cache(maxsize=256)(_deeds)


def _deed(words: list[str]) -> str:
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first == "BEGIN" or (first, second) == ("START", "TRANSACTION"):
        return "begin"
    if first in {"COMMIT", "END"}:
        return "write" if second == "PREPARED" else "commit"
    if first == "ABORT" or (first, second) == ("PREPARE", "TRANSACTION"):
        return "end"
    if first == "ROLLBACK":
        return "read" if "TO" in words[1:4] else "end"
    if first == "WITH":
        return "write" if CHANGES.search(" ".join(words)) else "read"
    return "read" if first in READS else "write"
