"""Anybody's history: whatever stands in it, judging ends in a verdict, never in a traceback, and never in a pass by accident."""

import copy
import itertools
import json
import pathlib
import random
import typing
from collections.abc import Callable

import pytest
from histories import Made, complete, ns, segments, thorough

from chaosreprise import checker, recovery, report
from chaosreprise.errors import BadInput
from chaosreprise.history import Effect, Fault, History, Observe, Report, Submit, load
from chaosreprise.history.events import Attribution, Level, Refusal
from chaosreprise.history.statements import Allowed, Edge, Known, Objective, Situation, When
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


LITERALS = {"op", "outcome", "mark", "about", "edge", "on", "state", "moment"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", ["baseline", "during", "clean", "end"])
def test_a_spoiled_history_has_a_verdict_and_every_report_of_it(seed: int, stage: checker.Stage):
    chance = random.Random(f"{seed} {stage}")
    made = thorough(seconds_of_steps=0.3, **EVERYTHING)
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


def sample(signal: str, value: object) -> Callable[[Made], object]:
    return lambda made: made.add(Observe(lo=ns(19.1), hi=ns(19.1), source="load", signal=signal, value=value))


def stated(**changes) -> Callable[[Made], object]:
    return lambda made: [setattr(made.contract, name, value) for name, value in changes.items()]


NESTED = json.loads("[" * 900 + "]" * 900)
LETTERS = "abcdefgh"
CHANGES_OF_STATE = ("start", "stop", "wake", "hibernate", "crash", "agent")
EVERYWHERE = [
    Attribution(op=op, ledger=ledger, level=level, mark=mark)
    for op, ledger in itertools.product(("read", "step", "stop"), ("", "slots"))
    for level, mark in itertools.product(typing.get_args(Level), ("back", "gone"))
]
ODD: dict[str, Callable[[Made], object]] = {
    **{
        f"{name} {number}": sample(name, value)
        for name in ("lag_ms", "skipped")
        for number, value in enumerate((10**400, -(10**400), 1e308, -1e308, True, "x", None, {}, [10**400], NESTED))
    },
    "huge exposure": stated(exposure={"stop": 10**40}),
    "negative exposure": stated(exposure={"stop": -(10**40)}),
    "endless settling": stated(settle_ns=2**62 - 1),
    "endless silence": stated(offline_ns=2**62 - 1),
    "no time at all": stated(
        bounds=dict.fromkeys(("start", "stop", "hibernate", "wake", "step"), 0), settle_ns=0, offline_ns=0
    ),
    "bounds of nothing": stated(bounds={"wake": 2**62 - 1, "x": 0}),
    "no such day": stated(known=[Known(check="lost", match="took effect at once", why="x", expires="2999-99-99")]),
    "every change is legal": stated(
        states=[Edge(before=a, after=b, by=by) for a in LETTERS for b in LETTERS for by in CHANGES_OF_STATE]
    ),
    "promises of no kind": stated(promises={"durable": "x", "at_most_once": [], "coalesce": {}}),
    "checks of no kind": stated(require=["\x00", "lost", "lost", ""], optional=["lost", "x" * 5000]),
    "objectives of nothing": stated(
        objectives=[
            Objective(name="x"),
            Objective(name="y", signal="load"),
            Objective(name="z", latency="effect"),
            Objective(name="q", latency="answer", op="step", quantile=1e-9, max=-1e308, min=1e308),
        ]
    ),
    "attribution of all kinds": stated(attribution=EVERYWHERE),
    "the end of time": lambda made: [setattr(segment, "wall", 2**62 - 1) for segment in made.segments],
    "one generation": lambda made: [setattr(effect, "gen", 10**40) for effect in made.find(Effect)],
    "nested": lambda made: [
        setattr(report, "fields", {"key": NESTED, "session": NESTED}) for report in made.find(Report)
    ],
    "agents without a name": lambda made: [setattr(submit, "path", ["agents/"] * 5) for submit in made.find(Submit)],
    "nothing broken": lambda made: [setattr(fault, "component", "") for fault in made.find(Fault)],
    "faults of no kind": lambda made: [setattr(fault, "kind", "...") for fault in made.find(Fault)],
    "no events": lambda made: made.events.clear(),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_and_within_the_format_is_judged_like_anything_else(name: str, tmp_path: pathlib.Path):
    made = thorough()
    made.segments = [copy.copy(segment) for segment in made.segments]
    ODD[name](made)
    for writer, lines in segments(made.history()).items():
        (tmp_path / f"{writer}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    history = load(tmp_path)
    verdict = recovery.add(checker.judge(history, "end"), history)
    assert not any("crashed" in reason for reason in verdict.why), verdict.why
    assert report.console(verdict)
    assert report.suite(verdict)
    assert report.page(verdict, history)


@pytest.mark.parametrize("what", ["situations", "refusals"])
def test_what_should_be_a_pattern_and_is_none_is_refused(what: str, tmp_path: pathlib.Path):
    made = thorough()
    entry = Situation(name="x", when="agent-broken", ops=["stop"], allow=[Allowed(status=0, body="(")], within_s=1)
    setattr(made.contract, what, [entry] if what == "situations" else [Refusal(id="x", status=1, body="(")])
    for writer, lines in segments(made.history()).items():
        (tmp_path / f"{writer}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(BadInput, match=r'owner.jsonl, line 2: "\(" is no regular expression'):
        load(tmp_path)
