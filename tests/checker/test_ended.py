"""phantom, where processes have a ledger of their own: one that ends on purpose was told to, by a stop or a hibernation."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import Tiny
from chaosreprise.checker.verdict import Finding

SAYS = "processes of 1 sessions were ended on purpose, and no stop or hibernation of them had been sent"


def found(*ends: float, component: str = "agents/a1", kind: str = "agents.take_away", moves: bool = False) -> Finding:
    """Of a session that hibernates at 6 s, wakes at 8 s and is stopped at 20 s; a process of it ends at these moments."""
    made = Tiny(30.0, require=["phantom"], processes="pods")
    made.watched.append("pods")
    made.send(0.5, "start", None, made="s1")
    made.says(0.6, "session", "s1", "pending", "a1")
    if moves:
        made.says(4.0, "session", "s1", "running", "a2")
    made.effect(0.9, "s1", "made", gen=1, key="c1")
    made.effect(1.0, "s1", "up", ledger="pods", pid=1)
    made.broken(component, 3.0, 5.0, kind)
    made.send(6.0, "hibernate", "s1")
    made.effect(6.1, "s1", "down", gen=2)
    made.send(8.0, "wake", "s1")
    made.effect(8.1, "s1", "up", gen=3)
    made.send(20.0, "stop", "s1")
    made.effect(20.1, "s1", "gone", gen=4)
    for pid, at in enumerate(ends, 1):
        made.effect(at, "s1", "down", ledger="pods", pid=pid)
        made.effect(at + 0.2, "s1", "up", ledger="pods", pid=pid + 1)
    made.settled(28.0)
    return checker.judge(made.history(), "end").checks["phantom"]


def test_each_end_that_was_asked_for_is_legal() -> None:
    assert SAYS not in str(found(6.5, 20.5).scope)
    assert found(6.5, 20.5).count == (0, 0)


@pytest.mark.parametrize("ends", [(5.5, 6.5, 20.5), (6.5, 12.0, 20.5), (6.5, 6.6)])
def test_one_that_nobody_asked_for_is_told_and_never_true(ends: tuple[float, ...]) -> None:
    told = found(*ends)
    assert told.count == (0, 1)
    assert SAYS in str(told.scope)


@pytest.mark.parametrize(
    ("component", "kind", "moves"),
    [
        ("sessions/s1", "sessions.crash", False),
        ("agents/a1", "agents.drain_node", False),
        ("agents/a1", "agents.take_away", True),
    ],
)
def test_one_that_a_fault_may_have_ended_or_that_moved_is_nobodys_business(
    component: str, kind: str, moves: bool
) -> None:
    assert found(5.5, 6.5, 20.5, component=component, kind=kind, moves=moves).count == (0, 0)
