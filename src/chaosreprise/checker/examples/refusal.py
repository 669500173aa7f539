"""Examples of `refusal`."""

from chaosreprise.checker.tiny import Example, Tiny
from chaosreprise.history.statements import Allowed, Situation

SITUATION = Situation(
    name="no agent", when="no-agent-online", ops=["start"], allow=[Allowed(status=503)], within_s=1
)  # fmt: skip


def _away() -> Tiny:
    made = Tiny(situations=[SITUATION])
    made.says(0.2, "agent", "a1", "online", "a1")
    made.says(2.0, "agent", "a1", "offline", "a1")
    made.says(5.0, "agent", "a1", "online", "a1")
    made.send(2.5, "start", None, outcome="fail", status=503)
    return made


def _violation() -> Example:
    made = _away()
    made.send(3.5, "start", None, made="s1", status=202)
    return Example(
        "While no agent is online, a start must be refused with 503 within 1 s. The first one is, the second one is accepted.",
        made.history(),
    )


def _legal() -> Example:
    made = _away()
    made.send(4.3, "start", None, took=0.8, made="s1", status=202)
    return Example(
        "The second start is answered when the agent is back: then it may be accepted, although none was online when it was sent.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
