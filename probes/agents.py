"""What the platform says of its agents."""

from chaosreprise.run.current import activity

__all__ = ["are_online"]


def are_online() -> bool:
    """True when the platform reports every planned agent online. Fails when nobody watches the platform any more."""
    with activity() as run:
        return all(state == "online" for state in run.agents_online().values())
