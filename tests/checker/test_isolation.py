"""isolation: what is one session's own is never seen in another one."""

from typing import Any

import pytest
from histories import UNDONE, Made, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Effect, Submit

ONE, OTHER = "s-a1-stepper", "s-a3-stepper"


def mixed(made: Made, stage: Any = "end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["isolation"]


def world() -> Made:
    return thorough("isolation", seconds_of_steps=8.0)


def steps(made: Made, session: str, since: float = UNDONE) -> list[Submit]:
    return [cmd for cmd in made.commands("step", since) if cmd.session == session]


def answer_of(made: Made, cmd: str) -> Answer:
    return made.find(Answer, lambda e: e.cmd == cmd)[0]


def other_answer(made: Made) -> None:
    own, other = (answer_of(made, steps(made, session)[0].cmd) for session in (ONE, OTHER))
    own.result, own.outcome = other.result, "info"


def other_place(made: Made) -> None:
    key = steps(made, ONE)[0].key
    for effect in made.find(Effect, lambda e: e.key == key):
        effect.object = effect.session = OTHER


def other_process(made: Made) -> None:
    own, other = (steps(made, session)[0].key for session in (ONE, OTHER))
    process = made.find(Effect, lambda e: e.key == other)[0].inc
    for effect in made.find(Effect, lambda e: e.key == own):
        effect.inc = process


def same_id(made: Made) -> None:
    first, second = (answer_of(made, cmd.cmd) for cmd in made.commands("start")[:2])
    second.session = first.session


def test_sessions_that_keep_to_themselves_are_evidence():
    found = mixed(world())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence == 80


@pytest.mark.parametrize(
    ("spoil", "label"),
    [(other_answer, "answer"), (other_place, "place"), (other_process, "process"), (same_id, "id")],
)
def test_what_is_mixed_up_is_false_once(spoil: Any, label: str):
    made = world()
    spoil(made)
    found = mixed(made)
    assert (found.value, found.count, found.labels) == ("false", (1, 1), {label: 1})
    assert found.baseline == (label == "id")


def test_words_that_are_nobodys_key_accuse_nobody():
    made = world()
    answer = answer_of(made, steps(made, ONE)[0].cmd)
    answer.result, answer.outcome = "Traceback (most recent call last):", "info"
    assert mixed(made).value == "true"


def test_a_new_process_of_its_own_is_legal():
    made = world()
    for cmd in steps(made, ONE):
        for effect in made.find(Effect, lambda e, key=cmd.key: e.key == key):
            effect.inc = ["b00t", 1, 77, 99]
    assert mixed(made).value == "true"


def test_one_session_alone_can_not_be_mixed_up():
    made = world()
    for cmd in made.commands("step"):
        if cmd.session != ONE:
            answer = answer_of(made, cmd.cmd)
            answer.outcome, answer.result = "info", None
    found = mixed(made)
    assert found.value == "unknown"
    assert "two at least can be mixed up" in " ".join(doubt.why for doubt in found.scope)


def test_where_nothing_shows_the_place_of_a_step_it_is_unknown():
    made = world()
    made.contract.attribution = [entry for entry in made.contract.attribution if entry.op != "step"]
    assert mixed(made).value == "unknown"
