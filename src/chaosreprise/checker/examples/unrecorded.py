"""Examples of `unrecorded`."""

from chaosreprise.checker.tiny import Example, Tiny


def _steps() -> Tiny:
    made = Tiny()
    made.says(0.2, "session", "s1", "running", "a1")
    made.send(0.5, "step", "s1")
    made.effect(0.55, "s1", "b", "e", key="c1", ledger="workspaces", pid=11)
    made.says(0.7, "command", "p1", "completed", session="s1", action="step")
    made.broken("database", 1.0, 2.0)
    made.send(1.5, "step", "s1")
    made.effect(1.55, "s1", "b", "e", key="c2", ledger="workspaces", pid=11)
    made.settled(6.0)
    return made


def _violation() -> Example:
    return Example(
        "While the database is away a step is accepted, and run; no row ever tells of it.", _steps().history()
    )


def _legal() -> Example:
    made = _steps()
    made.says(2.5, "command", "p2", "completed", session="s1", action="step")
    return Example("The same, but its row is written when the database is back.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
