"""Examples of `limits`."""

from chaosreprise.checker.tiny import PROMISES, Example, Tiny


def _world() -> Tiny:
    made = Tiny(promises=PROMISES | {"limits": ["memory", "cpu"]})
    made.send(0.5, "start", None, made="s1", resources={"memory": 134217729, "cpu": 101})
    made.send(0.6, "start", None, made="s2", resources={"memory": 134217730, "cpu": 102})
    return made


def _violation() -> Example:
    made = _world()
    made.effect(0.7, "s1", "up", gen=1, pid=11, limits={"memory": 134217729, "cpu": 101})
    made.effect(0.8, "s2", "up", gen=1, pid=12, limits={"memory": 134217729, "cpu": None})
    return Example(
        "A session has the memory of another one, and nothing limits its share of a processor.", made.history()
    )


def _legal() -> Example:
    made = _world()
    made.effect(0.7, "s1", "up", gen=1, pid=11, limits={"memory": 134217729, "cpu": 101})
    made.effect(0.8, "s2", "up", gen=1, pid=12, limits={"memory": 134217730, "cpu": 102})
    made.effect(1.5, "s2", "crash", gen=1, pid=12)
    made.effect(1.7, "s2", "back", gen=1, pid=13)
    made.effect(1.8, "s2", "crash", gen=1, pid=13)
    return Example(
        "Each session has its own, and a process that ended before anybody looked says nothing.", made.history()
    )


VIOLATION, LEGAL = _violation(), _legal()
