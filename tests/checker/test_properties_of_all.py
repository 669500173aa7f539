"""Drawn lives of sessions under all checks of effects and rows: correct ones are never false, and whole ones are true.

A mutation that is surely visible is false by the check whose business it is: swapped effects, an effect that nobody asked
for, a second process, a session that stays.
"""

import dataclasses
import random

from histories import CLEAN, VICTIM, complete, ns
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_properties import Command, Script, scripts

from chaosreprise import checker
from chaosreprise.history import Effect, Report

SETTINGS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
REQUIRE = ["lost", "duplicate", "phantom", "reorder", "split-brain", "residue", "misassigned"]
STATE = {"start": "running", "hibernate": "hibernated", "wake": "running", "stop": "terminated"}
PROMISES = {"durable": True, "at_most_once": True, "order": True}
BASE = complete(
    n=1,
    seconds_of_steps=0.3,
    require=REQUIRE,
    promises=PROMISES,
    exposure={"stop": 1, "hibernate": 1, "wake": 1},
)


def ended(script: Script) -> Script:
    """The same life, with a stop in `clean` if it was not stopped before."""
    if any(command.op == "stop" and command.outcome == "ok" for command in script.commands):
        return script
    at = CLEAN + 0.3
    stop = Command("stop", at, at + 0.01, "ok", [] if _gone(script) else [at + 0.05])
    return dataclasses.replace(script, commands=[*script.commands, stop])


def _gone(script: Script) -> bool:
    return any(command.op == "stop" and command.acted for command in script.commands)


def written(script: Script):
    """A history with this session: its effects in their order, and the rows that a correct platform would have."""
    made = BASE.copy()
    made.owner[script.session] = script.agent if script.agent != VICTIM else "a1"  # starts go elsewhere
    key = f"key-{script.session}"
    effects: list[tuple[float, Command]] = []
    for command in script.commands:
        start = command.op == "start"
        cmd = made.submit(command.op, None if start else script.session, command.at, key=key if start else None)
        made.answer(cmd, command.answered, command.outcome, session=script.session if start else None)
        effects += [(t, command) for t in command.acted]
        if command.outcome == "ok":
            made.row(f"p-{cmd}", script.session, command.op, "pending", command.at + 0.02)
            done = max([command.at, *command.acted]) + 0.05
            made.row(f"p-{cmd}", script.session, command.op, "completed", done)
    for number, (t, command) in enumerate(sorted(effects, key=lambda effect: effect[0])):
        start = command.op == "start"
        for effect in made.effect(command.op, script.session, t, key=key if start else None):
            effect.lo, effect.hi = ns(t - command.width), ns(t + command.width)
        made.session(script.session, STATE[command.op], t + 0.03 + number * 1e-4, key=key)
    return made


def judged(script: Script) -> checker.Verdict:
    return checker.judge(written(script).history(), "end")


def found(verdict: checker.Verdict) -> dict[str, int]:
    return {name: finding.count[0] for name, finding in verdict.checks.items() if finding.count[0]}


@SETTINGS
@given(scripts())
def test_a_correct_life_is_never_false(script: Script):
    verdict = judged(ended(script))
    assert found(verdict) == {}, verdict.why
    assert verdict.value != "false"


@SETTINGS
@given(scripts(clear=True))
def test_a_correct_life_that_is_known_exactly_is_true(script: Script):
    for command in script.commands:
        command.width = 0.0
    verdict = judged(ended(script))
    assert verdict.value == "true", verdict.why


@SETTINGS
@given(scripts(clear=True), st.integers(0, 10**6))
def test_the_order_of_reading_does_not_matter(script: Script, seed: int):
    made = written(ended(script))
    first = checker.judge(made.history(), "end")
    random.Random(seed).shuffle(made.events)
    assert checker.judge(made.history(), "end").to_json() == first.to_json()


@SETTINGS
@given(scripts(clear=True), st.data())
def test_two_effects_that_change_places_are_reordered_exactly_when_the_second_was_sent_after_the_first_was_accepted(
    script: Script, data: st.DataObject
):
    commands = script.commands
    assume(len({command.op for command in commands}) == len(commands) > 2)
    number = data.draw(st.integers(1, len(commands) - 2))
    first, second = commands[number], commands[number + 1]
    for command in commands:
        command.width = 0.0
    second.acted = [second.at + 0.001]
    first.acted = [second.at + 0.002]
    for later, command in enumerate(commands[number + 2 :]):
        command.acted = [max(command.at, second.at + 0.003) + 0.01 * (later + 1)]
    for command in commands[:number]:
        command.acted = [command.at + 0.0005]
    followed = data.draw(st.booleans())
    if not followed:
        first.answered = second.at + 0.0005
    verdict = judged(ended(script))
    assert verdict.checks["reorder"].count == ((1, 1) if followed else (0, 0))


@SETTINGS
@given(scripts(clear=True), st.sampled_from(["hibernate", "wake"]), st.floats(0.001, 1.0))
def test_an_effect_of_a_kind_that_was_never_sent_is_a_phantom(script: Script, op: str, later: float):
    assume(all(command.op != op for command in script.commands))
    script.commands[:] = script.commands[:1]
    started = script.commands[0]
    made = written(ended(script))
    made.effect(op, script.session, max(started.acted[0], started.at) + started.width + later)
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["phantom"].count == (1, 1)
    assert verdict.checks["duplicate"].count == (0, 0)


@SETTINGS
@given(scripts(clear=True), st.floats(0.001, 1.0))
def test_a_second_process_is_seen_exactly_while_the_first_one_lives(script: Script, later: float):
    for command in script.commands:
        command.width = 0.0
    script = ended(script)
    made = written(script)
    at = script.commands[0].acted[0] + later
    living = made.living(script.session, at)
    made.add(
        Effect(
            lo=ns(at), hi=ns(at), ledger="slots", object=script.session, session=script.session,
            mark="back", inc=["b00t", 1, 7, 7], gen=1,
        )
    )  # fmt: skip
    made.add(
        Effect(
            lo=ns(at) + 9, hi=ns(at) + 9, ledger="slots", object=script.session, session=script.session,
            mark="crash", inc=["b00t", 1, 7, 7], gen=1,
        )
    )  # fmt: skip
    count = checker.judge(made.history(), "end").checks["split-brain"].count
    assert count == ((1, 1) if living else (0, 0))


@SETTINGS
@given(scripts(clear=True), st.sampled_from(["session", "object"]), st.booleans())
def test_what_stays_although_it_was_stopped_is_residue_unless_its_end_may_be_hidden(
    script: Script, what: str, hidden: bool
):
    made = written(ended(script))
    if what == "session":
        made.drop(Report, lambda e: e.id == script.session and e.state == "terminated")
    else:
        made.drop(Effect, lambda e: e.session == script.session and e.mark == "gone")
    if hidden:
        made.gap("rows" if what == "session" else "slots", 17.9, 18.3)  # the end of what is judged lies within
    found = checker.judge(made.history(), "end").checks["residue"]
    assert (found.labels, found.count) == (({}, (0, 1)) if hidden else ({what: 1}, (1, 1)))
