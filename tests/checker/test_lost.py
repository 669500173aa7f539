"""lost: each rule by a history that violates it, and by one that nearly does but is legal."""

import pytest
from histories import ATTRIBUTION, CLEAN, SECOND, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Answer, Effect, Report, Submit
from chaosreprise.history.events import Attribution


def judged(made: Made, stage="end"):
    return checker.judge(made.history(), stage)


def lost(made: Made, stage="end"):
    return judged(made, stage).checks["lost"]


def victim(made: Made, op: str, number: int = 0) -> Submit:
    """A command that was sent while a2 was away."""
    return made.commands(op, 5.1, 8.0, "a2")[number]


def close_row(made: Made, cmd: Submit, state: str) -> None:
    made.drop(Report, lambda report: report.id == f"p-{cmd.cmd}" and report.state == "completed")
    if state != "pending":
        made.row(f"p-{cmd.cmd}", cmd.session, cmd.op, state, 8.5, error="agent not connected")


def test_a_correct_run_loses_nothing_and_says_on_what_evidence():
    verdict = judged(complete())
    found = verdict.checks["lost"]
    assert (verdict.value, found.value, found.count) == ("true", "true", (0, 0))
    assert found.evidence == verdict.counts.accepted == 177
    assert found.level == "counted"
    assert verdict.watch.after == "heal"


@pytest.mark.parametrize(("op", "mark"), [("hibernate", "down"), ("wake", "up"), ("stop", "gone")])
def test_a_counted_command_without_its_transition_is_lost(op, mark):
    made = complete()
    cmd = victim(made, op)
    mine = made.find(Effect, lambda e: e.session == cmd.session and e.mark == mark and e.lo > cmd.lo)
    stopped = {e.gen for e in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "gone")}
    if op == "hibernate":  # the stop's own down is no hibernation
        mine = [e for e in mine if e.gen not in stopped]
    made.drop(Effect, lambda e: e.session == cmd.session and e.gen == mine[0].gen)
    found = lost(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].cmd == cmd.cmd
    assert judged(made).value == "false"


def test_a_start_and_a_step_without_their_keyed_effect_are_lost():
    made = complete()
    made.drop(Effect, lambda e: e.mark == "made" and e.session == "s-new")
    step = made.commands("step")[7]
    made.drop(Effect, lambda e: e.key == step.cmd and e.mark == "e")
    assert {witness.op for witness in lost(made).witnesses} == {"start", "step"}


def test_steps_that_answered_with_their_own_key_while_their_ledger_shows_not_one_are_not_known_to_be_lost():
    made = complete()
    made.drop(Effect, lambda effect: effect.mark in ("b", "e"))
    found = lost(made)
    assert (found.value, found.count) == ("unknown", (0, len(made.commands("step"))))
    assert "not one step was seen to take effect in this run" in [doubt.why for doubt in found.scope]
    for answer in made.find(Answer, lambda answer: answer.result):
        answer.result = None  # now nothing says that any ran
    assert lost(made).value == "false"


def test_another_key_or_an_older_effect_does_not_save_a_keyed_command():
    made = complete()
    effect = made.find(Effect, lambda e: e.mark == "made" and e.session == "s-new")[0]
    effect.lo = effect.hi = ns(5.5)
    assert lost(made).count == (1, 1)
    effect.lo, effect.hi = ns(5.5), ns(5.65)
    assert lost(made).count == (0, 0), "seen between two looks, of which the second is after the submission"


def test_an_effect_that_came_surely_before_a_command_is_not_its_own():
    made = complete()
    cmd = victim(made, "wake")
    for effect in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo):
        effect.lo = effect.hi = cmd.lo - 1
    assert lost(made).count == (1, 1)


def test_a_transition_at_the_very_moment_of_the_submission_counts():
    made = complete()
    cmd = victim(made, "wake")
    for effect in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo):
        effect.lo = effect.hi = cmd.lo
    assert lost(made).count == (0, 0)


@pytest.mark.parametrize(
    ("state", "label"), [("completed", "silent"), ("failed", "reported"), ("pending", "stuck"), ("ack", "stuck")]
)
def test_the_label_is_the_platforms_own_row(state, label):
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    if state != "completed":
        close_row(made, cmd, state)
    found = lost(made)
    assert found.labels == {label: 1}
    assert found.witnesses[0].label == label
    assert found.witnesses[0].row.startswith(state)


def test_without_a_row_a_lost_command_has_no_label():
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    made.drop(Report, lambda report: report.id == f"p-{cmd.cmd}")
    found = lost(made)
    assert (found.count, found.witnesses[0].label, found.witnesses[0].row) == ((1, 1), None, None)


