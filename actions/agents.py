"""Faults on agents. The warden makes and undoes them; the plan says which agents are hit.

In each of them `agent` names one; without it the seed draws `count` of them ("all": every one), the same for each fault of
a run (see `chaos reprise plan`). All return when the fault is proven on each, and fail, with the fault undone, when it is
not. `hold_s` is the longest planned time in seconds until the undo; the fault's lease is a little longer.
"""

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


def take_away(agent: str = "", count: int | str = 1, hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Kill agents and keep them down until `bring_back`: their processes gone, their connections closed in the kernel."""
    return inject("agents.take_away", agent=agent, count=count, hold_s=hold_s)


def bring_back(agent: str = "") -> list[dict[str, Any]]:
    """Let agents that were taken away start again; returns when they are connected. Nothing when none is away."""
    return undo("agents", agent)


def crash(agent: str = "", count: int | str = 1, in_flight: bool = False) -> list[dict[str, Any]]:
    """Kill agents with SIGKILL; their supervisor starts them again, and this returns when they are connected.

    `in_flight`: just before, commands are sent for their sessions, until as many of each kind as the experiment wants
    exposed are under way.
    """
    return inject("agents.crash", agent=agent, count=count, in_flight=in_flight)


def restart(agent: str = "", count: int | str = 1, in_flight: bool = False) -> list[dict[str, Any]]:
    """Ask agents to end with SIGTERM; as `crash` otherwise."""
    return inject("agents.restart", agent=agent, count=count, in_flight=in_flight)


def pause(agent: str = "", count: int | str = 1, hold_s: float = 60.0) -> list[dict[str, Any]]:
    """Freeze agents until `resume`: held for longer than the platform waits for them, they come back as zombies."""
    return inject("agents.pause", agent=agent, count=count, hold_s=hold_s)


def resume(agent: str = "") -> list[dict[str, Any]]:
    """Wake agents that were paused; returns when they are connected. Nothing when none is."""
    return undo("agents", agent)


def crash_loop(
    agent: str = "", count: int | str = 1, hold_s: float = 60.0, every_s: float = 0.5
) -> list[dict[str, Any]]:
    """Kill agents each time they have come back and lived for `every_s` seconds, until `relieve`."""
    return inject("agents.crash_loop", agent=agent, count=count, hold_s=hold_s, every_s=every_s)


def cpu_hog(agent: str = "", count: int | str = 1, hold_s: float = 60.0, hogs: int = 3) -> list[dict[str, Any]]:
    """Let agents share one processor with `hogs` busy processes each, until `relieve`."""
    return inject("agents.cpu_hog", agent=agent, count=count, hold_s=hold_s, hogs=hogs)


def memory_limit(agent: str = "", count: int | str = 1, hold_s: float = 60.0, mib: int = 0) -> list[dict[str, Any]]:
    """Let agents take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("agents.memory_limit", agent=agent, count=count, hold_s=hold_s, mib=mib)


def descriptors(agent: str = "", count: int | str = 1, hold_s: float = 60.0, spare: int = 0) -> list[dict[str, Any]]:
    """Use up the file descriptors of agents but for `spare`, until `relieve`."""
    return inject("agents.descriptors", agent=agent, count=count, hold_s=hold_s, spare=spare)


def relieve(agent: str = "") -> list[dict[str, Any]]:
    """Undo whatever is on agents; returns when they are whole. Nothing when nothing is."""
    return undo("agents", agent)
