"""Faults on the control plane. The warden makes and undoes them; they return when they are proven, and fail, undone, when not.

Where a platform has several control planes, `which` names one ("control-plane/2"); without it the seed draws `count` of them
("all": every one), the same for each fault of a run. `hold_s` is the longest planned time in seconds until the undo.

Each takes `at`, the moment at which it strikes (docs/moments.md): seconds, a phase, or what happens to a command.
"""

from typing import Any

from chaosreprise.run.current import At, inject, undo

__all__ = [
    "bring_back",
    "cpu_hog",
    "crash",
    "crash_loop",
    "deny_network",
    "descriptors",
    "drain_node",
    "evict",
    "interpose",
    "kill_container",
    "memory_limit",
    "pause",
    "relieve",
    "restart",
    "resume",
    "rollout_restart",
    "taint_node",
    "take_away",
]


def take_away(which: str = "", count: int | str = 1, hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Kill the control plane and keep it down until `bring_back`."""
    return inject("control-plane.take_away", **locals())


def bring_back(which: str = "") -> list[dict[str, Any]]:
    """Let the control plane start again; returns when it is ready. Nothing when none is away."""
    return undo("control-plane", which)


def crash(
    which: str = "", count: int | str = 1, in_flight: bool = False, share: float = 1.0, at: At = None
) -> list[dict[str, Any]]:
    """Kill the control plane with SIGKILL; its supervisor starts it again, and this returns when it is ready.

    `in_flight`: just before, commands are sent for the sessions of all agents whose commands cross it, until as many of each
    kind as the experiment wants exposed are under way; they use up this `share` of what these have in reserve.
    """
    return inject("control-plane.crash", **locals())


def restart(
    which: str = "",
    count: int | str = 1,
    in_flight: bool = False,
    share: float = 1.0,
    one_by_one: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Ask the control plane to end (SIGTERM); as `crash` otherwise. `one_by_one`: each is ready before the next one is asked."""
    return inject("control-plane.restart", **locals())


def pause(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, in_flight: bool = False, at: At = None
) -> list[dict[str, Any]]:
    """Freeze the control plane until `resume`. `in_flight`: with commands under way, as `crash`."""
    return inject("control-plane.pause", **locals())


def resume(which: str = "") -> list[dict[str, Any]]:
    """Wake the control plane. Nothing when it is not paused."""
    return undo("control-plane", which)


def crash_loop(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, every_s: float = 0.5, at: At = None
) -> list[dict[str, Any]]:
    """Kill the control plane each time it has come back and lived for `every_s` seconds, until `relieve`."""
    return inject("control-plane.crash_loop", **locals())


def cpu_hog(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, hogs: int = 3, at: At = None
) -> list[dict[str, Any]]:
    """Let the control plane share one processor with `hogs` busy processes, until `relieve`."""
    return inject("control-plane.cpu_hog", **locals())


def memory_limit(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, mib: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Let the control plane take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("control-plane.memory_limit", **locals())


def descriptors(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, spare: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Use up the file descriptors of the control plane but for `spare`, until `relieve`."""
    return inject("control-plane.descriptors", **locals())


def deny_network(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, port: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Deny the pods of the control plane all traffic by a NetworkPolicy, until `relieve`; tried at `port`, by default the first that they state."""
    return inject("control-plane.deny_network", **locals())


def drain_node(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, node: str = "", others: bool = False, at: At = None
) -> list[dict[str, Any]]:
    """Drain the node on which the control plane runs, until `relieve`. `others`: pods of others on it may be evicted as well."""
    return inject("control-plane.drain_node", **locals())


def evict(
    which: str = "", count: int | str = 1, in_flight: bool = False, share: float = 1.0, at: At = None
) -> list[dict[str, Any]]:
    """Evict the pods of the control plane, unless a PodDisruptionBudget forbids it; this returns when others are ready."""
    return inject("control-plane.evict", **locals())


def kill_container(
    which: str = "",
    count: int | str = 1,
    in_flight: bool = False,
    share: float = 1.0,
    container: str = "",
    at: At = None,
) -> list[dict[str, Any]]:
    """Kill a container of each pod of the control plane from inside; this returns when it is ready again."""
    return inject("control-plane.kill_container", **locals())


def rollout_restart(
    which: str = "", count: int | str = 1, in_flight: bool = False, share: float = 1.0, at: At = None
) -> list[dict[str, Any]]:
    """Restart the control plane as `kubectl rollout restart` does; this returns when all pods are new and ready."""
    return inject("control-plane.rollout_restart", **locals())


def taint_node(
    which: str = "", count: int | str = 1, hold_s: float = 60.0, node: str = "", others: bool = False, at: At = None
) -> list[dict[str, Any]]:
    """Taint the node on which the control plane runs (NoExecute), until `relieve`. `others`: pods of others may be ended as well."""
    return inject("control-plane.taint_node", **locals())


def interpose(
    service: str, proxy: str, which: str = "", count: int | str = 1, hold_s: float = 60.0, at: At = None
) -> list[dict[str, Any]]:
    """Let the Service of the control plane lead to the pods of a proxy, one Deployment that the labels `proxy` select, until `relieve`."""
    return inject("control-plane.interpose", **locals())


def relieve(which: str = "") -> list[dict[str, Any]]:
    """Undo whatever is on the control plane. Nothing when nothing is."""
    return undo("control-plane", which)
