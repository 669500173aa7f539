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


def deny_network(hold_s: float = 60.0, port: int = 0, at: At = None) -> list[dict[str, Any]]:
    """Deny the pods of the data plane all traffic by a NetworkPolicy, until `relieve`; tried at `port`, by default the first that they state."""
    return inject("data-plane.deny_network", **locals())


def drain_node(hold_s: float = 60.0, node: str = "", others: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Drain the node on which the data plane runs, until `relieve`. `others`: pods of others on it may be evicted as well."""
    return inject("data-plane.drain_node", **locals())


def evict(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Evict the pods of the data plane, unless a PodDisruptionBudget forbids it; this returns when others are ready."""
    return inject("data-plane.evict", **locals())


def kill_container(in_flight: bool = False, container: str = "", at: At = None) -> list[dict[str, Any]]:
    """Kill a container of each pod of the data plane from inside; this returns when it is ready again."""
    return inject("data-plane.kill_container", **locals())


def rollout_restart(in_flight: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Restart the data plane as `kubectl rollout restart` does; this returns when all pods are new and ready."""
    return inject("data-plane.rollout_restart", **locals())


def taint_node(hold_s: float = 60.0, node: str = "", others: bool = False, at: At = None) -> list[dict[str, Any]]:
    """Taint the node on which the data plane runs (NoExecute), until `relieve`. `others`: pods of others may be ended as well."""
    return inject("data-plane.taint_node", **locals())


def interpose(service: str, proxy: str, hold_s: float = 60.0, at: At = None) -> list[dict[str, Any]]:
    """Let the Service of the data plane lead to the pods of a proxy, one Deployment that the labels `proxy` select, until `relieve`."""
    return inject("data-plane.interpose", **locals())


def relieve() -> list[dict[str, Any]]:
    """Undo whatever is on the data plane. Nothing when nothing is."""
    return undo("data-plane")
