"""What sessions do."""

from chaosreprise.run.current import activity

__all__ = ["answer"]


def answer() -> bool:
    """True when a step on the canary of every agent is answered, each with its own key; where no steps can be run, a read."""
    with activity() as run:
        return all(outcome == "ok" for outcome in run.canaries("answers").values())