def test_an_open_row_that_nobody_read_until_the_end_is_not_called_stuck():
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    close_row(made, cmd, "pending")
    made.gap("rows", 8.9, 9.0)
    assert lost(made).witnesses[0].label is None


def test_a_refused_command_needs_no_effect():
    made = complete()
    cmd = made.command("wake", "s-a1-stepper", 6.0, effect=None, outcome="fail", row=None)
    assert cmd
    assert lost(made).count == (0, 0)


def test_an_unclear_command_without_effect_or_row_is_absent_and_not_lost():
    made = complete()
    made.command("hibernate", "s-a1-stepper", 6.0, effect=None, outcome="info", row=None)
    verdict = judged(made)
    assert (verdict.value, verdict.counts.absent, verdict.counts.undecided) == ("true", 1, 0)


def test_an_unclear_command_with_its_effect_happened():
    made = complete()
    made.command("hibernate", "s-a1-stepper", 6.0, effect=0.1, outcome="info", row=None)
    verdict = judged(made)
    assert (verdict.value, verdict.counts.happened) == ("true", 1)


def test_an_unclear_command_that_only_the_platform_calls_completed_is_lost_silently():
    made = complete()
    cmd = made.command("hibernate", "s-a1-stepper", 6.0, effect=None, outcome="info", row=None)
    made.row("p-other", "s-a1-stepper", "hibernate", "completed", 6.2)
    found = lost(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), cmd)


def test_an_unclear_command_whose_row_is_still_open_is_not_lost():
    made = complete()
    made.command("hibernate", "s-a1-stepper", 6.0, effect=None, outcome="info", row=None)
    made.row("p-other", "s-a1-stepper", "hibernate", "pending", 6.2)
    assert lost(made).count == (0, 0)


def clean_stop(made):
    """A session whose only stop is that of clean."""
    return next(cmd for cmd in made.commands("stop") if cmd.session == "s-a1-stepper")


def test_an_unclear_command_that_had_settled_before_an_effect_did_not_cause_it():
    made = complete()
    stop = clean_stop(made)
    unclear = made.submit("stop", stop.session, 6.0)
    made.answer(unclear, 6.1, "info")
    assert lost(made).count == (0, 0)
    assert judged(made).value == "true"
    made.drop_effects(stop.session, "gone")
    found = lost(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), stop.cmd), "and it takes the blame for none either"


def test_an_unclear_command_that_the_platform_calls_completed_is_lost_whatever_came_after_it_had_settled():
    made = complete()
    unclear = made.submit("stop", clean_stop(made).session, 6.0)
    made.answer(unclear, 6.1, "info")
    made.row("p-other", clean_stop(made).session, "stop", "completed", 6.2)
    found = lost(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), unclear)


def test_an_unclear_command_without_a_row_is_not_blamed_for_a_row_that_came_after_it_had_settled():
    made = complete()
    stop = clean_stop(made)
    unclear = made.submit("stop", stop.session, 6.0)
    made.answer(unclear, 6.1, "info")
    made.drop(Submit, lambda submit: submit.cmd == stop.cmd)  # somebody else's, with its row and effect
    made.drop(Answer, lambda answer: answer.cmd == stop.cmd)
    assert lost(made).count == (0, 0)


@pytest.mark.parametrize(("meanwhile", "count"), [("sent", (0, 0)), ("completed", (1, 1))])
def test_an_unclear_command_that_was_still_open_when_everything_seemed_settled_has_its_late_effect(meanwhile, count):
    made = complete()
    stop = clean_stop(made)
    refused = made.find(Answer, lambda e: e.cmd == stop.cmd)[0]
    refused.outcome, refused.rule = "fail", "wrong-state"
    made.drop(Report, lambda e: e.about == "command" and e.id == refused.id)
    refused.id = None
    unclear = made.submit("stop", stop.session, 6.0)
    made.answer(unclear, 6.1, "info")
    made.row("p-other", stop.session, "stop", meanwhile, 6.2)
    made.row("p-other", stop.session, "stop", "completed", 17.9)
    assert lost(made).count == count


def test_an_unclear_command_whose_ledger_was_not_watched_until_it_had_settled_leaves_the_count_a_range():
    made = complete()
    stop = clean_stop(made)
    made.answer(made.submit("stop", stop.session, 6.0), 6.1, "info")
    made.gap("slots", 6.2, 6.3)
    assert lost(made).count[1] > 0


