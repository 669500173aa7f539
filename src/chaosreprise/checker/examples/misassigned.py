"""Examples of `misassigned`."""

from chaosreprise.checker.tiny import Example, Tiny


def _broken() -> Tiny:
    made = Tiny()
    made.says(0.2, "agent", "a1", "online", "a1")
    made.says(0.2, "agent", "a2", "online", "a2")
    made.broken("agents/a2", 1.0, 6.0)
    return made


def _violation() -> Example:
    made = _broken()
    made.send(3.0, "start", None, made="s1")
    made.says(3.2, "session", "s1", "pending", "a2", key="c1")
    return Example(
        "An agent has been gone for 2 s, which the platform must notice within 1 s. A new session is placed on it.",
        made.history(),
    )


def _legal() -> Example:
    made = _broken()
    made.says(0.4, "session", "s1", "running", "a2")
    made.send(3.0, "stop", "s1", agent="a2")
    made.says(3.2, "command", "p1", "pending", "a2", session="s1", action="stop_session")
    made.says(6.4, "command", "p1", "sent", "a2", session="s1", action="stop_session")
    made.send(3.5, "start", None, made="s2")
    made.says(3.7, "session", "s2", "pending", "a1", key="c2")
    return Example(
        "A command for a session of the absent agent waits, and is sent when it is back; the new session goes elsewhere.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
