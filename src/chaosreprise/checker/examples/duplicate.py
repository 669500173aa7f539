"""Examples of `duplicate`."""

from chaosreprise.checker.tiny import Example, Tiny


def _violation() -> Example:
    made = Tiny(exposure={"wake": 1})
    made.send(1.0, "wake", "s1")
    made.effect(1.5, "s1", "up", gen=1, pid=21)
    made.effect(3.0, "s1", "up", gen=2, pid=22)
    return Example("One wake, and two processes are begun for it, in two generations of its object.", made.history())


def _legal() -> Example:
    made = Tiny(exposure={"wake": 1})
    made.send(1.0, "wake", "s1")
    for at, state in ((1.2, "sent"), (2.2, "sent"), (3.2, "completed")):
        made.says(at, "command", "p1", state, session="s1", action="wake_session")
    made.effect(1.5, "s1", "up", gen=1, pid=21)
    made.effect(4.0, "s1", "crash", gen=1, pid=21)
    made.effect(4.2, "s1", "back", gen=1, pid=22)
    return Example(
        "The command is delivered twice, which the platform only reports: nothing acts again. Later the process dies and "
        "is restarted, in the same generation: that is no second wake.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
