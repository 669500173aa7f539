"""Examples of `denied`."""

from chaosreprise.checker.tiny import Example, Tiny


def _listed() -> Tiny:
    made = Tiny()
    made.says(0.2, "session", "s1", "running", "a1")
    made.says(0.2, "session", "s2", "running", "a2")
    made.send(0.5, "read", None, listed=["s1", "s2"])
    made.broken("database", 1.0, 3.0, "database.take_away")
    made.send(1.5, "read", "s1", outcome="info", status=500)
    return made


def _violation() -> Example:
    made = _listed()
    made.send(3.3, "read", None, listed=["s1"])
    made.send(4.0, "read", "s1", outcome="fail", status=404)
    made.send(5.0, "read", None, listed=["s1", "s2"])
    return Example(
        "After an outage of the database a list lacks a session, and a read says of another that it does not exist. Both are "
        "there a moment later.",
        made.history(),
    )


def _legal() -> Example:
    made = _listed()
    made.send(3.2, "stop", "s2")
    made.send(3.6, "read", None, listed=["s1"])
    made.send(4.0, "read", "s2", outcome="fail", status=404)
    made.send(5.0, "read", "s1", status=200)
    return Example("The same answers about a session whose stop had been sent; the other one is there.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
