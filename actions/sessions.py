"""The sessions that this run made."""

from typing import Any

from chaosreprise.run.current import activity

__all__ = ["clean"]


def clean() -> dict[str, Any]:
    """Stop every session of this run but one canary an agent, and wait until the platform has settled.

    Returns how many were stopped, and the seconds that took, as `settled_s`.
    """
    with activity() as run:
        return run.clean()
