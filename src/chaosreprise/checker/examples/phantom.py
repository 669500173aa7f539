"""Examples of `phantom`."""

from chaosreprise.checker.tiny import Example, Tiny


def _started() -> Tiny:
    made = Tiny()
    made.send(0.5, "start", None, made="s1")
    made.effect(1.0, "s1", "made", "up", gen=1, key="c1")
    return made


def _violation() -> Example:
    made = _started()
    made.send(2.0, "stop", "s1", outcome="fail", status=409)
    made.effect(2.5, "s1", "down", "gone", gen=2)
    return Example("A stop is refused, and the session ends all the same.", made.history())


def _legal() -> Example:
    made = _started()
    made.send(2.0, "stop", "s1", outcome="info", status=500)
    made.effect(2.5, "s1", "down", "gone", gen=2)
    return Example("The same with an answer that decides nothing: the stop may have happened.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