def test_an_unclear_command_that_may_have_had_the_only_effect_leaves_the_count_a_range():
    made = complete()
    cmd = victim(made, "wake")
    unclear = made.submit("wake", cmd.session, 5.9)
    made.answer(unclear, 6.0, "info")
    verdict = judged(made)
    assert verdict.checks["lost"].count == (0, 1)
    assert verdict.value == "unknown"
    assert verdict.counts.undecided == 1


def test_an_unclear_command_with_an_effect_beside_the_accepted_ones_leaves_no_doubt():
    made = complete()
    cmd = victim(made, "wake")
    unclear = made.submit("wake", cmd.session, 5.9)
    made.answer(unclear, 6.0, "info")
    made.effect("wake", cmd.session, 8.9)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].count, verdict.counts.happened) == ("true", (0, 0), 1)


def test_two_generations_of_one_kind_serve_two_commands_and_one_serves_only_one():
    made = complete()
    for at in (6.0, 6.3):
        made.command("hibernate", "s-a1-run0", at)
        made.command("wake", "s-a1-run0", at + 0.15)
    assert lost(made).count == (0, 0)
    gens = [e.gen for e in made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up" and e.lo > ns(6))]
    made.drop(Effect, lambda e: e.session == "s-a1-run0" and e.gen == gens[0])
    assert lost(made).count == (1, 1)


def test_a_superseded_command_is_lost_unless_the_platform_promises_to_coalesce():
    made = complete()
    cmd = victim(made, "hibernate")
    gens = {e.gen for e in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "gone")}
    made.drop(Effect, lambda e: e.session == cmd.session and e.lo > cmd.lo and e.gen not in gens)
    assert lost(made).count == (1, 1)
    made.contract.promises = {**made.contract.promises, "coalesce": True}
    found = lost(made)
    assert (found.count, found.exempt) == ((0, 0), 1)
    assert judged(made).exposure["hibernate"].during == 4, "what is exempt counts in no exposure"
    assert judged(made).value == "unknown"


def test_coalescing_excuses_only_what_a_later_accepted_command_overtook():
    made = complete(promises={"durable": True, "at_most_once": True, "coalesce": True})
    cmd = victim(made, "stop")
    made.drop(Effect, lambda e: e.session == cmd.session and e.lo > cmd.lo and e.gen == made.gen[cmd.session])
    assert lost(made).count == (1, 1)


def overtaken(outcome: str, acted: bool = True) -> Made:
    """A hibernate that the platform dropped for a stop whose answer was of this outcome."""
    made = complete(promises={"durable": True, "at_most_once": True, "coalesce": True})
    cmd = victim(made, "hibernate")
    stop = next(e for e in made.commands("stop") if e.session == cmd.session)
    gone = {e.gen for e in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "gone")}
    made.drop(Effect, lambda e: e.session == cmd.session and e.lo > cmd.lo and (e.gen not in gone or not acted))
    answer = made.find(Answer, lambda e: e.cmd == stop.cmd)[0]
    if outcome == "info":
        answer.outcome, answer.id, answer.error = "info", None, "connection reset"
        made.drop(Report, lambda e: e.fields.get("session") == cmd.session and e.fields["action"] == "stop_session")
    return made


def test_what_a_command_without_an_answer_has_overtaken_is_no_loss_if_that_happened():
    found = lost(overtaken("info"))
    assert (found.count, found.exempt) == ((0, 0), 1)


def test_what_a_command_without_an_answer_may_have_overtaken_is_not_decided():
    made = overtaken("info", acted=False)
    made.gap("slots", 7.0, 7.1)
    found = lost(made)
    assert found.count == (0, 1)
    assert any("may have dropped them" in doubt.why for doubt in found.scope)


def ended_otherwise(reported: bool = True) -> tuple[Made, Submit]:
    """A hibernate is accepted, then its session ends by itself; nobody stops it."""
    made = complete()
    made.command("start", "s-extra", 5.2, agent="a1")
    made.command("hibernate", "s-extra", 6.0, effect=None, row="failed")
    made.effect("stop", "s-extra", 6.03)
    if reported:
        made.session("s-extra", "terminated", 6.05)
    return made, made.commands("hibernate", 5.9, 6.1)[0]


def test_a_session_that_ended_otherwise_excuses_its_command_if_the_platform_says_so():
    made, _ = ended_otherwise()
    found = lost(made)
    assert (found.count, found.exempt) == ((0, 0), 1)


def test_a_session_that_ended_while_the_platform_calls_it_running_excuses_nothing():
    made, cmd = ended_otherwise(reported=False)
    assert [witness.cmd for witness in lost(made).witnesses] == [cmd.cmd]


