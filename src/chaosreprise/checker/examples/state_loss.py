"""Examples of `state-loss`."""

from chaosreprise.checker.tiny import PROMISES, Example, Tiny


def _asked() -> Tiny:
    made = Tiny(promises=PROMISES | {"memory": True, "files": True})
    made.send(0.5, "step", "s1", says="c1 f00d 1 0 0:e3b0 200:5a1c")
    made.send(1.0, "step", "s1", says="c2 f00d 2 200 200:5a1c 400:77d0")
    made.broken("agents/a1", 2.0, 3.0)
    return made


def _violation() -> Example:
    made = _asked()
    made.send(4.0, "step", "s1", says="c3 beef 1 400 400:77d0 600:1f3e")
    return Example(
        "The agent dies, and the session's process with it. The next step is answered as if nothing had happened, out of a "
        "memory that knows nothing of the steps before.",
        made.history(),
    )


def _legal() -> Example:
    made = _asked()
    made.send(2.5, "step", "s1", outcome="fail", status=404)
    made.send(4.0, "step", "s1", says="c4 beef 1 400 400:77d0 600:1f3e")
    return Example(
        "The same, but a step in between was told that there is no such session: the loss was said.", made.history()
    )


VIOLATION, LEGAL = _violation(), _legal()
