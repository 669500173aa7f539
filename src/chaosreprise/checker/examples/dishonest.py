"""Examples of `dishonest`."""

from chaosreprise.checker.tiny import Example, Tiny
from chaosreprise.history.statements import Claim

CLAIM = Claim(name="health", signal="health.database_up", says=[1], within_s=1, component="database")


def _sampled(*values: int) -> Tiny:
    made = Tiny(claims=[CLAIM])
    made.watched.append("health")
    made.broken("database", 2.0, 6.0, "database.take_away")
    for number, value in enumerate(values):
        made.sample(1.5 + number, "health", "database_up", value)
    return made


def _violation() -> Example:
    return Example(
        "The health page may call the database up for at most 1 s after it was away. It does so for longer.",
        _sampled(1, 1, 1, 1, 1, 1).history(),
    )


def _legal() -> Example:
    return Example("The same, but at the second look after that it has noticed.", _sampled(1, 1, 0, 0, 0, 1).history())


VIOLATION, LEGAL = _violation(), _legal()
