"""The one tree of exceptions that Reprise raises on purpose.

Each message is one sentence that a person can act on: the value, what is wrong, what to do next. It is one printable
line of bounded length whatever was put into it: a value may come from a stranger's file, a reason from a library. The
doors (`controls`, `cli`, probes and actions) map the tree to Chaos Toolkit's exceptions and to exit codes; nothing else does.

    RepriseError
    ├── BadInput        an experiment, platform file, history or environment that can't be used
    ├── NotPossible     this platform offers no way to do it
    ├── NotAllowed      the platform file, the budget or a lock forbids it
    ├── Unreachable     the platform, a stack or a process of ours does not answer
    ├── NotProven       a fault was injected and could not be seen to bite; it has been undone
    └── RunBroken       the run lost a part of itself: no verdict but unknown
"""

import contextlib
import json
import re
import sys

from chaosreprise import hidden

LONGEST = 500  # characters of a sentence
LONGEST_VALUE = 100  # characters of one value in it
CUT = "\u2026"


def sentence(text: str) -> str:
    """On one line, printable, and at most LONGEST long: what is longer loses its middle, since its end says what to do."""
    line = re.sub(r"\s*[\r\n]\s*", " ", hidden.without(text).strip())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    half = (LONGEST - len(CUT)) // 2
    return line if len(line) <= LONGEST else line[:half] + CUT + line[-half:]


def shown(value: object) -> str:
    """A value as it goes into a sentence: JSON, and not all of it when it is long."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (
        ValueError,
        TypeError,
        RecursionError,
    ):  # more digits than Python prints, keys that JSON has not, nested too deeply
        text = f"a {type(value).__name__}"
    text = hidden.without(text)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - len(CUT)] + CUT


def complain(error: object) -> None:
    """A line on standard error, which often is a log on the disk that has just got full: never a reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{hidden.without(str(error))}\n")


class RepriseError(Exception):
    """Base of everything that is raised on purpose. `str(error)` is the sentence to show."""

    code = "failed"

    def __str__(self) -> str:
        return sentence(super().__str__())


class BadInput(RepriseError):
    code = "bad-input"


class NotPossible(RepriseError):
    code = "not-possible"


class NotAllowed(RepriseError):
    code = "not-allowed"


class Unreachable(RepriseError):
    code = "unreachable"


class NotProven(RepriseError):
    code = "not-proven"


class RunBroken(RepriseError):
    code = "run-broken"
