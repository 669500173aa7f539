"""Examples of `late`."""

from chaosreprise.checker.tiny import Example, Tiny


def _violation() -> Example:
    made = Tiny()
    made.send(1.0, "wake", "s1", agent="a1")
    made.says(0.5, "session", "s1", "hibernated", "a1")
    made.effect(2.8, "s1", "up", gen=1)
    made.broken("agents/a2", 0.8, 2.6)
    made.settled(7.0)
    return Example(
        "A wake is due 1 s after it was accepted. It comes 1.7 s after; the fault was on another agent.", made.history()
    )


def _legal() -> Example:
    made = Tiny()
    made.send(1.0, "wake", "s1", agent="a2")
    made.says(0.5, "session", "s1", "hibernated", "a2")
    made.effect(2.8, "s1", "up", gen=1)
    made.broken("agents/a2", 0.8, 2.6)
    made.settled(7.0)
    return Example("The same, but the fault was on its own agent: it is due 1 s after that was healed.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
