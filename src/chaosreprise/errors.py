"""The one tree of exceptions that Reprise raises on purpose.

Each message is one sentence that a person can act on: the value, what is wrong, what to do next. The doors
(`controls`, `cli`, probes and actions) map the tree to Chaos Toolkit's exceptions and to exit codes; nothing else does.

    RepriseError
    ├── BadInput        an experiment, platform file, history or environment that can't be used
    ├── NotPossible     this platform offers no way to do it
    ├── NotAllowed      the platform file, the budget or a lock forbids it
    ├── Unreachable     the platform, a stack or a process of ours does not answer
    ├── NotProven       a fault was injected and could not be seen to bite; it has been undone
    └── RunBroken       the run lost a part of itself: no verdict but unknown
"""


class RepriseError(Exception):
    """Base of everything that is raised on purpose. `str(error)` is the sentence to show."""

    code = "failed"


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
