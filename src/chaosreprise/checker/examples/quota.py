"""Examples of `quota`."""

from chaosreprise.checker.tiny import Example, Tiny


def _world(places: int) -> Tiny:
    made = Tiny(quota=2)
    for number in range(1, 4):
        at = 2.0 + number / 10
        if number > places:
            made.send(at, "start", None, outcome="fail", status=403, rule="quota", user="ann")
            continue
        made.send(at, "start", None, made=f"s{number}", user="ann")
        made.says(at + 0.2, "session", f"s{number}", "pending", "a1", key=f"c{number}", user="ann")
    return made


VIOLATION = Example(
    "Three creates for one user come at once, who may have two sessions: all are accepted.", _world(3).history()
)
LEGAL = Example(
    "Three creates for one user come at once, who may have two sessions: one is refused.", _world(2).history()
)
