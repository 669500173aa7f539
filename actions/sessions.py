"""The sessions that this run made: faults on their processes, and their end.

A fault hits `count` running sessions of one agent, by default the one that the seed draws, and nobody else's.
Each takes `at`, the moment at which it strikes (docs/moments.md): seconds, a phase, or what happens to a command.
"""

from typing import Any

from chaosreprise.run.current import At, activity, inject, undo

__all__ = [
    "clean",
    "cpu_hog",
    "crash",
    "crash_loop",
    "descriptors",
    "memory_limit",
    "pause",
    "relieve",
    "restart",
    "resume",
]


def clean() -> dict[str, Any]:
    """Stop every session of this run but one canary an agent, and wait until the platform has settled.

    Returns how many were stopped, and the seconds that took, as `settled_s`.
    """
    with activity() as run:
        return run.clean()


def crash(agent: str = "", count: int = 1, in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Kill the processes of sessions with SIGKILL; their supervisor starts them again, and this returns when they run.

    `in_flight`: just before, commands are sent for the sessions of their agent, until as many of each kind as the
    experiment wants exposed are under way.
    """
    return inject("sessions.crash", **locals())


def restart(agent: str = "", count: int = 1, in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Ask the processes of sessions to end with SIGTERM; as `crash` otherwise."""
    return inject("sessions.restart", **locals())


def pause(agent: str = "", count: int = 1, hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Freeze sessions until `resume`; `hold_s` is the longest planned time in seconds."""
    return inject("sessions.pause", **locals())


def resume() -> list[dict[str, Any]]:
    """Wake the sessions that were paused. Nothing when none is."""
    return undo("sessions")


def crash_loop(
    agent: str = "", count: int = 1, hold_s: float = 60.0, every_s: float = 0.5, at: At = None
) -> list[dict[str, Any]]:
    """Kill sessions each time they have come back and lived for `every_s` seconds, until `relieve`."""
    return inject("sessions.crash_loop", **locals())


def cpu_hog(
    agent: str = "", count: int = 1, hold_s: float = 60.0, hogs: int = 3, at: At = None
) -> list[dict[str, Any]]:
    """Let sessions share one processor with `hogs` busy processes each, until `relieve`."""
    return inject("sessions.cpu_hog", **locals())


def memory_limit(
    agent: str = "", count: int = 1, hold_s: float = 60.0, mib: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Let sessions take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("sessions.memory_limit", **locals())


def descriptors(
    agent: str = "", count: int = 1, hold_s: float = 60.0, spare: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Use up the file descriptors of sessions but for `spare`, until `relieve`."""
    return inject("sessions.descriptors", **locals())


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on sessions. Nothing when nothing is."""
    return undo("sessions")
