"""What is judged by what the processes of sessions say of themselves, where nothing else of them is seen."""

import pytest
from histories import Made, complete, ns

from chaosreprise import checker
from chaosreprise.checker.verdict import Finding
from chaosreprise.history import Answer, Effect, Sign, Submit

SESSION = "s-a1-run0"
PROMISES = {"durable": True, "at_most_once": True, "files": True}


def signs(made: Made, session: str, since: float, until: float, boot: str, kept: int | None = 1, **more) -> list[Sign]:
    """Of one process: one a second, the first and the last."""
    times = [since, *(since + n for n in range(1, int(until - since) + 1)), until]
    found = [
        Sign(lo=ns(at - 0.01), hi=ns(at), ledger="witness", session=session, inc=["pod", boot], number=n, kept=kept)
        for n, at in enumerate(times, 1)
    ]
    for name, value in more.items():
        setattr(found[-1], name, value)
    for sign in found:
        made.add(sign)
    return found


def heard(**changes) -> Made:
    """A whole correct run of which only answers, rows and signs are seen: each life in the ledger is one that spoke."""
    made = complete(**({"signs": ["witness"], "promises": PROMISES} | changes))
    end = max(event.hi for event in made.events)
    for session in sorted({e.session for e in made.find(Effect, lambda e: e.ledger == "slots")}):
        own = sorted(made.find(Effect, lambda e: e.session == session and e.mark in ("up", "down")), key=lambda e: e.hi)  # noqa: B023
        ups, downs = ([e.hi for e in own if e.mark == mark] for mark in ("up", "down"))
        for number, up in enumerate(ups, 1):
            down = min((at for at in downs if at > up), default=end)
            life = (up - ns(0)) / 1e9 + 0.02, (down - ns(0)) / 1e9 - 0.02
            signs(made, session, *life, f"{session}-{number}", number)
    made.contract.attribution = []
    made.drop(Effect)
    for answer in made.find(Answer):
        answer.result = None
    made.cover("witness", 0.0)
    return made


def judged(made: Made, check: str) -> Finding:
    return checker.judge(made.history(), "end").checks[check]


def process(made: Made, session: str = SESSION) -> list[Sign]:
    return made.find(Sign, lambda e: e.session == session)


def dies(made: Made, at: float = 5.0) -> float:
    """The session's process dies while it runs; soon after, when another one may speak."""
    made.drop(Sign, lambda e: e.session == SESSION and e.hi > ns(at))
    return at + 0.3


@pytest.mark.parametrize("check", ["split-brain", "state-loss"])
def test_who_speaks_for_itself_is_judged_without_any_ledger(check: str):
    found = judged(heard(require=[check]), check)
    assert (found.value, found.count) == ("true", (0, 0)), found
    assert found.evidence > 10


def test_two_processes_that_both_spoke_for_a_while_were_one_session():
    made = heard(require=["split-brain"])
    signs(made, SESSION, 4.0, 8.0, "second", 9)
    found = judged(made, "split-brain")
    assert (found.value, found.count) == ("false", (1, 1))
    assert "process second in pod began at 4.000 s, while process s-a1-run0-1" in found.witnesses[0].say


def test_a_process_that_spoke_for_the_last_time_before_another_began_was_not_beside_it():
    made = heard(require=["split-brain"])
    last = max(sign.hi for sign in process(made))
    since = (last - ns(0)) / 1e9 + 0.5
    signs(made, SESSION, since, since + 1, "second", 9)
    assert judged(made, "split-brain").count == (0, 0)


def test_who_was_asked_to_end_soon_after_another_one_began_may_have_been_replaced():
    made = heard(require=["split-brain"])
    for sign in process(made):
        made.events.remove(sign)
    signs(made, SESSION, 1.0, 4.2, "first", 1, ending=True)
    signs(made, SESSION, 4.0, 8.0, "second", 2)
    found = judged(made, "split-brain")
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_who_ends_together_with_another_one_was_not_replaced_by_it():
    made = heard(require=["split-brain"])
    for sign in process(made):
        made.events.remove(sign)
    signs(made, SESSION, 4.0, 8.0, "first", 1, ending=True)
    signs(made, SESSION, 4.5, 8.1, "second", 2, ending=True)
    assert judged(made, "split-brain").count == (1, 1)


