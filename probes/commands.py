"""What commands do."""

from chaosreprise.run.current import activity

__all__ = ["complete"]


def complete() -> bool:
    """True when the canary of every agent can be hibernated and woken. Fails when one does not get there in 30 s."""
    with activity() as run:
        return all(state == "running" for state in run.canaries("cycle").values())
