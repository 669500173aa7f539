"""Drawn histories: correct ones are never false, a dropped or doubled effect is false exactly when it is visible.

Visible is what a brute-force oracle says, which tries every way in which the effects can belong to the commands.
"""

import dataclasses
import functools
from collections import defaultdict

import pytest
from histories import AGENTS, ATTRIBUTION, SETTLE_S, Made, complete, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosreprise import checker
from chaosreprise.history import Effect, Submit

pytestmark = pytest.mark.long
SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
FIRST, LAST = 5.1, 8.8
NEXT = {"start": ("hibernate", "stop"), "hibernate": ("wake", "stop"), "wake": ("hibernate", "stop"), "stop": ()}


@dataclasses.dataclass
class Command:
    """What was sent, what was answered, and when it really acted (twice: a defect)."""

    op: str
    at: float
    answered: float
    outcome: str
    acted: list[float]
    width: float = 0.0
    redelivered: bool = False


@dataclasses.dataclass
class Script:
    session: str
    agent: str
    commands: list[Command]


@functools.cache
def base() -> Made:
    return complete(n=1, seconds_of_steps=0.3, exposure={"stop": 1, "hibernate": 1, "wake": 1})


@st.composite
def scripts(draw, clear: bool = False):
    """One session's life on a correct platform: commands in order, some not answered, some delivered twice, all acting once."""
    number = draw(st.integers(0, 10**6))
    at = FIRST + draw(st.floats(0, 1.5))
    op, acted, commands = "start", 0.0, []
    while at < LAST and len(commands) < 7:
        outcome = "ok" if clear or op == "start" else draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
        happens = outcome == "ok" or (outcome == "info" and draw(st.booleans()))
        answered = at + draw(st.floats(0.001, 0.2))
        acted = max(acted, at + draw(st.floats(0.001, 1.0)))
        width = draw(st.sampled_from([0.0, 0.0, 0.02, 0.3]))
        effects = [acted] if happens else []
        commands.append(Command(op, at, answered, outcome, effects, width, draw(st.booleans())))
        if outcome == "ok" or happens:
            if not NEXT[op]:
                break
            op = draw(st.sampled_from(NEXT[op]))
        at = answered + draw(st.floats(0.001, 0.6))
    return Script(f"drawn-{number}", draw(st.sampled_from(AGENTS)), commands)


def many(clear: bool = False):
    return st.lists(scripts(clear=clear), min_size=1, max_size=3, unique_by=lambda script: script.session)


def write(drawn: list[Script]) -> Made:
    made = base().copy()
    for script in drawn:
        _write(made, script)
    return made


def _write(made: Made, script: Script) -> None:
    made.owner[script.session] = script.agent
    key = f"key-{script.session}"
    effects = []
    for command in script.commands:
        start = command.op == "start"
        cmd = made.submit(command.op, None if start else script.session, command.at, key=key if start else None)
        made.answer(cmd, command.answered, command.outcome, session=script.session if start else None)
        effects += [(t, command) for t in command.acted]
        if command.outcome == "ok":
            made.row(f"p-{cmd}", script.session, command.op, "pending", command.at + 0.02)
            if command.redelivered:
                for state in ("sent", "ack", "sent", "ack"):
                    made.row(f"p-{cmd}", script.session, command.op, state, command.answered + 0.1)
    for t, command in sorted(effects, key=lambda effect: effect[0]):
        for effect in made.effect(command.op, script.session, t, key=key if command.op == "start" else None):
            effect.lo, effect.hi = ns(t - command.width), ns(t + command.width)


def wrote(drawn: list[Script]) -> checker.Verdict:
    return checker.judge(write(drawn).history(), "end")


# -- the oracle: every way in which effects can belong to commands


def oracle(drawn: list[Script]) -> tuple[int, int]:
    """How many commands are surely lost, and how many effects are surely too many."""
    lost = surplus = 0
    for script in drawn:
        groups = defaultdict(list)
        for command in script.commands:
            groups[command.op].append(command)
        for op, commands in groups.items():
            able = [command for command in commands if command.outcome != "fail"]
            effects = [t + c.width for c in commands for t in c.acted]
            countable = [t + c.width for t, c in _visible(script, op)]
            needing = [command for command in able if command.outcome == "ok"]
            if op == "start":  # keyed
                lost += sum(not command.acted for command in needing)
                surplus += sum(max(0, len(command.acted) - 1) for command in commands)
            else:
                lost += len(needing) - best(tuple(effects), tuple(command.at for command in needing))
                surplus += len(countable) - best(tuple(countable), tuple(command.at for command in able))
    return lost, surplus