def test_a_pause_is_no_end_and_no_second_process():
    made = heard(require=["split-brain", "state-loss"])
    made.drop(Sign, lambda e: e.session == SESSION and ns(3) < e.hi < ns(7))
    for check in ("split-brain", "state-loss"):
        assert judged(made, check).count == (0, 0)


def test_a_time_in_which_nobody_listened_makes_it_unknown():
    made = heard(require=["split-brain"])
    made.gap("witness", 5.0, 6.0, "nobody listened")
    found = judged(made, "split-brain")
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "nobody listened" in found.scope[0].why


def test_a_session_that_ran_and_was_never_heard_of_makes_it_unknown():
    made = heard(require=["split-brain"])
    silent = "s-a1-canary"
    made.drop(Sign, lambda e: e.session == silent)
    found = judged(made, "split-brain")
    assert found.value == "unknown", found
    assert f"no process of theirs was heard of, the first {silent}" in found.scope[0].why


def test_a_new_process_has_lost_a_memory_that_was_promised_unless_that_was_said():
    made = heard(require=["state-loss"], promises=PROMISES | {"memory": True})
    before = judged(made, "state-loss").count[0]  # those that hibernated
    since = dies(made)
    signs(made, SESSION, since, since + 1, "second", 2)
    found = judged(made, "state-loss")
    assert (found.value, found.count[0]) == ("false", before + 1)
    assert set(found.labels) == {"memory"}
    made.session(SESSION, "failed", since - 0.2)
    assert judged(made, "state-loss").count[0] == before


@pytest.mark.parametrize(("kept", "lost"), [(1, True), (2, False), (None, False)])
def test_a_home_in_which_the_line_of_the_last_process_is_missing_was_lost(kept: int | None, lost: bool):
    made = heard(require=["state-loss"])
    since = dies(made)
    signs(made, SESSION, since, since + 1, "second", kept)
    found = judged(made, "state-loss")
    assert found.count == (int(lost), int(lost))
    if lost:
        assert found.labels == {"files": 1}
        assert "it found no earlier line in its home" in found.witnesses[0].say


@pytest.mark.parametrize(
    ("kept", "found", "lost"),
    [
        (2, [f"{SESSION}-1"], False),
        (3, [f"{SESSION}-1", "other"], False),
        (2, [""], True),
        (3, ["other", f"{SESSION}-1"], True),
        (2, [], False),  # too long ago
    ],
)
def test_a_home_with_as_many_other_lines_was_lost(kept: int, found: list[str], lost: bool):
    made = heard(require=["state-loss"])
    since = dies(made)
    signs(made, SESSION, since, since + 1, "second", kept)[0].found = found
    judgement = judged(made, "state-loss")
    assert judgement.count == (int(lost), int(lost))
    if lost:
        assert "and another in its place" in judgement.witnesses[0].say


def test_a_home_that_nobody_asked_for_may_be_lost():
    made = heard(require=["state-loss"])
    since = dies(made)
    signs(made, SESSION, since, since + 1, "second", 1)
    for start in made.find(Submit, lambda e: e.op == "start"):
        start.persistent = False
    assert judged(made, "state-loss").count == (0, 0)


def test_where_no_home_is_kept_nothing_is_known_of_files():
    made = heard(require=["state-loss"])
    for sign in made.find(Sign):
        sign.kept = None
    assert judged(made, "state-loss").value == "unknown"


def test_signs_of_a_ledger_that_the_contract_does_not_name_are_nothing():
    made = heard(require=["split-brain"], signs=[])
    signs(made, SESSION, 4.0, 8.0, "second", 9)
    found = judged(made, "split-brain")
    assert (found.value, found.count) == ("unknown", (0, 0))
