"""The verdict on what this run has recorded so far."""

from chaosreprise.run.current import activity

__all__ = ["value"]


def value() -> str:
    """The verdict: `true`, `false` or `unknown`.

    Before the method: whether the baseline shows what it must and nothing is violated. During it: only what can't be taken
    back. After it: every check that the experiment requires. The control judges once more at the very end.
    """
    with activity() as run:
        return run.judge().value
