"""The load as a whole: leave it running, or turn it off and wait until the platform has settled."""

from typing import Any

from chaosreprise.run.current import activity

__all__ = ["drain", "quiet"]


def quiet(seconds: float = 4.0) -> dict[str, Any]:
    """Leave the load on for `seconds` without a fault: recovery is measured here."""
    with activity() as run:
        return run.quiet(seconds)


def drain() -> dict[str, Any]:
    """Turn the load off and wait until nothing has happened for as long as the platform needs to settle.

    Returns the seconds that took, as `settled_s`.
    """
    with activity() as run:
        return run.drain()
