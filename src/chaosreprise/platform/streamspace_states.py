"""Which changes of a session's state are legal on StreamSpace, and what makes them.

A session that its agent or its process leaves keeps its state: a dead agent's sessions stay `running`, and so does one whose
process died and was restarted. What an agent reports as failed makes its session `failed`, from a passing state only.
"""

from chaosreprise.history.statements import Edge

_STOPPED_FROM = ("pending", "starting", "running", "hibernating", "hibernated", "waking", "failed")
_FAILS_FROM = ("pending", "starting", "hibernating", "waking", "terminating")
STATES = [
    Edge(before="", after="pending", by="start"),
    Edge(before="pending", after="starting", by="platform"),
    Edge(before="pending", after="running", by="platform"),
    Edge(before="starting", after="running", by="platform"),
    Edge(before="running", after="hibernating", by="hibernate"),
    Edge(before="hibernating", after="hibernated", by="platform"),
    Edge(before="hibernated", after="waking", by="wake"),
    Edge(before="waking", after="running", by="platform"),
    *(Edge(before=state, after="terminating", by="stop") for state in _STOPPED_FROM),
    Edge(before="terminating", after="terminated", by="platform"),
    *(Edge(before=state, after="failed", by="platform") for state in _FAILS_FROM),
]
