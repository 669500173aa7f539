"""Faults on agents. The warden makes and undoes them; the plan says which agents are hit.

In each of them `agent` names one; without it the seed draws `count` of them (one; "all": every one), the same for each
fault of a run (see `chaos reprise plan`), of a `region` where that is given (all of it). All return when the fault is proven
on each, and fail, with the fault undone, when it is not. `hold_s` is the longest planned time in seconds until the undo; the
fault's lease is a little longer.

Each takes `at`, the moment at which it strikes (docs/moments.md): seconds, a phase, or what happens to a command.
"""

from typing import Any

from chaosreprise.run.current import At, inject, undo

__all__ = [
    "bring_back",
    "clock_skew",
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


def take_away(
    agent: str = "", region: str = "", count: int | str | None = None, hold_s: float = 60.0, at: At = None
) -> list[dict[str, Any]]:
    """Kill agents and keep them down until `bring_back`: their processes gone, their connections closed in the kernel."""
    return inject("agents.take_away", **locals())


def bring_back(agent: str = "") -> list[dict[str, Any]]:
    """Let agents that were taken away start again; returns when they are connected. Nothing when none is away."""
    return undo("agents", agent)


def crash(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    in_flight: bool = False,
    share: float = 1.0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Kill agents with SIGKILL; their supervisor starts them again, and this returns when they are connected.

    `in_flight`: just before, commands are sent for their sessions, until as many of each kind as the experiment wants
    exposed are under way; they use up this `share` of what these agents have in reserve.
    """
    return inject("agents.crash", **locals())


def restart(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    in_flight: bool = False,
    share: float = 1.0,
    one_by_one: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Ask agents to end with SIGTERM; as `crash` otherwise. `one_by_one`: each is connected before the next one is asked."""
    return inject("agents.restart", **locals())


def pause(
    agent: str = "", region: str = "", count: int | str | None = None, hold_s: float = 60.0, at: At = None
) -> list[dict[str, Any]]:
    """Freeze agents until `resume`: held for longer than the platform waits for them, they come back as zombies."""
    return inject("agents.pause", **locals())


def resume(agent: str = "") -> list[dict[str, Any]]:
    """Wake agents that were paused; returns when they are connected. Nothing when none is."""
    return undo("agents", agent)


def crash_loop(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    every_s: float = 0.5,
    at: At = None,
) -> list[dict[str, Any]]:
    """Kill agents each time they have come back and lived for `every_s` seconds, until `relieve`."""
    return inject("agents.crash_loop", **locals())


def cpu_hog(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    hogs: int = 3,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let agents share one processor with `hogs` busy processes each, until `relieve`."""
    return inject("agents.cpu_hog", **locals())


def memory_limit(
    agent: str = "", region: str = "", count: int | str | None = None, hold_s: float = 60.0, mib: int = 0, at: At = None
) -> list[dict[str, Any]]:
    """Let agents take `mib` MiB of memory more than now, until `relieve`. Needs a cgroup that may be written."""
    return inject("agents.memory_limit", **locals())


def descriptors(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    spare: int = 0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Use up the file descriptors of agents but for `spare`, until `relieve`."""
    return inject("agents.descriptors", **locals())


def clock_skew(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    skew_s: float = 3600.0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Start agents again with a clock that is `skew_s` seconds ahead (behind: negative), until `relieve`. Needs libfaketime."""
    return inject("agents.clock_skew", **locals())


def deny_network(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    port: int = 0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Deny the pods of agents all traffic by a NetworkPolicy, until `relieve`; tried at `port`, by default the first that they state."""
    return inject("agents.deny_network", **locals())


def drain_node(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    node: str = "",
    others: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Drain the node on which agents run, until `relieve`. `others`: pods of others on it may be evicted as well."""
    return inject("agents.drain_node", **locals())


def evict(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    in_flight: bool = False,
    share: float = 1.0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Evict the pods of agents, unless a PodDisruptionBudget forbids it; this returns when others are ready."""
    return inject("agents.evict", **locals())


def kill_container(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    in_flight: bool = False,
    share: float = 1.0,
    container: str = "",
    at: At = None,
) -> list[dict[str, Any]]:
    """Kill a container of each pod of agents from inside; this returns when it is ready again."""
    return inject("agents.kill_container", **locals())


def rollout_restart(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    in_flight: bool = False,
    share: float = 1.0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Restart agents as `kubectl rollout restart` does; this returns when all pods are new and ready."""
    return inject("agents.rollout_restart", **locals())


def taint_node(
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    node: str = "",
    others: bool = False,
    at: At = None,
) -> list[dict[str, Any]]:
    """Taint the node on which agents run (NoExecute), until `relieve`. `others`: pods of others may be ended as well."""
    return inject("agents.taint_node", **locals())


def interpose(
    service: str,
    proxy: str,
    agent: str = "",
    region: str = "",
    count: int | str | None = None,
    hold_s: float = 60.0,
    at: At = None,
) -> list[dict[str, Any]]:
    """Let the Service of agents lead to the pods of a proxy, one Deployment that the labels `proxy` select, until `relieve`."""
    return inject("agents.interpose", **locals())


def relieve(agent: str = "") -> list[dict[str, Any]]:
    """Undo whatever is on agents; returns when they are whole. Nothing when nothing is."""
    return undo("agents", agent)
