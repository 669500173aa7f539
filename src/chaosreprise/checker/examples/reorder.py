"""Examples of `reorder`."""

from chaosreprise.checker.tiny import Example, Tiny


def _pair(second: float) -> Tiny:
    made = Tiny()
    made.send(1.0, "wake", "s1")
    made.send(second, "stop", "s1")
    made.effect(2.5, "s1", "down", "gone", gen=1)
    made.effect(3.5, "s1", "up", gen=2)
    return made


def _violation() -> Example:
    return Example("A session is woken, and stopped once that was accepted. The stop acts first.", _pair(1.5).history())


def _legal() -> Example:
    made = Tiny()
    made.send(1.0, "wake", "s1", took=1.0)
    made.send(1.5, "stop", "s1")
    made.effect(2.5, "s1", "down", "gone", gen=1)
    made.effect(3.5, "s1", "up", gen=2)
    made.send(5.0, "wake", "s2")
    made.send(5.2, "stop", "s2")
    made.effect(5.4, "s2", "up", gen=1)
    made.effect(5.6, "s2", "down", "gone", gen=2)
    return Example(
        "The stop of s1 is sent before the wake was accepted: whoever does that has no order, whatever comes first. s2 keeps its order.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
