"""Faults on the control plane. The warden makes and undoes them; they return when they are proven, and fail, undone, when not."""

from typing import Any

from chaosreprise.run.current import inject, undo

__all__ = ["bring_back", "crash", "pause", "relieve", "restart", "resume", "take_away"]


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


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the control plane. Nothing when nothing is."""
    return undo("control-plane")
