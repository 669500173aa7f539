"""Examples of `unfinished`."""

from chaosreprise.checker.tiny import Example, Tiny


def _commands(end: str) -> Tiny:
    made = Tiny()
    made.says(0.2, "session", "s1", "running", "a1")
    made.send(0.5, "hibernate", "s1", agent="a1")
    made.says(0.8, "command", "p1", "completed", session="s1", action="hibernate_session")
    made.broken("agents/a1", 1.0, 2.0)
    made.send(1.5, "wake", "s1", agent="a1")
    made.says(1.7, "command", "p2", "pending", session="s1", action="wake_session")
    made.says(2.5, "command", "p2", end, session="s1", action="wake_session")
    made.settled(6.0)
    return made


def _violation() -> Example:
    return Example(
        "While its agent is away a wake is accepted; its row says that it was sent, and nothing more.",
        _commands("sent").history(),
    )


def _legal() -> Example:
    return Example("The same, but its row says completed when the agent is back.", _commands("completed").history())


VIOLATION, LEGAL = _violation(), _legal()
