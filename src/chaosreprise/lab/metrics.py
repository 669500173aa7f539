"""The platform's figures as its two calls show them: counted in the database for each call, so that they are never stale. Pure."""

from collections import Counter
from typing import Any, NamedTuple

from chaosreprise.lab import quota

PREFIX = "streamspace"
SHOWN = ("running", "hibernated", "terminated")
AWAY = ("hibernated", "terminated", "failed")  # the states in which a session has no process


class Counts(NamedTuple):
    """`sessions`: of each its user, state, cpu and memory; `users`: of each whether it may do anything."""

    agents: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    users: int


def shown(counts: Counts) -> dict[str, Any]:
    """Nodes are the approved agents, ready those that are online; resources are what sessions with a process have asked for."""
    nodes = [one for one in counts.agents if one["approval_status"] == "approved"]
    ready = sum(one["status"] == "online" for one in nodes)
    states = Counter(one["state"] for one in counts.sessions)
    here = [one for one in counts.sessions if one["state"] not in AWAY]
    sizes = [quota.size(one["cpu"], one["memory"]) for one in here]
    cluster = {
        "nodes": {"total": len(nodes), "ready": ready, "notReady": len(nodes) - ready},
        "sessions": {"total": len(counts.sessions)} | {state: states[state] for state in SHOWN},
        "resources": {
            "cpu": sum(one.millicpu for one in sizes) / 1000,
            "memory": sum(one.memory for one in sizes),
            "pods": len(here),
        },
        "users": {"total": counts.users, "active": len({one["user_id"] for one in here})},
    }
    return {"cluster": cluster}


def exposition(counts: Counts) -> str:
    """The same as Prometheus reads it."""
    lines = []
    for group, figures in shown(counts)["cluster"].items():
        name = f"{PREFIX}_{group}"
        lines.append(f"# TYPE {name} gauge")
        lines += [f'{name}{{kind="{kind}"}} {figure}' for kind, figure in figures.items()]
    return "\n".join(lines) + "\n"
