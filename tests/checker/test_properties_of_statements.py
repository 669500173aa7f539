"""Drawn lives of sessions under the checks of what a contract states: correct ones are never false, whole ones are true.

A mutation is false exactly when it is visible: an effect that comes after its bound, a state that comes back.
"""

import random

from histories import complete, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_properties import Script, scripts
from test_properties_of_all import ended, written

from chaosreprise import checker
from chaosreprise.history import Report
from chaosreprise.history.statements import Allowed, Objective, Situation
from chaosreprise.platform.streamspace_states import STATES

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BOUND_S = 3.0
STATED = {
    "require": ["late", "lifecycle", "objective", "refusal"],
    "states": STATES,
    "bounds": dict.fromkeys(("start", "stop", "hibernate", "wake", "step"), int(BOUND_S * 1e9)),
    "objectives": [Objective(name="steps", latency="answer", op="step", max=1)],
    "situations": [Situation(name="away", when="agent-broken", ops=["stop"], allow=[Allowed(status=0)], within_s=5)],
}
CONTRACT = complete(n=1, **STATED).contract


def made_of(script: Script):
    made = written(script)
    made.contract = CONTRACT
    made.contract.exposure = {"stop": 1, "hibernate": 1, "wake": 1}
    for report in made.find(Report, lambda e: e.id == script.session):
        report.owner = script.agent
    return made


@SETTINGS
@given(scripts())
def test_a_correct_life_is_never_false(script: Script):
    verdict = checker.judge(made_of(ended(script)).history(), "end")
    assert {name: found.witnesses for name, found in verdict.checks.items() if found.count[0]} == {}


@SETTINGS
@given(scripts(clear=True), st.integers(0, 10**6))
def test_a_correct_life_that_is_known_exactly_is_true_however_it_is_read(script: Script, seed: int):
    for command in script.commands:
        command.width = 0.0
    made = made_of(ended(script))
    first = checker.judge(made.history(), "end")
    assert first.value == "true", first.why
    random.Random(seed).shuffle(made.events)
    assert checker.judge(made.history(), "end").to_json() == first.to_json()


@SETTINGS
@given(scripts(clear=True), st.data())
def test_an_effect_is_late_exactly_when_it_surely_came_after_its_bound(script: Script, data: st.DataObject):
    script.commands[:] = script.commands[:1]
    (started,) = script.commands
    started.width = 0.0
    beyond = data.draw(st.floats(-1.0, 1.0).filter(lambda seconds: abs(seconds) > 1e-6))
    healed = data.draw(st.booleans())
    script.agent = "a2" if healed else "a1"
    if healed:  # sent before the fault began, and held up by it
        started.at, started.answered = 4.9, 4.95
    due = (8.1 if healed else started.answered) + BOUND_S
    started.acted = [due + beyond]
    found = checker.judge(made_of(script).history(), "end").checks["late"]
    assert found.count == ((1, 1) if beyond > 0 else (0, 0))


@SETTINGS
@given(scripts(clear=True), st.sampled_from(["running", "hibernated"]), st.floats(0.01, 2.0))
def test_a_session_that_was_stopped_comes_back_in_no_state(script: Script, state: str, later: float):
    made = made_of(ended(script))
    last = made.find(Report, lambda e: e.about == "session" and e.id == script.session)[-1]
    made.session(script.session, state, (last.hi - ns(0)) / 1e9 + later)
    found = checker.judge(made.history(), "end").checks["lifecycle"]
    assert found.count == (1, 1)
    assert f"terminated to {state}: there is no such way" in found.witnesses[0].say
