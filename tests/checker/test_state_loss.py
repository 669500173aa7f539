"""state-loss: a session that has lost what it knew says so, or is accused."""

from typing import Any

import pytest
from histories import PROVEN, UNDONE, Made, ns, thorough

from chaosreprise import checker
from chaosreprise.checker.tiny import PROMISES, Tiny
from chaosreprise.history import Answer, Submit

SESSION = "s-a1-stepper"


def lost(made: Made, stage: Any = "end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["state-loss"]


def world(**changes: Any) -> Made:
    return thorough("state-loss", seconds_of_steps=8.0, **changes)


def answers(made: Made, session: str = SESSION, since: float = UNDONE) -> list[Answer]:
    """Of the steps of a session that were sent from then on."""
    sent = [cmd.cmd for cmd in made.commands("step", since) if cmd.session == session]
    return made.find(Answer, lambda e: e.cmd in sent)


def other_memory(answer: Answer) -> None:
    key, _, _, *files = str(answer.result).split()
    answer.result = " ".join([key, "f0e5", "1", *files])


def older_memory(answer: Answer) -> None:
    key, nonce, _, *files = str(answer.result).split()
    answer.result = " ".join([key, nonce, "1", *files])


def anew(later: list[Answer]) -> None:
    """Another memory, which lasts."""
    for number, answer in enumerate(later, start=1):
        key, _, _, *files = str(answer.result).split()
        answer.result = " ".join([key, "f0e5", str(number), *files])


def deny(answer: Answer) -> None:
    answer.outcome, answer.status, answer.rule, answer.result, answer.id = "fail", 404, "not-found", None, None


def fewer_files(answer: Answer) -> None:
    key, nonce, count, *_ = str(answer.result).split()
    answer.result = f"{key} {nonce} {count} 0"


def emptied(later: list[Answer]) -> None:
    """The size starts again at nothing."""
    for number, answer in enumerate(later):
        key, nonce, count, *_ = str(answer.result).split()
        answer.result = f"{key} {nonce} {count} {200 * number}"


def other_content(answer: Answer) -> None:
    """As much as before, and other bytes."""
    *words, known, left = str(answer.result).split()
    answer.result = " ".join([*words, f"{known.partition(':')[0]}:{'f' * 16}", left])


def without_digests(made: Made) -> None:
    for answer in made.find(Answer, lambda e: len((e.result or "").split()) == 6):
        answer.result = " ".join(str(answer.result).split()[:4])


def test_what_is_remembered_throughout_is_evidence():
    found = lost(world())
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 3, [])


@pytest.mark.parametrize(
    ("spoil", "label"),
    [(other_memory, "memory"), (older_memory, "memory"), (fewer_files, "files"), (other_content, "files")],
)
def test_a_loss_without_a_word_is_false(spoil: Any, label: str):
    made = world()
    spoil(answers(made)[0])
    found = lost(made)
    assert (found.value, found.count, found.labels, found.baseline) == ("false", (1, 1), {label: 1}, 0)
    assert found.witnesses[0].session == SESSION


def test_before_anything_was_broken_it_is_the_baseline():
    made = world()
    other_memory(answers(made, since=2.0)[0])
    assert lost(made).baseline == 1


@pytest.mark.parametrize(("spoil", "promise"), [(anew, "memory"), (emptied, "files")])
def test_what_is_not_promised_is_not_judged_and_that_is_said(spoil: Any, promise: str):
    made = world()
    made.contract.promises = {**made.contract.promises, promise: False}
    spoil(answers(made))
    found = lost(made)
    assert found.value == "true"
    assert [one.what for one in found.untested] == [f"{promise} kept"]


def test_a_platform_that_promises_neither_is_unknown():
    made = world()
    made.contract.promises = {"durable": True, "at_most_once": True}
    assert lost(made).value == "unknown"


@pytest.mark.parametrize("spoil", [other_memory, older_memory])
def test_an_old_memory_that_comes_back_is_false_where_none_is_promised(spoil: Any):
    made = world()
    made.contract.promises = {**made.contract.promises, "memory": False}
    spoil(answers(made)[0])
    found = lost(made)
    assert (found.value, found.labels) == ("false", {"stale": 1})


def test_files_that_are_as_large_as_before_a_step_are_not_those_that_it_wrote_into():
    made = world()
    *_, before = answers(made, since=2.0)[:1]
    answers(made)[0].result = " ".join([*str(answers(made)[0].result).split()[:3], str(before.result).split()[3]])
    assert lost(made).labels == {"files": 1}


def test_a_home_that_was_filled_again_with_something_else_is_found_by_its_content_and_told():
    made = world()
    other_content(answers(made)[0])
    (witness,) = lost(made).witnesses
    assert witness.say.endswith("bytes are not what it had left there")


def test_steps_that_print_no_digest_are_judged_by_size_and_that_is_said():
    made = world()
    without_digests(made)
    found = lost(made)
    assert (found.value, found.count) == ("true", (0, 0))
    assert [one.what for one in found.untested] == ["content of files"]
    emptied(answers(made))
    assert lost(made).labels == {"files": 1}


