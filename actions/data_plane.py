"""Faults on the data plane of a sandbox. The warden makes and undoes them; they return when they are proven, and fail, undone, when not.

`hold_s` is the longest planned time in seconds until the undo. Each takes `at`, the moment at which it strikes (docs/moments.md).
"""

from typing import Any

from chaosreprise.run.current import At, inject, undo

__all__ = [
    "bring_back",
    "cpu_hog",
    "crash",
    "crash_loop",
    "cut_registry",
    "descriptors",
    "memory_limit",
    "pause",
    "relieve",
    "restart",
    "resume",
    "take_away",
]


def take_away(hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Kill the data plane and keep it down until `bring_back`."""
    return inject("data-plane.take_away", **locals())


def bring_back() -> list[dict[str, Any]]:
    """Let the data plane start again; returns when it is ready. Nothing when it is not away."""
    return undo("data-plane")


def crash(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Kill the data plane with SIGKILL; its supervisor starts it again, and this returns when it is ready.

    `in_flight`: just before, as many steps are sent as the experiment wants exposed, and it is killed while they are under way.
    """
    return inject("data-plane.crash", **locals())


def restart(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Ask the data plane to end (SIGTERM); as `crash` otherwise."""
    return inject("data-plane.restart", **locals())


def pause(hold_s: float = 60.0, in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Freeze the data plane until `resume`. `in_flight`: with steps under way, as `crash`."""
    return inject("data-plane.pause", **locals())


def resume() -> list[dict[str, Any]]:
    """Wake the data plane. Nothing when it is not paused."""
    return undo("data-plane")


def crash_loop(hold_s: float = 60.0, every_s: float = 0.5, at: At = None) -> list[dict[str, Any]]:
    """Kill the data plane each time it has come back and lived for `every_s` seconds, until `relieve`."""
    return inject("data-plane.crash_loop", **locals())


def cut_registry(keep: float = 0.5, in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Kill the data plane and cut its registry file short, to the share `keep`; as `crash` otherwise."""
    return inject("data-plane.cut_registry", **locals())


def cpu_hog(hold_s: float = 60.0, hogs: int = 3, at: At = None) -> list[dict[str, Any]]:
    """Let the data plane share one processor with `hogs` busy processes, until `relieve`."""
    return inject("data-plane.cpu_hog", **locals())


def memory_limit(hold_s: float = 60.0, mib: int = 0, at: At = None) -> list[dict[str, Any]]:
    """Let the data plane take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("data-plane.memory_limit", **locals())


def descriptors(hold_s: float = 60.0, spare: int = 0, at: At = None) -> list[dict[str, Any]]:
    """Use up the file descriptors of the data plane but for `spare`, until `relieve`."""
    return inject("data-plane.descriptors", **locals())


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the data plane. Nothing when nothing is."""
    return undo("data-plane")
