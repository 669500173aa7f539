"""The sessions that this run made: faults on their processes, and their end.

A fault hits `count` running sessions of one agent, by default the one that the seed draws, and nobody else's.
"""

from typing import Any

from chaosreprise.run.current import activity, inject, undo

__all__ = ["clean", "crash", "pause", "restart", "resume"]


def clean() -> dict[str, Any]:
    """Stop every session of this run but one canary an agent, and wait until the platform has settled.

    Returns how many were stopped, and the seconds that took, as `settled_s`.
    """
    with activity() as run:
        return run.clean()


def crash(agent: str = "", count: int = 1, in_flight: bool = False) -> list[dict[str, Any]]:
    """Kill the processes of sessions with SIGKILL; their supervisor starts them again, and this returns when they run.

    `in_flight`: just before, commands are sent for the sessions of their agent, until as many of each kind as the
    experiment wants exposed are under way.
    """
    return inject("sessions.crash", agent=agent, count=count, in_flight=in_flight)


def restart(agent: str = "", count: int = 1, in_flight: bool = False) -> list[dict[str, Any]]:
    """Ask the processes of sessions to end with SIGTERM; as `crash` otherwise."""
    return inject("sessions.restart", agent=agent, count=count, in_flight=in_flight)


def pause(agent: str = "", count: int = 1, hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Freeze sessions until `resume`; `hold_s` is the longest planned time in seconds."""
    return inject("sessions.pause", agent=agent, count=count, hold_s=hold_s)


def resume() -> list[dict[str, Any]]:
    """Wake the sessions that were paused. Nothing when none is."""
    return undo("sessions")
