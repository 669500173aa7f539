"""Examples of `residue`."""

from chaosreprise.checker.tiny import Example, Tiny


def _stopped(gone: bool) -> Tiny:
    made = Tiny(end=12.0)
    made.send(0.5, "start", None, made="s1")
    made.says(0.7, "session", "s1", "pending", "a1", key="c1")
    made.effect(1.0, "s1", "made", "up", gen=1, key="c1", pid=21)
    made.says(1.2, "session", "s1", "running", "a1", key="c1")
    made.send(2.0, "stop", "s1", agent="a1")
    made.says(2.6, "session", "s1", "terminated", "a1", key="c1")
    if gone:
        made.effect(4.5, "s1", "down", "gone", gen=2, pid=21)
    for name, begin, end in (("drain", 2.5, 5.0), ("clean", 5.0, 8.0), ("close", 8.0, 11.0)):
        made.phase(name, begin, end)
    return made


def _violation() -> Example:
    return Example(
        "A session was stopped, and the platform says that it is terminated. Its object and its process are still there at the end of the run.",
        _stopped(gone=False).history(),
    )


def _legal() -> Example:
    return Example("They end 2 s after the platform has said so, but before the end.", _stopped(gone=True).history())


VIOLATION, LEGAL = _violation(), _legal()