def test_who_looked_at_more_than_anybody_had_left_compares_nothing():
    made = world()
    for answer in answers(made, since=0.0):
        *words, _, left = str(answer.result).split()
        answer.result = " ".join([*words, f"7:{'f' * 16}", left])
    assert lost(made).count == (0, 0)


def test_other_content_where_no_home_is_kept_or_after_a_loss_that_was_said_is_none():
    made = world()
    error, first, *_ = answers(made)
    deny(error)
    other_content(first)
    assert lost(made).count == (0, 0)
    made = world()
    (start,) = made.find(Answer, lambda e: e.session == SESSION)
    made.find(Submit, lambda e: e.cmd == start.cmd)[0].persistent = False
    other_content(answers(made)[0])
    assert lost(made).count == (0, 0)


@pytest.mark.parametrize(("persistent", "labels"), [(True, {"files": 1}), (False, {})])
def test_files_are_promised_where_a_persistent_home_was_asked_for(persistent: bool, labels: dict[str, int]):
    made = world()
    (start,) = made.find(Answer, lambda e: e.session == SESSION)
    made.find(Submit, lambda e: e.cmd == start.cmd)[0].persistent = persistent
    emptied(answers(made))
    assert lost(made).labels == labels


@pytest.mark.parametrize(("at", "value"), [(UNDONE - 0.5, "true"), (UNDONE + 30, "unknown")])
def test_files_over_a_hibernation_are_known_only_of_who_was_asked_again(at: float, value: str):
    made = world()
    made.command("hibernate", SESSION, at)
    found = lost(made)
    assert found.value == value
    assert [doubt.why for doubt in found.scope if "before a hibernation" in doubt.why] == [
        "no session whose files are promised was asked before a hibernation and again after it"
    ] * (value == "unknown")


def test_a_loss_that_was_said_is_none():
    made = world()
    error, *rest = answers(made)
    deny(error)
    anew(rest)
    assert lost(made).count == (0, 0)


def test_an_error_that_says_nothing_of_the_session_excuses_nothing():
    made = world()
    error, *rest = answers(made)
    error.outcome, error.status, error.result, error.id = "info", 500, None, None
    anew(rest)
    assert lost(made).count == (1, 1)


def test_an_error_long_before_says_nothing_of_a_later_loss():
    made = world()
    early, *_ = answers(made, since=2.0)
    deny(early)
    other_memory(answers(made)[0])
    assert lost(made).count == (1, 1)


def test_a_call_that_reached_nobody_says_nothing():
    made = world()
    error, first, *_ = answers(made)
    error.outcome, error.result, error.id, error.error = "info", None, None, "ReadTimeout"
    other_memory(first)
    assert lost(made).count[0] >= 1


def test_a_session_that_was_reported_as_ended_may_have_lost_everything():
    made = world()
    later = answers(made)
    made.session(SESSION, "failed", (later[0].lo - ns(0)) / 1e9 - 0.02)
    anew(later)
    assert lost(made).count == (0, 0)


def test_steps_that_overlap_have_no_order():
    made = world()
    first, second, *_ = answers(made)
    first.result, second.result = (
        f"{str(one.result).split()[0]} {' '.join(str(other.result).split()[1:])}"
        for one, other in ((first, second), (second, first))
    )
    first.hi = second.hi
    assert lost(made).count == (0, 0)


def test_a_session_that_nobody_asked_after_the_fault_is_not_known():
    made = world()
    later = [
        answer for session in (SESSION, "s-a2-stepper", "s-a3-stepper") for answer in answers(made, session, PROVEN)
    ]
    for answer in later:
        answer.outcome, answer.result, answer.id = "info", None, None
    found = lost(made)
    assert found.value == "unknown"
    assert "asked again after it" in found.scope[0].why


@pytest.mark.parametrize(
    ("processes", "later", "asked"),
    [
        ("pods", "", True),
        ("pods", "c3 f00d 3 400 400:77d0 600:1f3e", False),
        ("", "c3 f00d 3 400 400:77d0 600:1f3e", True),
    ],
)
def test_a_deleted_pod_that_goes_on_answering_out_of_its_memory_does_not_show_that_a_loss_is_said(
    processes: str, later: str, asked: bool
) -> None:
    made = Tiny(require=["state-loss"], promises=PROMISES | {"memory": True, "files": True}, processes=processes)
    made.watched += ["pods"]
    made.send(0.5, "step", "s1", says="c1 f00d 1 0 0:e3b0 200:5a1c")
    made.send(1.0, "step", "s1", says="c2 f00d 2 200 200:5a1c 400:77d0")
    made.broken("sessions/s1", 2.0, 2.5, "sessions.crash")
    if later:
        made.send(4.0, "step", "s1", says=later)
    else:
        made.send(4.0, "step", "s1", outcome="info", status=500)
    made.settled(6.0)
    found = checker.judge(made.history(), "end").checks["state-loss"]
    assert found.count == (0, 0)
    assert ("did not answer as if it had not been hit" in str(found.scope)) is not asked, found.scope
