"""Examples of `split-brain`."""

from chaosreprise.checker.tiny import Example, Tiny


def _started() -> Tiny:
    made = Tiny()
    made.send(0.5, "start", None, made="s1")
    made.effect(1.0, "s1", "made", gen=1, key="c1")
    made.effect(1.0, "s1", "up", gen=1, pid=21)
    return made


def _violation() -> Example:
    made = _started()
    made.effect(3.0, "s1", "up", gen=2, pid=22)
    made.effect(5.0, "s1", "down", gen=3, pid=21)
    return Example("A second process begins as the session while the first one lives.", made.history())


def _legal() -> Example:
    made = _started()
    made.effect(2.8, "s1", "down", gen=2, pid=21)
    made.effect(3.0, "s1", "up", gen=3, pid=22)
    return Example("The first process has surely ended when the second one begins.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
