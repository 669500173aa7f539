"""Commands of the load for the sessions of agents that are away, at once or at a moment (docs/moments.md)."""

from typing import Any

from chaosreprise.run import current
from chaosreprise.run.current import At

__all__ = ["send"]


def send(seconds: float = 6.0, share: float = 1.0, at: At = None) -> dict[str, Any]:
    """Send hibernate-stop, wake-stop and start-stop pairs at seeded times, for `seconds`.

    They go to the reserve of the agents that are proven away at this moment, or of all where something else is broken, and
    use up this `share` of it; fails when nothing is. `at`: only when its moment has come, and fails when it does not.
    Returns how many of each kind the platform accepted.
    """
    return current.send(**locals())
