"""Examples of `misplaced`."""

from chaosreprise.checker.tiny import PROMISES, Example, Tiny


def _world() -> Tiny:
    made = Tiny(promises=PROMISES | {"placement": True})
    for agent, cluster, region in (("a1", "c1", "north"), ("a2", "c2", "south")):
        made.says(0.2, "agent", agent, "online", agent, cluster=cluster, region=region)
    return made


def _violation() -> Example:
    made = _world()
    made.send(3.0, "start", None, made="s1", asks={"cluster": "c1"})
    made.says(3.2, "session", "s1", "pending", "a2", key="c1")
    return Example("A session is asked for on one cluster, and is placed on an agent of another.", made.history())


def _legal() -> Example:
    made = _world()
    made.send(0.5, "start", None, made="s1", asks={"cluster": "c1"})
    made.says(0.7, "session", "s1", "pending", "a1", key="c1")
    made.send(0.6, "start", None, made="s2", asks={"region": "north"})
    made.says(0.8, "session", "s2", "pending", "a1", key="c2")
    made.broken("agents/a1", 1.0, 6.0)
    made.send(3.0, "start", None, made="s3", asks={"region": "north"})
    made.says(3.2, "session", "s3", "pending", "a2", key="c3")
    made.send(3.4, "start", None, outcome="fail", status=503, asks={"cluster": "c1"})
    return Example(
        "While the only agent of a region is away a session that would like to be there goes elsewhere, and one that must have its "
        "cluster is refused.",
        made.history(),
    )


VIOLATION, LEGAL = _violation(), _legal()
