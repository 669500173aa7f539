"""Examples of `lost`."""

from chaosreprise.checker.tiny import Example, Tiny


def _violation() -> Example:
    made = Tiny()
    made.send(1.0, "wake", "s1")
    made.effect(1.5, "s1", "up", gen=1)
    made.send(2.0, "wake", "s2")
    made.says(2.5, "command", "p2", "ack", session="s2", action="wake_session")
    return Example(
        "Two sessions are woken, and both calls are accepted. s1 comes up; of s2 the platform says that its agent has taken "
        "the command, and then nothing, although all was watched until everything had settled.",
        made.history(),
    )


def _legal() -> Example:
    made = Tiny()
    made.send(1.0, "wake", "s1")
    made.effect(1.5, "s1", "up", gen=1)
    made.send(2.0, "wake", "s2", outcome="fail", status=409)
    made.send(2.5, "hibernate", "s1")
    made.effect(4.2, "s1", "down", gen=2)
    return Example(
        "The second call is refused, so it needs no effect. The hibernation of s1 comes late, but it comes before everything had settled.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
