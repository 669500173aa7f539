"""Commands of the load for the sessions of agents that are away."""

from typing import Any

from chaosreprise.run.current import activity

__all__ = ["send"]


def send(seconds: float = 6.0) -> dict[str, Any]:
    """Send hibernate-stop, wake-stop and start-stop pairs at seeded times, for `seconds`.

    They go to the reserve of the agents that are proven away at this moment; fails when none is. Returns how many of each
    kind the platform accepted.
    """
    with activity() as run:
        return run.send(seconds)