def _visible(script: Script, op: str) -> list[tuple[float, Command]]:
    """The effects of a kind that could be told from none: a repeat that changes nothing is legal where the contract says so."""
    repeats = {entry.op: entry.repeat for entry in ATTRIBUTION}[op]
    everything = sorted(((t, c) for c in script.commands for t in c.acted), key=lambda effect: effect[0])
    before, found = None, []
    for t, command in everything:
        if command.op == op and (repeats or before != op):
            found.append((t, command))
        before = command.op
    return found


def best(effects: tuple[float, ...], submitted: tuple[float, ...]) -> int:
    """The most effects that can each belong to a command of its own, sent not after it. Tries all."""
    if not effects:
        return 0
    first, rest = effects[0], effects[1:]
    tries = [best(rest, submitted)]
    for number, at in enumerate(submitted):
        if ns(at) <= ns(first):
            tries.append(1 + best(rest, submitted[:number] + submitted[number + 1 :]))
    return max(tries)


@SETTINGS
@given(many())
def test_a_correct_history_is_never_false(drawn: list[Script]):
    assert wrote(drawn).value != "false"


@SETTINGS
@given(many(clear=True))
def test_a_correct_history_in_which_everything_was_answered_is_true(drawn: list[Script]):
    verdict = wrote(drawn)
    assert verdict.value == "true", verdict.why


@SETTINGS
@given(many(), st.data())
def test_a_dropped_effect_is_lost_exactly_when_nothing_else_can_explain_it(drawn: list[Script], data: st.DataObject):
    acting = [command for script in drawn for command in script.commands if command.acted]
    data.draw(st.sampled_from(acting)).acted.clear()
    verdict = wrote(drawn)
    lost, surplus = oracle(drawn)
    assert (verdict.checks["lost"].count[0], verdict.checks["duplicate"].count[0]) == (lost, surplus)
    assert (verdict.value == "false") == (lost + surplus > 0)


@SETTINGS
@given(many(), st.data())
def test_a_doubled_effect_is_a_duplicate_exactly_when_no_command_is_left_for_it(
    drawn: list[Script], data: st.DataObject
):
    acting = [command for script in drawn for command in script.commands if command.acted]
    command = data.draw(st.sampled_from(acting))
    command.acted.append(command.acted[0] + data.draw(st.floats(0.0001, 1.0)))
    verdict = wrote(drawn)
    lost, surplus = oracle(drawn)
    assert (verdict.checks["lost"].count[0], verdict.checks["duplicate"].count[0]) == (lost, surplus)
    assert (verdict.value == "false") == (lost + surplus > 0)


@SETTINGS
@given(many(), st.data())
def test_any_number_of_dropped_and_doubled_effects_agrees_with_the_oracle(drawn: list[Script], data: st.DataObject):
    for script in drawn:
        for command in script.commands:
            change = data.draw(st.sampled_from(["keep", "keep", "drop", "double"]))
            if change == "drop":
                command.acted.clear()
            elif change == "double" and command.acted:
                command.acted.append(command.acted[0] + data.draw(st.floats(0.0001, 1.0)))
    verdict = wrote(drawn)
    lost, surplus = oracle(drawn)
    assert (verdict.checks["lost"].count[0], verdict.checks["duplicate"].count[0]) == (lost, surplus)
    assert (verdict.value == "false") == (lost + surplus > 0)
    assert not (verdict.value == "true" and verdict.checks["lost"].count[1])


@SETTINGS
@given(many(), st.floats(FIRST, LAST), st.floats(0.001, 1.0))
def test_what_a_gap_swallows_is_never_false_and_never_true(drawn: list[Script], since: float, length: float):
    made = write(drawn)
    until = since + length
    ours = {script.session for script in drawn}
    made.events = [
        event
        for event in made.events
        if not (isinstance(event, Effect) and event.session in ours and ns(since) <= event.hi <= ns(until))
    ]
    made.gap("slots", since, until)
    verdict = checker.judge(made.history(), "end")
    assert verdict.value == "unknown", verdict.why


@SETTINGS
@given(many(), st.randoms(use_true_random=False))
def test_the_order_in_which_a_history_is_read_does_not_matter(drawn: list[Script], random):
    made = write(drawn)
    first = checker.judge(made.history(), "end")
    random.shuffle(made.events)
    assert checker.judge(made.history(), "end").to_json() == first.to_json()


@SETTINGS
@given(st.floats(0.0, 20.0), st.sampled_from(["baseline", "during", "clean", "end"]))
def test_a_correct_history_is_false_at_no_moment_of_its_growth(until: float, stage: checker.Stage):
    made = base().copy()
    made.events = [event for event in made.events if event.hi <= ns(until)]
    verdict = checker.judge(made.history(), stage)
    assert verdict.value != "false"
    if stage == "end":
        assert (verdict.value == "true") == (until >= 19.5)


def test_settling_is_what_the_properties_rest_on():
    assert LAST + 1.0 + 1.0 < 9.5 + SETTLE_S
    assert base().find(Submit)
