"""Where processes have a ledger of their own: an object that is made or scaled up has had its effect when a process of it began."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import PROMISES, Tiny
from chaosreprise.checker.verdict import Finding

END_S = 12.0


def session(require: str, **stated: object) -> Tiny:
    """One that was started, hibernated and woken: all with their effects on its object, at 1, 3 and 5 s, a process of its start at 1.2 s."""
    made = Tiny(END_S, require=[require], processes="pods", **stated)
    made.watched.append("pods")
    made.send(0.5, "start", None, made="s1")
    made.send(2.9, "hibernate", "s1")
    made.send(4.9, "wake", "s1")
    for at, mark, gen, key in ((1.0, "made", 1, "c1"), (3.0, "down", 2, None), (5.0, "up", 3, None)):
        made.effect(at, "s1", mark, gen=gen, key=key)  # type: ignore[arg-type]
    process(made, 1.2, 21)
    made.effect(3.2, "s1", "down", gen=21, pid=21, ledger="pods")
    made.settled(10.0)
    return made


def process(made: Tiny, at: float, pid: int) -> None:
    made.effect(at - 0.1, "s1", "up", gen=pid, pid=pid, ledger="pods", until=at)


def found(made: Tiny, check: str) -> Finding:
    return checker.judge(made.history(), "end").checks[check]


def test_a_wake_whose_process_began_is_not_lost() -> None:
    made = session("lost")
    process(made, 5.5, 22)
    lost = found(made, "lost")
    assert (lost.count, lost.scope, lost.evidence) == ((0, 0), [], 3)


def test_a_wake_after_which_no_process_began_is_lost_though_its_object_was_scaled() -> None:
    lost = found(session("lost"), "lost")
    assert (lost.value, lost.count) == ("false", (1, 1))
    assert "c3 wake of session s1: accepted at 5.000 s, no effect until" in lost.witnesses[0].say


def test_a_start_after_which_no_process_began_is_lost() -> None:
    made = Tiny(END_S, require=["lost"], processes="pods")
    made.watched.append("pods")
    made.send(0.5, "start", None, made="s1")
    made.effect(1.0, "s1", "made", gen=1, key="c1")
    made.settled(10.0)
    assert found(made, "lost").count == (1, 1)


@pytest.mark.parametrize(("since", "count"), [(5.2, (0, 1)), (3.5, (0, 1)), (2.0, (1, 1))])
def test_a_process_that_a_gap_may_hide_is_not_missed(since: float, count: tuple[int, int]) -> None:
    made = session("lost")
    made.gap("pods", since, since + 2.5)
    lost = found(made, "lost")
    assert lost.count == count
    assert (count[0] == 1) or "ledger pods" in str(lost.scope)


@pytest.mark.parametrize(("coalesce", "count"), [(False, 1), (True, 0)])
def test_what_ends_before_its_process_began_had_none_unless_it_may_be_left_out(coalesce: bool, count: int) -> None:
    made = session("lost", promises=PROMISES | {"coalesce": coalesce})
    made.send(5.5, "stop", "s1")
    made.effect(5.7, "s1", "gone", gen=4)
    assert found(made, "lost").count == (count, count)


def test_a_process_of_the_next_wake_is_not_that_of_the_one_before() -> None:
    made = session("lost")
    made.send(6.5, "hibernate", "s1")
    made.effect(6.7, "s1", "down", gen=4)
    made.send(7.0, "wake", "s1")
    made.effect(7.2, "s1", "up", gen=5)
    process(made, 7.6, 22)
    assert found(made, "lost").count == (1, 1)


def test_late_is_when_the_process_began_late() -> None:
    made = session("late")
    process(made, 6.9, 22)
    late = found(made, "late")
    assert (late.value, late.count) == ("false", (1, 1)), late
    made = session("late")
    process(made, 5.5, 22)
    assert found(made, "late").count == (0, 0)


def test_an_object_that_is_scaled_up_twice_is_a_wake_that_ran_twice_whatever_ran() -> None:
    made = session("duplicate")
    process(made, 5.5, 22)
    assert found(made, "duplicate").count == (0, 0)
    made.effect(5.2, "s1", "up", gen=4)
    twice = found(made, "duplicate")
    assert (twice.value, twice.count) == ("false", (1, 1))


def test_an_object_that_names_no_process_is_no_nameless_process() -> None:
    made = session("split-brain")
    process(made, 5.5, 22)
    split = found(made, "split-brain")
    assert (split.count, split.scope, split.evidence) == ((0, 0), [], 2)
    made.gap("pods", 7.0, 7.5)
    assert "ledger pods" in str(found(made, "split-brain").scope)


def test_a_process_that_is_left_is_residue() -> None:
    made = session("residue")
    process(made, 5.5, 22)
    made.send(6.0, "stop", "s1")
    made.effect(6.2, "s1", "gone", gen=4)
    made.says(0.6, "session", "s1", "running")
    made.says(6.3, "session", "s1", "terminated")
    left = found(made, "residue")
    assert (left.value, left.labels) == ("false", {"process": 1}), left
    made.effect(6.4, "s1", "down", gen=22, pid=22, ledger="pods")
    assert found(made, "residue").count == (0, 0)
