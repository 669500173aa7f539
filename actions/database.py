"""Faults on the database. The warden makes and undoes them; they return when they are proven, and fail, undone, when not."""

from typing import Any

from chaosreprise.run.current import inject, undo

__all__ = ["bring_back", "crash", "pause", "relieve", "restart", "resume", "take_away"]


def take_away(hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Kill the database and keep it down until `bring_back`; `hold_s` is the longest planned time in seconds."""
    return inject("database.take_away", hold_s=hold_s)


def bring_back() -> list[dict[str, Any]]:
    """Let the database start again; returns when it lets clients in. Nothing when it is not away."""
    return undo("database")


def crash(in_flight: bool = False) -> list[dict[str, Any]]:
    """Kill the database with SIGKILL; its supervisor starts it again, and this returns when it lets clients in.

    `in_flight`: just before, commands are sent for the sessions of all agents, until as many of each kind as the
    experiment wants exposed are under way.
    """
    return inject("database.crash", in_flight=in_flight)


def restart(in_flight: bool = False) -> list[dict[str, Any]]:
    """Ask the database to end (SIGINT, PostgreSQL's fast shutdown); as `crash` otherwise."""
    return inject("database.restart", in_flight=in_flight)


def pause(hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Freeze the database until `resume`."""
    return inject("database.pause", hold_s=hold_s)


def resume() -> list[dict[str, Any]]:
    """Wake the database. Nothing when it is not paused."""
    return undo("database")


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the database. Nothing when nothing is."""
    return undo("database")
