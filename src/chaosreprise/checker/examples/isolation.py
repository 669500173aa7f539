"""Examples of `isolation`."""

from chaosreprise.checker.tiny import Example, Tiny


def _step(
    made: Tiny, at: float, session: str, pid: int, *, in_session: str | None = None, says: str | None = None
) -> None:
    key = f"c{made.sent + 1}"
    made.send(at, "step", session, says=says or f"{key} f00d 1 0")
    made.effect(at + 0.05, in_session or session, "b", "e", key=key, ledger="workspaces", pid=pid)


def _violation() -> Example:
    made = Tiny()
    _step(made, 0.5, "s1", 11)
    _step(made, 1.0, "s2", 22)
    made.broken("agents/a1", 2.0, 3.0)
    _step(made, 4.0, "s1", 22, in_session="s2")
    _step(made, 5.0, "s2", 22, says="c3 f00d 2 200")
    return Example(
        "After its agent was away a step of one session runs in the process of another one, in its workspace; the next step of "
        "that one is answered with what the former had said.",
        made.history(),
    )


def _legal() -> Example:
    made = Tiny()
    _step(made, 0.5, "s1", 11)
    _step(made, 1.0, "s2", 22)
    made.broken("agents/a1", 2.0, 3.0)
    _step(made, 4.0, "s1", 33)
    _step(made, 5.0, "s2", 22)
    return Example("One session has a new process afterwards, but it is its own.", made.history())


VIOLATION, LEGAL = _violation(), _legal()
