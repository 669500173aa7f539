"""What StreamSpace's agents and control plane say to each other, as stages of a command.

An agent connects to the control plane: what goes downstream is said to it, what goes upstream by it.
"""

from typing import Any

from chaosreprise.history import Report
from chaosreprise.platform.frames import NAME

STAGES = {
    ("downstream", "command"): "delivered",
    ("upstream", "ack"): "acked",
    ("upstream", "complete"): "reported",
}


def read(agent: str, line: dict[str, Any]) -> Report | None:
    """A line of the feed as a report about a frame, if it is about a command."""
    fields = line.get("fields") or {}
    stage, command = STAGES.get((line.get("direction", ""), fields.get("type", ""))), fields.get("commandId")
    if stage is None or not isinstance(command, str):
        return None
    told = {"action": fields["action"]} if "action" in fields else {}
    return Report(
        lo=line["t"], hi=line["t"], source=NAME, about="frame", id=command, state=stage, owner=agent, fields=told
    )