def test_a_stop_that_came_later_did_not_end_the_session_otherwise():
    made = complete()
    cmd = victim(made, "hibernate")
    gens = {e.gen for e in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "gone")}
    made.drop(Effect, lambda e: e.session == cmd.session and e.lo > cmd.lo and e.gen not in gens)
    assert lost(made).count == (1, 1), "stopped after the hibernate was accepted: the hibernate should have come first"


def test_a_command_that_crossed_a_stop_may_find_its_session_ended():
    made = complete()
    made.command("start", "s-extra", 5.2, agent="a1")
    stop = made.submit("stop", "s-extra", 6.0)
    hibernate = made.submit("hibernate", "s-extra", 6.0)
    for cmd in (stop, hibernate):
        made.answer(cmd, 6.01)
    made.effect("stop", "s-extra", 6.05)
    made.session("s-extra", "terminated", 6.07)
    submit = made.find(Submit, lambda e: e.cmd == stop)[0]
    submit.hi = made.find(Submit, lambda e: e.cmd == hibernate)[0].lo
    assert lost(made).count == (0, 0)


def test_a_second_stop_of_a_session_that_has_ended_is_no_loss():
    made = complete()
    made.command("stop", "s-a1-cycle", 6.0, effect=None)
    assert lost(made).count == (0, 0)


def test_closed_as_failed_because_the_agent_was_away_is_never_excused():
    made = complete()
    cmd = victim(made, "stop")
    made.drop(Effect, lambda e: e.session == cmd.session and e.gen == made.gen[cmd.session])
    close_row(made, cmd, "failed")
    made.session(cmd.session, "failed", 8.6)
    assert lost(made).labels == {"reported": 1}


def test_a_crash_and_its_restart_are_no_transitions():
    made = complete()
    cmd = victim(made, "wake")
    for mark in ("crash", "back"):
        made.add(
            Effect(lo=ns(8.9), hi=ns(8.9), ledger="slots", object=cmd.session, session=cmd.session, mark=mark, gen=3)
        )
    assert judged(made).value == "true"


def test_a_loss_that_was_due_before_the_first_fault_is_a_baseline_violation():
    made = complete()
    wake = made.commands("wake", 1.9, 2.2)[0]
    made.drop(Effect, lambda e: e.session == wake.session and e.mark == "up" and e.lo > wake.lo)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].baseline) == ("false", 1)
    assert verdict.why[0].startswith("baseline: lost 1")
    assert verdict.checks["lost"].witnesses[0].baseline


def test_not_settled_is_unknown_and_not_lost():
    made = complete(settle_ns=5 * SECOND)
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].count) == ("unknown", (0, 1))
    assert any("settled" in reason for reason in verdict.why)


def test_an_effect_after_everything_was_settled_is_late_and_not_lost():
    made = complete()
    cmd = victim(made, "wake")
    for effect in made.find(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo):
        effect.lo = effect.hi = ns(12.0)
    assert lost(made).count == (0, 0)


