"""state-loss where no code runs in sessions: by the claims that keep their files."""

import pytest

from chaosreprise import checker
from chaosreprise.checker.tiny import PROMISES, Tiny
from chaosreprise.checker.verdict import Finding
from chaosreprise.history import Effect, Submit


class World:
    """A session that hibernates and wakes while an agent is away, and is stopped at 20 s; its claim is made with it."""

    def __init__(self, **stated: object) -> None:
        told = {
            "require": ["state-loss"],
            "promises": PROMISES | {"files": True},
            "processes": "pods",
            "homes": "homes",
        }
        self.tiny = Tiny(30.0, **(told | stated))
        self.tiny.watched += ["pods", "homes"]
        self.tiny.send(0.5, "start", None, made="s1")
        self.claim(0.8, "made")
        self.begins(1.0, 1)
        self.tiny.broken("agents/a1", 3.0, 12.0)
        self.tiny.send(5.0, "hibernate", "s1")
        self.tiny.send(9.0, "wake", "s1")
        self.tiny.send(20.0, "stop", "s1")
        self.tiny.settled(28.0)

    def claim(self, at: float, mark: str, name: str = "s1-home", uid: str = "11111111") -> None:
        self.tiny.effect(at, "s1", mark, ledger="homes")  # type: ignore[arg-type]
        self._last().object = f"{name}.{uid}"

    def begins(self, at: float, pid: int, *homes: str) -> None:
        self.tiny.effect(at, "s1", "up", ledger="pods", pid=pid)
        self._last().homes = list(homes or ["s1-home"]) if homes != ("",) else []

    def _last(self) -> Effect:
        found = self.tiny._events[-1]
        assert isinstance(found, Effect)
        return found

    def found(self) -> Finding:
        return checker.judge(self.tiny.history(), "end").checks["state-loss"]


def test_a_claim_that_stays_and_is_given_to_each_process_is_true_and_what_is_in_it_is_told_as_not_tested() -> None:
    world = World()
    world.begins(10.0, 2)
    found = world.found()
    assert (found.scope, found.count, found.evidence) == ([], (0, 0), 1)
    assert [one.what for one in found.untested if "not what is in it" in one.why] == ["content of files"]


def test_a_claim_that_goes_once_its_session_was_told_to_end_is_legal() -> None:
    world = World()
    world.begins(10.0, 2)
    world.claim(20.0, "gone")
    assert (world.found().scope, world.found().count) == ([], (0, 0))


def test_a_claim_that_goes_before_is_a_loss_also_where_another_one_is_made() -> None:
    world = World()
    world.claim(6.0, "gone")
    world.claim(9.5, "made", uid="22222222")
    world.begins(10.0, 2)
    found = world.found()
    assert (found.value, found.labels) == ("false", {"files": 1})
    assert "its claim s1-home.11111111 was gone, and nobody had told it to end" in found.witnesses[0].say


@pytest.mark.parametrize("given", ["", "s1-home-2", "shared"])
def test_a_process_without_the_claim_that_an_earlier_one_had_is_a_loss(given: str) -> None:
    world = World()
    world.claim(9.5, "made", "s1-home-2")
    world.begins(10.0, 2, given)
    found = world.found()
    assert (found.value, found.labels) == ("false", {"files": 1})
    assert "was not given its claim s1-home" in found.witnesses[0].say


def test_a_loss_that_the_platform_said_is_none() -> None:
    world = World()
    world.tiny.says(5.5, "session", "s1", "failed")
    world.claim(6.0, "gone")
    assert world.found().count == (0, 0)


def test_what_asked_for_no_home_is_not_judged() -> None:
    world = World()
    world.begins(10.0, 2, "")
    for event in world.tiny._events:
        if isinstance(event, Submit) and event.op == "start":
            event.persistent = False
    found = world.found()
    assert (bool(found.scope), found.count) == (True, (0, 0))


def test_a_home_that_nobody_saw_is_unknown() -> None:
    world = World()
    world.begins(10.0, 2)
    world.tiny._events = [one for one in world.tiny._events if getattr(one, "ledger", "") != "homes"]
    found = world.found()
    assert "of 1 of 1 sessions that asked for a home no claim was seen, such as s1" in str(found.scope)


@pytest.mark.parametrize("why", ["gap", "asleep", "memory", "unwatched"])
def test_what_was_not_seen_to_the_end_is_unknown(why: str) -> None:
    world = World(**({"promises": PROMISES | {"files": True, "memory": True}} if why == "memory" else {}))
    if why != "asleep":
        world.begins(10.0, 2)
    if why == "gap":
        world.tiny.gap("homes", 6.0, 7.0)
    if why == "unwatched":
        world.tiny.watched.remove("homes")
    found = world.found()
    assert (bool(found.scope), found.count) == (True, (0, 0)), found


def test_without_that_evidence_nothing_of_it_is_judged() -> None:
    world = World(homes="")
    world.claim(6.0, "gone")
    assert (bool(world.found().scope), world.found().count) == (True, (0, 0))
