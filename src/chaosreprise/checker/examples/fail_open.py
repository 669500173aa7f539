"""Examples of `fail-open`."""

from chaosreprise.checker.tiny import Example, Tiny


def _away() -> Tiny:
    made = Tiny()
    made.says(0.2, "session", "s1", "hibernated", "a1")
    made.broken("database", 1.0, 3.0, "database.take_away")
    made.settled(6.0)
    return made


def _violation() -> Example:
    made = _away()
    made.send(1.5, "wake", "s1")
    made.send(2.2, "read", "s1", outcome="fail", status=404)
    made.send(3.5, "read", "s1", status=200)
    return Example(
        "The database is away. A wake is accepted all the same, of which nothing is left when it is back; and a session is said "
        "not to exist that is there before and after.",
        made.history(),
    )


def _legal() -> Example:
    made = _away()
    made.send(1.5, "wake", "s1", outcome="info", status=500)
    made.send(2.2, "read", "s1", outcome="info", status=500)
    made.send(2.5, "read", "s9", outcome="fail", status=404)
    made.send(3.5, "wake", "s1")
    made.effect(3.8, "s1", "up", gen=1)
    return Example(
        "Errors, and for a session that nobody has ever seen even `does not exist`; what is accepted when the database is back is done.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
