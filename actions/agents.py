"""Faults on agents. The warden makes and undoes them; the plan says which agent is hit."""

from typing import Any

from chaosreprise.run.current import activity, current

__all__ = ["bring_back", "take_away"]


def take_away(agent: str = "", hold_s: float = 60.0) -> dict[str, Any]:
    """Kill an agent and keep it down, by default the one that the seed drew (see `chaos reprise plan`).

    Returns the fault when it is proven: the process gone and its connections closed in the kernel's tables. Fails, with
    the agent back, when that can't be seen. `hold_s` is the longest planned time in seconds until `bring_back`; the
    fault's lease is a little longer and undoes it if nobody else does.
    """
    with activity() as run:
        return run.take_away(agent or None, hold_s)


def bring_back(agent: str = "") -> dict[str, Any]:
    """Undo `take_away`: let the agent start again. Returns when it is connected; does nothing when it is not away."""
    if current() is None:
        return {"fault": None, "state": "no run is open: nothing to undo"}
    with activity() as run:
        return run.bring_back(agent or None)
