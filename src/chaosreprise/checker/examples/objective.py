"""Examples of `objective`."""

from chaosreprise.checker.tiny import Example, Tiny
from chaosreprise.history.statements import Objective

OBJECTIVE = Objective(name="fast reads", latency="answer", op="read", quantile=0.75, max=0.5)


def _reads(*times: float) -> Tiny:
    made = Tiny(objectives=[OBJECTIVE])
    for number, took in enumerate(times):
        made.send(1.0 + number, "read", "s1", took=took, status=200)
    return made


def _violation() -> Example:
    return Example(
        "Three of four reads must be answered within 0.5 s (quantile 0.75). Two take longer.",
        _reads(0.1, 0.9, 0.7, 0.2).history(),
    )


def _legal() -> Example:
    return Example(
        "One of four takes longer, and the quantile still keeps its limit.", _reads(0.1, 0.9, 0.3, 0.2).history()
    )


VIOLATION, LEGAL = _violation(), _legal()
