"""Examples of `interrupted`."""

from chaosreprise.checker.tiny import Example, Tiny


def _violation() -> Example:
    made = Tiny()
    made.broken("database", 2.0, 4.0, "database.take_away")
    made.held("s1", 0.5, 7.0, "closed", "control-plane", "sessions/s1")
    made.held("s2", 0.5, 3.1, "broke", "control-plane", "sessions/s2")
    return Example(
        "Two streams are held while the database is away, which is on the path of neither. One of them breaks.",
        made.history(),
    )


def _legal() -> Example:
    made = Tiny()
    made.broken("agents/a2", 2.0, 4.0)
    made.held("s1", 0.5, 7.0, "closed", "control-plane", "agents/a1")
    made.held("s2", 0.5, 3.1, "broke", "control-plane", "agents/a2")
    made.send(5.0, "stop", "s3")
    made.held("s3", 0.5, 5.4, "broke", "control-plane", "agents/a1")
    return Example(
        "One breaks while the agent on its path is away, another one after its session was told to stop; the third is held throughout.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
