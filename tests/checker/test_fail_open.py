"""fail-open: what a platform may say while its store is away, and what it may not."""

import pytest
from histories import AWAY, BACK, CLEAN, HELD, Made, complete, outage, thorough

from chaosreprise import checker
from chaosreprise.history import Answer, Fault, Report, Submit
from chaosreprise.report import words

MIDDLE = AWAY + 0.3


def fail_open(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["fail-open"]


def world() -> Made:
    return thorough("fail-open", seconds_of_steps=0.2)


def accepted(made: Made, op: str = "wake", session: str = "s-a1-hib0", at: float = MIDDLE, **more) -> str:
    """A command that was accepted at that moment, and of which nothing else is known."""
    cmd = made.submit(op, session, at, key=more.pop("key", None))
    made.answer(cmd, at + 0.01, **more)
    return cmd


def test_errors_are_what_is_expected():
    found = fail_open(world())
    assert (found.value, found.count, found.evidence, found.scope) == ("true", (0, 0), 5, [])


def test_success_that_leaves_nothing_is_false():
    made = world()
    cmd = accepted(made)
    found = fail_open(made)
    assert (found.value, found.count, found.labels) == ("false", (1, 1), {"accepted": 1})
    assert found.witnesses[0].cmd == cmd
    assert "neither a row for it nor an effect" in found.witnesses[0].say


def test_a_start_that_leaves_nothing_is_false():
    made = world()
    cmd = made.submit("start", None, MIDDLE, key="key-lost")
    made.answer(cmd, MIDDLE + 0.01, session="s-lost", id=None)
    assert fail_open(made).count == (1, 1)


def test_success_with_its_effect_is_no_violation():
    made = world()
    accepted(made)
    made.effect("wake", "s-a1-hib0", BACK + 0.2)
    assert fail_open(made).count == (0, 0)


def test_success_with_its_row_means_that_the_outage_leaked_and_the_run_is_unknown():
    made = world()
    cmd = accepted(made)
    made.row(f"p-{cmd}", "s-a1-hib0", "wake", "pending", BACK + 0.1)
    verdict = checker.judge(made.history(), "end")
    assert verdict.value == "unknown"
    assert verdict.checks["fail-open"].count == (0, 0)
    assert any(
        f"leaked: 1 commands were accepted while it was on, and have their rows, the first {cmd} by control-plane"
        in why
        for why in verdict.why
    )


@pytest.mark.parametrize(
    ("sent", "answered"), [(AWAY - 0.1, AWAY + 0.1), (BACK - 0.1, BACK + 0.1), (BACK + 0.1, BACK + 0.2)]
)
def test_what_was_sent_before_or_answered_after_is_not_judged(sent: float, answered: float):
    made = world()
    made.answer(made.submit("wake", "s-a1-hib0", sent), answered)
    assert fail_open(made).count == (0, 0)


def test_a_proof_that_is_as_wide_as_the_call_makes_it_possible_only():
    made = world()
    accepted(made, at=AWAY + 0.1)
    proven = next(e for e in made.events if getattr(e, "state", "") == "proven" and e.component == "database")
    proven.hi += int(0.105 * 1e9)
    found = fail_open(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_a_gap_in_which_its_effect_could_hide_makes_it_possible_only():
    made = world()
    accepted(made)
    made.gap("slots", BACK + 0.1, BACK + 0.2)
    assert fail_open(made).count == (0, 1)


def test_rows_that_were_not_read_to_the_end_make_it_possible_only():
    made = world()
    accepted(made)
    made.gap("rows", 17.9, 18.3)  # the end of what is judged lies within
    assert fail_open(made).count == (0, 1)


def test_a_row_that_may_be_its_own_makes_it_possible_only():
    made = world()
    accepted(made, id=None)
    made.row("p-somebody", "s-a1-hib0", "wake", "pending", BACK + 0.1)
    assert fail_open(made).count == (0, 1)


def test_does_not_exist_for_what_was_there_before_and_after_is_false():
    made = world()
    cmd = made.read(HELD, MIDDLE, "fail", status=404)
    found = fail_open(made)
    assert (found.count, found.labels) == ((1, 1), {"denied": 1})
    assert (found.witnesses[0].cmd, found.witnesses[0].session) == (cmd, HELD)


def test_a_command_may_be_denied_as_well_as_a_read():
    made = world()
    made.answer(made.submit("step", HELD, MIDDLE), MIDDLE + 0.01, "fail", status=404).rule = "not-found"
    assert fail_open(made).labels == {"denied": 1}


def test_an_empty_list_denies_what_is_there_before_and_after():
    made = world()
    made.read(None, MIDDLE, listed=[])
    found = fail_open(made)
    assert (found.count, found.labels) == ((1, 1), {"denied": 1})
    assert "list: answered at" in found.witnesses[0].say


def test_does_not_exist_for_what_nobody_has_ever_seen_is_legal():
    made = world()
    made.read("s-unheard-of", MIDDLE, "fail", status=404)
    assert fail_open(made).count == (0, 0)


def test_does_not_exist_for_what_had_been_stopped_is_legal():
    made = world()
    made.read("s-new", MIDDLE, "fail", status=404)
    assert fail_open(made).count == (0, 0)


def test_does_not_exist_for_what_is_never_shown_again_is_possible_only():
    made = world()
    made.read("s-a1-hib0", MIDDLE, "fail", status=404)
    made.drop(Answer, lambda e: e.cmd in {c.cmd for c in made.commands("stop", CLEAN) if c.session == "s-a1-hib0"})
    made.drop(Submit, lambda e: e.op == "stop" and e.session == "s-a1-hib0")
    made.drop(Report, lambda e: e.id == "s-a1-hib0" and e.state == "terminated")
    assert fail_open(made).count == (0, 1)


THERE = ["database.crash", "database.slow_statements", "database.exhaust_connections", "database.lock_table"]


@pytest.mark.parametrize("kind", THERE)
def test_a_store_that_is_not_away_is_nothing_to_judge(kind: str):
    made = complete(n=1, seconds_of_steps=0.2, require=["fail-open"], exposure={"stop": 1, "hibernate": 1, "wake": 1})
    outage(made, kind)
    made.read(HELD, MIDDLE, "fail", status=404)
    found = fail_open(made)
    assert (found.count, found.evidence) == ((0, 0), 0)
    assert "no call was sent and answered while the store was proven away" in found.scope[0].why


@pytest.mark.parametrize("kind", ["database.take_away", "database.pause", "database.refuse", "database.hang"])
def test_each_way_of_being_away_counts(kind: str):
    made = complete(n=1, seconds_of_steps=0.2, require=["fail-open"], exposure={"stop": 1, "hibernate": 1, "wake": 1})
    outage(made, kind)
    assert fail_open(made).evidence == 5


def read_only(kind: str = "database.read_only", **proof: object) -> Made:
    """The store is there to be read, and takes no writes: lists and reads are answered, commands fail."""
    made = complete(
        n=1, seconds_of_steps=0.2, require=["fail-open", "denied"], exposure={"stop": 1, "hibernate": 1, "wake": 1}
    )
    made.contract.refusals = world().contract.refusals
    outage(made, kind)
    made.find(Fault, lambda e: e.kind == kind and e.state == "proven")[0].proof = proof
    made.drop(Answer, lambda e: e.outcome == "info" and e.cmd in {c.cmd for c in made.commands("read", AWAY)})
    made.drop(Submit, lambda e: e.op == "read" and AWAY < e.lo / 1e9 - 1000 < BACK)
    return made


def test_what_is_answered_from_a_store_that_can_be_read_is_no_evidence():
    made = read_only()
    made.read(HELD, MIDDLE, result="running")
    found = fail_open(made)
    assert (found.value, found.count, found.evidence) == ("true", (0, 0), 3)


def test_success_while_the_store_is_read_only_that_leaves_nothing_is_false():
    made = read_only()
    cmd = accepted(made)
    found = fail_open(made)
    assert (found.value, found.count, found.labels) == ("false", (1, 1), {"accepted": 1})
    assert found.witnesses[0].cmd == cmd
    assert "while the store was read-only; at" in found.witnesses[0].say


def test_success_while_no_commit_reaches_the_store_is_false_as_well():
    made = read_only("database.reset_in_commit", spared=False)
    accepted(made)
    found = fail_open(made)
    assert (found.value, found.evidence) == ("false", 4)
    assert "while the store was reached by no commit; at" in found.witnesses[0].say


def test_where_some_commits_reach_the_store_nothing_is_judged():
    made = read_only("database.reset_in_commit", spared=True)
    accepted(made)
    found = fail_open(made)
    assert (found.value, found.count, found.evidence) == ("unknown", (0, 0), 0)


def test_a_store_that_commits_and_is_not_heard_may_keep_what_was_accepted():
    made = read_only("database.commit_lost", spared=False)
    cmd = accepted(made)
    made.row(f"p-{cmd}", "s-a1-hib0", "wake", "pending", BACK + 0.1)
    assert not any("leaked" in why for why in checker.judge(made.history(), "end").why)


def test_success_with_its_row_while_the_store_is_read_only_means_that_somebody_could_write():
    made = read_only()
    cmd = accepted(made)
    made.row(f"p-{cmd}", "s-a1-hib0", "wake", "pending", BACK + 0.1)
    verdict = checker.judge(made.history(), "end")
    assert verdict.value == "unknown"
    assert any("database.read_only on database leaked: 1 commands were accepted" in why for why in verdict.why)


def test_success_with_its_effect_while_the_store_is_read_only_is_no_violation():
    made = read_only()
    accepted(made)
    made.effect("wake", "s-a1-hib0", BACK + 0.2)
    assert fail_open(made).count == (0, 0)


def test_what_a_read_only_store_is_said_not_to_hold_is_the_business_of_denied():
    made = read_only()
    made.read(HELD, MIDDLE, "fail", status=404)
    assert fail_open(made).count == (0, 0)
    assert checker.judge(made.history(), "end").checks["denied"].labels == {"denied": 1}


def test_what_is_asked_of_a_read_only_store_exposes_although_nothing_is_accepted():
    told = next(fault for fault in checker.judge(read_only().history(), "end").faults if fault.component == "database")
    assert {kind: one.during for kind, one in told.exposure.items()} == {"hibernate": 1, "wake": 1, "stop": 1}


def test_nothing_but_reads_of_a_read_only_store_is_nothing_to_judge():
    made = read_only()
    sent = {c.cmd for op in ("hibernate", "wake", "stop") for c in made.commands(op, AWAY) if c.session == "s-a1-out"}
    made.drop(Answer, lambda e: e.cmd in sent)
    made.drop(Submit, lambda e: e.cmd in sent)
    made.read(HELD, MIDDLE, result="running")
    found = fail_open(made)
    assert (found.value, found.evidence) == ("unknown", 0)


def test_without_a_word_for_does_not_exist_it_is_unknown():
    made = world()
    made.contract.refusals = []
    found = fail_open(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert 'which answers mean "does not exist"' in found.scope[0].why


def test_before_it_is_settled_success_is_possible_only():
    made = world()
    accepted(made)
    made.events = [event for event in made.events if event.hi <= 1_012_400_000_000]
    assert fail_open(made).count == (0, 1)


def within(made: Made) -> list[Answer]:
    return made.find(Answer, lambda e: AWAY <= e.hi / 1e9 - 1000 <= BACK)


def test_what_reached_nobody_is_no_evidence_and_exposes_nothing():
    made = world()
    for answer in within(made):
        answer.outcome, answer.status, answer.rule = "fail", None, "unconnected"
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["fail-open"]
    assert (found.value, found.evidence) == ("unknown", 0)
    assert "no call was sent and answered" in found.scope[0].why
    assert any("0 of 1 wake commands crossed database" in why for why in verdict.why)


def test_a_call_that_broke_off_was_not_answered():
    made = world()
    for answer in within(made):
        answer.status = None
    assert fail_open(made).evidence == 0


def test_what_was_answered_when_the_store_was_back_exposes_nothing():
    made = world()
    for answer in within(made):
        answer.hi = answer.lo = answer.hi + int(0.5e9)
    verdict = checker.judge(made.history(), "end")
    assert any("0 of 1 stop commands crossed database" in why for why in verdict.why)


def test_that_no_read_was_answered_meanwhile_is_told():
    made = world()
    reads = {one.cmd for one in made.find(Submit, lambda e: e.op == "read")}
    answers = {answer.cmd for answer in within(made)}
    made.drop(Answer, lambda e: e.cmd in reads & answers)
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["fail-open"].value == "true"
    assert "what is said of sessions while the store is away" in [one.what for one in verdict.not_tested]


@pytest.mark.parametrize(("again", "count"), [(BACK + 0.2, (0, 1)), (AWAY - 0.2, (0, 0)), (None, (1, 1))])
def test_a_stop_whose_session_ended_later_is_one_only_if_nothing_else_may_have_ended_it(again, count):
    """Sent again while the load is on, it counts as possible; only by the cleaning up, it surely was forgotten."""
    made = world()
    accepted(made, "stop")
    if again is not None:
        clean = {one.cmd for one in made.commands("stop", CLEAN) if one.session == "s-a1-hib0"}
        made.drop(Answer, lambda e: e.cmd in clean)
        made.drop(Submit, lambda e: e.cmd in clean)
        made.drop_effects("s-a1-hib0", "gone")
        made.command("stop", "s-a1-hib0", again, effect=BACK + 0.25 - again)
    assert fail_open(made).count == count


def test_where_no_row_of_a_command_was_ever_shown_its_absence_says_nothing():
    made = world()
    made.drop(Report, lambda e: e.about == "command")
    accepted(made)
    assert fail_open(made).count == (0, 1)


@pytest.mark.parametrize(("kind", "counts"), [("database.hang", 5), ("database.refuse", 5), ("links.refuse", 0)])
def test_a_fault_on_the_way_to_the_store_is_an_outage_if_it_leaves_none_open(kind: str, counts: int):
    made = world()
    for event in made.events:
        if getattr(event, "component", "") == "database":
            event.component, event.kind = "links/database", kind
    assert fail_open(made).evidence == counts


def test_what_is_asked_of_a_store_that_is_away_exposes_although_nothing_is_accepted():
    verdict = checker.judge(world().history(), "end")
    told = next(fault for fault in verdict.faults if fault.component == "database")
    assert {kind: one.during for kind, one in told.exposure.items()} == {"hibernate": 1, "wake": 1, "stop": 1}
    assert told.exposure["wake"].excludes_above is None, "nothing was accepted, so that no loss is excluded"
    assert words.exposed(told.exposure).startswith("stop 1 (none accepted), hibernate 1 (none accepted)")
