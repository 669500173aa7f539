"""Anybody's history: whatever stands in it, judging ends in a verdict, never in a traceback, and never in a pass by accident."""

import random
import typing

import pytest
from histories import complete

from chaosreprise import checker, recovery, report
from chaosreprise.history import Fault, History, Report, Submit
from chaosreprise.history.statements import Allowed, Known, Objective, Situation, When
from chaosreprise.platform.streamspace_states import STATES

EVERYTHING = {
    "require": checker.known(),
    "states": STATES,
    "objectives": [
        Objective(name="steps", latency="answer", op="step", quantile=0.99, max=1),
        Objective(name="wakes", latency="effect", op="wake", max=5, phase="method"),
        Objective(name="noticed", recovery="noticed_s", max=1),
        Objective(name="normal", recovery="normal_s", max=1),
        Objective(name="punctual", signal="load.lag_ms", max=20),
    ],
    "situations": [
        Situation(name=when, when=when, ops=["read", "start", "stop"], allow=[Allowed(status=503)], within_s=1)
        for when in typing.get_args(When)
    ],
    "known": [Known(check="lost", match="* wake of session * was lost", why="x", expires="2999-01-31")],
}
SEEDS = range(40)
CHANGES = 25
WORDS = ["", "s-a2-hib0", "a2", "completed", "\x00", "x" * 300, "slots", "done", "close", "none"]


def spoil(events: list, chance: random.Random) -> list:
    """Drop, repeat, move and change events at random, within what the types of the format allow."""
    for _ in range(CHANGES):
        place = chance.randrange(len(events))
        event = events[place]
        match chance.randrange(4):
            case 0:
                del events[place]
            case 1:
                events.append(event)
            case 2:
                shift = chance.randint(-(10**10), 10**10)
                event.lo, event.hi = event.lo + shift, event.hi + shift + chance.randrange(10**9)
            case 3:
                change(event, chance)
    return events


def change(event, chance: random.Random) -> None:
    names = [
        name
        for name in event.__struct_fields__
        if isinstance(getattr(event, name), str | None) and name not in LITERALS
    ]
    if names:
        setattr(event, chance.choice(names), chance.choice(WORDS))
    if isinstance(event, Report):
        event.fields = {"session": chance.choice([None, 3, "s-new", []]), "key": chance.choice([None, {}, "key-s-new"])}
    if isinstance(event, Fault):
        event.inc = chance.choice([None, [], [1], ["pod", "container"]])


LITERALS = {"op", "outcome", "mark", "about", "edge", "on", "state"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", ["baseline", "during", "clean", "end"])
def test_a_spoiled_history_has_a_verdict_and_every_report_of_it(seed: int, stage: checker.Stage):
    chance = random.Random(f"{seed} {stage}")
    made = complete(n=1, seconds_of_steps=0.3, exposure={"stop": 1, "hibernate": 1, "wake": 1}, **EVERYTHING)
    made.events = spoil(made.events, chance)
    history = made.history()
    verdict = recovery.add(checker.judge(history, stage), history)
    assert verdict.value in ("true", "false", "unknown")
    assert not any("crashed" in reason for reason in verdict.why), verdict.why
    assert report.console(verdict, "runs/x")
    assert report.suite(verdict)
    assert report.page(verdict, history)


def test_a_history_that_can_not_be_put_in_order_is_unknown():
    made = complete()
    made.find(Submit)[0].lo = None
    history = History(made.segments, made.contract, made.events, [])
    verdict = checker.judge(history, "end")
    assert verdict.value == "unknown"
    assert "crashed" in verdict.why[0]
    assert report.console(verdict, "runs/x")
    assert report.page(verdict, history)
