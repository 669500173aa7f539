"""duplicate: each rule by a history that violates it, and by one that nearly does but is legal."""

import pytest
from histories import ATTRIBUTION, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Answer, Coverage, Effect, Report
from chaosreprise.history.events import Attribution


def duplicate(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["duplicate"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def wake(made: Made):
    return made.commands("wake", 5.1, 8.0, "a2")[0]


def test_a_wake_that_acts_twice_is_seen_with_both_times_and_processes():
    made = complete()
    cmd = wake(made)
    made.effect("wake", cmd.session, 8.9)
    found = duplicate(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    witness = found.witnesses[0]
    assert (witness.cmd, len(witness.effects)) == (cmd.cmd, 2)
    assert "took effect at 8.350 s (a2, pid " in witness.say
    assert "and at 8.900 s (a2, pid " in witness.say
    assert [moment.bad for moment in witness.moments if moment.what.startswith("effect")] == [False, True]
    assert value(made) == "false"


def test_acting_three_times_is_two_too_many_and_one_witness():
    made = complete()
    for at in (8.8, 8.9):
        made.effect("wake", wake(made).session, at)
    found = duplicate(made)
    assert (found.count, len(found.witnesses), len(found.witnesses[0].effects)) == ((2, 2), 1, 3)


def test_a_redelivery_that_only_the_platform_reports_is_legal():
    made = complete()
    cmd = wake(made)
    for at, state in ((8.5, "sent"), (8.55, "ack"), (8.6, "sent"), (8.7, "completed")):
        made.row(f"p-{cmd.cmd}", cmd.session, "wake", state, at)
    assert value(made) == "true"


def test_several_marks_of_one_generation_are_one_transition():
    made = complete()
    cmd = wake(made)
    up = made.find(Effect, lambda e: e.session == cmd.session and e.mark == "up" and e.lo > cmd.lo)[0]
    made.add(
        Effect(lo=up.lo + 5, hi=up.hi + 5, ledger="slots", object=up.object, session=up.session, mark="up", gen=up.gen)
    )
    assert value(made) == "true"


def test_the_up_of_a_start_and_the_down_of_a_stop_are_no_wake_and_no_hibernation():
    found = duplicate(complete())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])


def test_a_start_that_is_made_again_is_seen_by_its_key():
    made = complete()
    made.effect("start", "s-new", 6.5, key="key-s-new")
    found = duplicate(made)
    assert found.count == (1, 1)
    assert found.witnesses[0].op == "start"


def test_a_start_that_makes_two_sessions_is_seen_in_the_ledger_and_in_the_rows():
    made = complete()
    made.effect("start", "s-twin", 6.5, key="key-s-new")
    assert duplicate(made).count == (1, 1)
    made = complete()
    made.session("s-twin", "pending", 5.7, key="key-s-new")
    found = duplicate(made)
    assert found.count == (1, 1)
    assert "2 sessions" in found.witnesses[0].say


def test_a_session_with_our_key_from_before_the_start_is_an_older_one():
    made = complete()
    made.session("s-twin", "terminated", 1.0, key="key-s-new")
    assert value(made) == "true"


def test_a_step_counts_at_most_once_by_its_beginning():
    made = complete()
    step = made.commands("step")[3]
    again = made.find(Effect, lambda e: e.key == step.cmd and e.mark == "b")[0]
    made.add(
        Effect(
            lo=ns(4.0),
            hi=ns(4.0),
            ledger="workspaces",
            object=again.object,
            session=again.session,
            mark="b",
            key=step.cmd,
        )
    )
    found = duplicate(made)
    assert (found.count, found.witnesses[0].cmd, found.baseline) == ((1, 1), step.cmd, 1)


def test_a_step_that_began_once_and_ended_never_is_no_duplicate():
    made = complete()
    made.step("s-a1-stepper", 6.5, outcome="info", marks="b")
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.counts.undecided) == ("true", 1)


def test_the_replay_of_a_completed_wake_is_a_transition_without_a_command_left():
    made = complete()
    made.effect("wake", "s-a2-cycle", 8.4)
    found = duplicate(made)
    assert found.count == (1, 1)
    assert found.witnesses[0].op == "wake"
    assert not found.witnesses[0].baseline, "the first effect was in the baseline, the second was not"


def test_a_hibernation_replayed_onto_a_running_session_really_acts_again():
    made = complete()
    made.command("hibernate", "s-a1-run0", 5.5)
    made.command("wake", "s-a1-run0", 5.8)
    assert value(made) == "true"
    made.effect("hibernate", "s-a1-run0", 8.4)
    assert duplicate(made).count == (1, 1)


def test_a_repeat_that_changes_nothing_is_legal_where_the_contract_says_so():
    made = complete()
    made.command("hibernate", "s-a1-run0", 5.5)
    made.effect("hibernate", "s-a1-run0", 5.6)
    assert value(made) == "true"
    repeats = [Attribution(op=e.op, ledger=e.ledger, level=e.level, mark=e.mark) for e in ATTRIBUTION]
    strict = complete(attribution=repeats)
    strict.command("wake", "s-a1-hib0", 5.5)
    strict.effect("wake", "s-a1-hib0", 5.6)
    assert duplicate(strict).count == (1, 1), "a second interpreter beside the first one"


def test_an_unclear_command_may_explain_a_transition():
    made = complete()
    cmd = made.submit("wake", wake(made).session, 8.6)
    made.answer(cmd, 8.7, "info")
    made.effect("wake", wake(made).session, 8.9)
    assert value(made) == "true"


