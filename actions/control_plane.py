"""Faults on the control plane. The warden makes and undoes them; they return when they are proven, and fail, undone, when not."""

from typing import Any

from chaosreprise.run.current import inject, undo

__all__ = [
    "bring_back",
    "cpu_hog",
    "crash",
    "crash_loop",
    "descriptors",
    "memory_limit",
    "pause",
    "relieve",
    "restart",
    "resume",
    "take_away",
]


def take_away(hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Kill the control plane and keep it down until `bring_back`; `hold_s` is the longest planned time in seconds."""
    return inject("control-plane.take_away", hold_s=hold_s)


def bring_back() -> list[dict[str, Any]]:
    """Let the control plane start again; returns when it is ready. Nothing when it is not away."""
    return undo("control-plane")


def crash(in_flight: bool = False) -> list[dict[str, Any]]:
    """Kill the control plane with SIGKILL; its supervisor starts it again, and this returns when it is ready.

    `in_flight`: just before, commands are sent for the sessions of all agents, until as many of each kind as the
    experiment wants exposed are under way.
    """
    return inject("control-plane.crash", in_flight=in_flight)


def restart(in_flight: bool = False) -> list[dict[str, Any]]:
    """Ask the control plane to end (SIGTERM); as `crash` otherwise."""
    return inject("control-plane.restart", in_flight=in_flight)


def pause(hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Freeze the control plane until `resume`."""
    return inject("control-plane.pause", hold_s=hold_s)


def resume() -> list[dict[str, Any]]:
    """Wake the control plane. Nothing when it is not paused."""
    return undo("control-plane")


def crash_loop(hold_s: float = 60.0, every_s: float = 0.5) -> list[dict[str, Any]]:
    """Kill the control plane each time it has come back and lived for `every_s` seconds, until `relieve`."""
    return inject("control-plane.crash_loop", hold_s=hold_s, every_s=every_s)


def cpu_hog(hold_s: float = 60.0, hogs: int = 3) -> list[dict[str, Any]]:
    """Let the control plane share one processor with `hogs` busy processes, until `relieve`."""
    return inject("control-plane.cpu_hog", hold_s=hold_s, hogs=hogs)


def memory_limit(hold_s: float = 60.0, mib: int = 0) -> list[dict[str, Any]]:
    """Let the control plane take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("control-plane.memory_limit", hold_s=hold_s, mib=mib)


def descriptors(hold_s: float = 60.0, spare: int = 0) -> list[dict[str, Any]]:
    """Use up the file descriptors of the control plane but for `spare`, until `relieve`."""
    return inject("control-plane.descriptors", hold_s=hold_s, spare=spare)


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the control plane. Nothing when nothing is."""
    return undo("control-plane")
