"""Examples of `lifecycle`."""

from chaosreprise.checker.tiny import Example, Tiny
from chaosreprise.history.statements import Edge

STATES = [
    Edge(before="running", after="hibernating", by="hibernate"),
    Edge(before="hibernating", after="hibernated", by="platform"),
    Edge(before="hibernated", after="waking", by="wake"),
    Edge(before="waking", after="running", by="platform"),
]


def _hibernated() -> Tiny:
    made = Tiny(states=STATES)
    made.says(0.2, "session", "s1", "running", "a1")
    made.send(1.0, "hibernate", "s1")
    made.says(1.2, "session", "s1", "hibernating", "a1")
    made.says(1.8, "session", "s1", "hibernated", "a1")
    made.send(2.5, "wake", "s1")
    return made


def _violation() -> Example:
    made = _hibernated()
    made.says(3.3, "session", "s1", "running", "a1")
    made.says(4.5, "session", "s1", "hibernated", "a1")
    return Example(
        "A session is hibernated and woken. Then it is reported as hibernated again, which would take a second command: "
        "a late report has overwritten a newer one.",
        made.history(),
    )


def _legal() -> Example:
    made = _hibernated()
    made.says(3.3, "session", "s1", "running", "a1")
    made.send(4.0, "hibernate", "s1", took=None)
    made.says(4.5, "session", "s1", "hibernated", "a1")
    return Example(
        "The same, but a second command was sent. Nobody knows what became of it, so it may explain the state; `waking` "
        "and `hibernating` were not seen, and are passed.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