def test_a_refused_command_explains_none():
    made = complete()
    cmd = made.submit("wake", wake(made).session, 8.6)
    made.answer(cmd, 8.7, "fail")
    made.effect("wake", wake(made).session, 8.9)
    assert duplicate(made).count == (1, 1)


def test_a_surplus_before_the_next_command_is_seen_although_the_totals_agree():
    made = complete()
    made.command("wake", "s-a1-hib0", 5.5)
    made.effect("wake", "s-a1-hib0", 5.8)
    made.command("wake", "s-a1-hib0", 6.5, effect=None)
    verdict = checker.judge(made.history(), "end")
    assert verdict.checks["duplicate"].count == (1, 1)
    assert verdict.checks["lost"].count == (1, 1)


def test_a_surplus_that_may_belong_to_the_next_command_is_not_called_one():
    made = complete()
    made.command("wake", "s-a1-hib0", 5.5)
    made.command("hibernate", "s-a1-hib0", 6.0)
    made.command("wake", "s-a1-hib0", 6.5, effect=None)
    for effect in made.effect("wake", "s-a1-hib0", 6.6):
        effect.lo = ns(5.8)
    assert value(made) == "true"


def test_an_effect_without_any_command_is_no_duplicate_and_no_pass():
    made = complete()
    made.effect("hibernate", "s-a1-stepper", 6.5)
    made.effect("wake", "s-a1-stepper", 6.6)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["duplicate"].count) == ("unknown", (0, 0))
    assert "2 effects in our sessions belong to no command" in " ".join(verdict.why)


def test_the_effect_of_a_refused_start_is_no_duplicate_and_no_pass():
    made = complete()
    cmd = made.submit("start", None, 6.5, key="key-s-x")
    made.answer(cmd, 6.6, "fail")
    made.effect("start", "s-x", 6.7, key="key-s-x")
    assert value(made) == "unknown"


def test_effects_in_sessions_of_others_are_none_of_ours():
    made = complete()
    for at in (6.5, 6.6):
        made.effect("wake", "somebody-elses", at)
    assert value(made) == "true"


def test_a_duplicate_wholly_before_the_first_fault_is_a_baseline_violation():
    made = complete()
    made.effect("wake", "s-a1-cycle", 2.3)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["duplicate"].baseline) == ("false", 1)
    assert verdict.why[0].startswith("baseline: ")


@pytest.mark.parametrize("level", ["state", "none"])
def test_what_can_not_be_counted_is_never_true(level):
    entries = [
        e if e.op != "wake" else Attribution(op="wake", ledger="slots", level=level, mark="up") for e in ATTRIBUTION
    ]
    found = duplicate(complete(attribution=entries))
    assert found.value == "unknown"
    assert any(doubt.what == "wake" for doubt in found.scope)


def test_an_exposure_of_kinds_that_show_no_repeat_alone_exposes_nothing():
    made = complete(exposure={"stop": 5, "hibernate": 5})
    assert duplicate(made).value == "unknown"
    assert [entry.what for entry in duplicate(made).untested] == ["hibernate, stop acting twice"]


@pytest.mark.parametrize("of", ["slots", "workspaces", "workspaces/s-a1-stepper"])
def test_a_second_effect_could_hide_in_any_gap(of):
    made = complete()
    made.gap(of, 6.0, 6.2)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["lost"].value) == ("unknown", "true")
    assert of in " ".join(verdict.why)


def test_a_wake_whose_making_may_have_been_missed_is_not_counted():
    """Its `made` may lie in the gap: then the `up` is a start's."""
    made = complete()
    cmd = made.command("start", "s-x", 6.0, agent="a1")
    made.drop(Effect, lambda e: e.session == "s-x" and e.mark == "made")
    made.command("wake", "s-x", 6.3)
    made.gap("slots", 6.0, 6.05)
    assert cmd
    assert duplicate(made).count == (0, 0)


def test_while_the_load_still_sends_only_effects_of_the_known_time_are_judged():
    """A history is read file by file: an effect may be there before its submission."""
    made = complete()
    last = max(event.hi for event in made.find(Answer, lambda e: e.hi < ns(7.0)))
    made.events = [event for event in made.events if event.hi <= last]
    made.effect("wake", "s-a1-cycle", 7.2)
    assert duplicate(made, "during").value == "true"
    made.effect("wake", "s-a1-cycle", 6.8)
    assert duplicate(made, "during").value == "false"


def test_while_a_run_lives_the_first_half_of_a_stop_is_no_hibernation():
    made = complete()
    stop = made.commands("stop", 5.6, 5.8, "a1")[0]
    made.command("hibernate", "s-a1-run0", 5.5)
    made.command("wake", "s-a1-run0", 5.6)
    down = made.effect("hibernate", "s-a1-run0", 5.75)[0]
    made.events = [event for event in made.events if event.hi <= down.hi]
    made.answer(made.submit("read", "s-a1-run0", 5.8), 5.9)
    assert stop
    assert duplicate(made, "during").value == "true"
    made.effect("wake", "somebody-elses", 5.85)
    assert duplicate(made, "during").value == "false"


def test_after_a_load_that_died_an_effect_may_have_a_command_that_is_not_recorded():
    made = complete()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    made.effect("wake", "s-a1-cycle", 18.0)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["duplicate"].count) == ("unknown", (0, 0))


def test_the_rows_of_the_platform_never_hide_a_duplicate():
    made = complete()
    made.effect("wake", wake(made).session, 8.9)
    made.drop(Report, lambda e: e.about == "command")
    assert duplicate(made).value == "false"