def test_a_gap_of_the_ledger_leaves_a_command_without_effect_undecided():
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    made.gap("slots", 8.2, 8.3)
    found = lost(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert found.scope[0].what == "ledger slots"
    assert found.scope[0].window == (8.2, 8.3)


def test_a_gap_before_the_command_was_sent_does_not_excuse_it():
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    made.gap("slots", 4.0, 4.2)
    assert lost(made).count == (1, 1)


def test_a_gap_of_one_object_concerns_its_session_alone():
    made = complete()
    steps = made.commands("step", 3.0, 4.0)
    for step in steps[:2]:
        made.drop(Effect, lambda e, key=step.cmd: e.key == key)
    made.gap(f"workspaces/{steps[0].session}", 3.5, 3.6)
    found = lost(made)
    assert found.count == (1, 2)
    assert [witness.cmd for witness in found.witnesses] == [steps[1].cmd]


def test_a_loss_of_what_is_not_promised_is_told_and_never_false():
    made = complete(promises={"at_most_once": True}, require=["duplicate"], optional=["lost"])
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    verdict = judged(made)
    assert (verdict.value, verdict.checks["lost"].value) == ("true", "false")
    assert "not promised" in " ".join(verdict.why)


def test_what_is_required_but_not_promised_is_unknown_when_it_does_not_hold():
    made = complete(promises={"at_most_once": True})
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    assert judged(made).value == "unknown"
    made = complete(promises={"at_most_once": True})
    assert judged(made).value == "true"


def test_an_optional_check_still_breaks_a_made_promise():
    made = complete(require=["duplicate"], optional=["lost"])
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    assert judged(made).value == "false"


def test_the_witness_shows_the_smallest_story():
    made = complete()
    cmd = victim(made, "wake")
    made.drop(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)
    close_row(made, cmd, "pending")
    witness = lost(made).witnesses[0]
    words = [moment.what for moment in witness.moments]
    assert words[0] == "agents/a2 broken (agents.take_away)"
    assert words[-1].startswith("still no effect")
    assert "accepted" in words
    assert "stored" in words
    assert "a2 reported online" in words
    assert (witness.agent, witness.row, witness.moments[-1].bad) == ("a2", "pending", True)
    assert [moment.hi for moment in witness.moments] == sorted(moment.hi for moment in witness.moments)


def test_a_kind_that_was_never_seen_to_take_effect_is_unknown_by_name():
    made = complete()
    made.command("hibernate", "s-a1-stepper", 6.0, effect=None, outcome="fail", row=None)
    for wake in made.commands("wake"):
        made.drop(Submit, lambda e, cmd=wake.cmd: e.cmd == cmd)
    verdict = judged(made)
    assert verdict.value == "unknown"
    assert any("wake" in reason for reason in verdict.why)


def at_level(level: str, op: str = "wake") -> list[Attribution]:
    return [
        entry if entry.op != op else Attribution(op=entry.op, ledger=entry.ledger, level=level, mark=entry.mark)
        for entry in ATTRIBUTION
    ]


def test_at_level_state_one_effect_serves_all_commands_of_its_session_before_it():
    made = complete(attribution=at_level("state"), exposure={"stop": 5})
    assert lost(made).count == (0, 0)
    made.command("wake", "s-a1-hib0", 5.5)
    made.command("wake", "s-a1-hib0", 5.52, effect=None)
    assert lost(made).count == (0, 0)
    made.drop(Effect, lambda e: e.session == "s-a1-hib0" and e.mark == "up" and e.lo > ns(5.5))
    found = lost(made)
    assert (found.count, found.level) == ((2, 2), "state")


def test_a_kind_without_a_ledger_is_not_tested_or_unknown_if_it_had_to_be_exposed():
    without = [entry for entry in ATTRIBUTION if entry.op != "wake"]
    verdict = judged(complete(attribution=without, exposure={"stop": 5}, require=["lost"]))
    assert verdict.value == "true"
    assert "wake lost" in [entry.what for entry in verdict.not_tested]
    assert judged(complete(attribution=without, require=["lost"])).value == "unknown"


def test_a_ledger_without_generations_can_not_be_counted():
    made = complete()
    for effect in made.find(Effect, lambda e: e.ledger == "slots"):
        effect.gen = None
    verdict = judged(made)
    assert verdict.value != "true"
    assert any("generation" in reason for reason in verdict.why)


def test_the_stops_of_clean_and_close_are_judged_with_their_own_settling():
    made = complete()
    stop = made.commands("stop", CLEAN, CLEAN + 1)[0]
    made.drop(Effect, lambda e: e.session == stop.session and e.lo > stop.lo)
    assert [witness.cmd for witness in lost(made).witnesses] == [stop.cmd]
    made = complete()
    stop = made.commands("stop", 16.0, 17.0)[0]
    made.drop(Effect, lambda e: e.session == stop.session and e.lo > stop.lo)
    assert [witness.cmd for witness in lost(made).witnesses] == [stop.cmd]
    assert lost(made, "clean").count == (0, 0), "what the canaries do is judged at the very end"


def test_a_down_whose_gone_a_gap_may_hide_is_no_sure_hibernation():
    """The hibernation was lost; what was seen is a half of a stop that nobody answered."""
    made = complete(require=["lost"])
    name = "s-half"
    made.command("start", name, 8.3, agent="a1")
    made.command("hibernate", name, 8.5, effect=None)
    made.command("stop", name, 8.7, effect=0.1, outcome="info", row=None)
    whole = checker.judge(made.history(), "end").checks["lost"]
    assert whole.count[0] == 1
    made.drop(Effect, lambda e: e.session == name and e.mark == "gone")
    made.gap("slots", 8.79, 8.81)
    found = checker.judge(made.history(), "end").checks["lost"]
    assert (found.count, found.value) == ((0, 1), "unknown")
    assert "the effect may be a half of another one" in found.scope[-1].why


def test_what_one_gap_leaves_undecided_is_told_once():
    made = complete()
    made.gap("slots", 5.9, 18.9)
    made.drop(Effect, lambda effect: effect.ledger == "slots" and effect.lo > ns(5.9))
    gaps = [doubt for doubt in lost(made).scope if "was not watched" in doubt.why]
    assert len(gaps) == 1
    assert gaps[0].why.endswith("accepted commands are undecided")
