"""What is read from the answers about what exists: a session, a list that is whole, and that something does not exist."""

import httpx
import pytest

from chaosreprise.history import Answer
from chaosreprise.platform.adapter import Operation
from chaosreprise.platform.streamspace_answers import REFUSALS, judged
from chaosreprise.platform.streamspace_marks import ANYBODYS, of

MARKS = of("r1")


def answer(status: int, body: object, session: str | None = None) -> Answer:
    operation = Operation(cmd="c1", op="read", key="k", session=session)
    return judged(operation, httpx.Response(status, json=body), MARKS, Answer(lo=1, hi=2, cmd="c1", outcome="info"))


def listed(*names: str, tags: tuple[str, ...] = (MARKS.tag,)) -> list[dict[str, object]]:
    return [{"name": name, "tags": list(tags)} for name in names]


def test_a_whole_list_names_our_sessions_and_nobody_elses():
    sessions = [*listed("s1", "s2"), *listed("foreign", tags=("theirs",)), {"name": "untagged"}]
    found = answer(200, {"sessions": sessions, "total": 4})
    assert (found.outcome, found.status, found.listed) == ("ok", 200, ["s1", "s2"])


def test_where_lists_show_no_tags_our_key_among_what_was_asked_for_tells_our_sessions():
    asked = {
        "ours": MARKS.keys[0],
        "of-another-run": MARKS.keys[-1] + 1,
        "theirs": "512Mi",
        "odd": "²",
        "long": "9" * 5000,
    }
    sessions = [{"name": name, "resources": {"memory": str(memory)}} for name, memory in asked.items()]
    found = answer(200, {"sessions": [*sessions, {"name": "bare"}], "total": 6})
    assert found.listed == ["ours"]
    assert [one["name"] for one in sessions if ANYBODYS.on(one)] == ["ours", "of-another-run"]


@pytest.mark.parametrize("total", [1, 3, None])
def test_a_list_that_may_not_be_whole_names_nothing(total: int | None):
    found = answer(200, {"sessions": listed("s1", "s2"), "total": total})
    assert (found.outcome, found.listed) == ("ok", None)


def test_an_empty_list_is_a_list():
    assert answer(200, {"sessions": [], "total": 0}).listed == []


def test_a_read_of_one_session_gives_its_state_and_no_list():
    found = answer(200, {"state": "running"}, session="s1")
    assert (found.result, found.listed) == ("running", None)


def test_only_not_found_says_that_a_session_does_not_exist():
    found = answer(404, {"error": "Session not found"}, session="s1")
    assert (found.outcome, found.rule) == ("fail", "not-found")
    assert [rule.id for rule in REFUSALS if rule.absent] == ["not-found"]
    step = Operation(cmd="c1", op="step", key="k", session="s1")
    told = judged(step, httpx.Response(404), MARKS, Answer(lo=1, hi=2, cmd="c1", outcome="info"))
    assert (told.outcome, told.rule) == ("fail", "nothing-there"), "who runs steps may know only what is awake"
    assert answer(500, {"error": "Database unavailable"}, session="s1").outcome == "info"
