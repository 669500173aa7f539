"""Examples of `contradicted`."""

from chaosreprise.checker.tiny import Example, Tiny
from chaosreprise.history.statements import Edge

STATES = [
    Edge(before="", after="running", by="start"),
    Edge(before="running", after="hibernating", by="hibernate"),
    Edge(before="hibernating", after="hibernated", by="platform"),
]


def _reads(answered: str) -> Tiny:
    made = Tiny(states=STATES)
    made.send(0.1, "start", None, made="s1")
    made.says(0.4, "session", "s1", "running", "a1")
    made.send(0.6, "read", "s1", says="running")
    made.send(0.8, "hibernate", "s1", agent="a1")
    made.says(1.0, "session", "s1", "hibernating", "a1")
    made.says(1.3, "session", "s1", "hibernated", "a1")
    made.broken("agents/a1", 1.5, 3.0)
    made.send(2.0, "read", "s1", says=answered)
    made.settled(6.0)
    return made


def _violation() -> Example:
    return Example(
        "A session has been hibernated for a while, and is answered to be running still.", _reads("running").history()
    )


def _legal() -> Example:
    return Example("The same, but what is answered is what its row says.", _reads("hibernated").history())


VIOLATION, LEGAL = _violation(), _legal()
