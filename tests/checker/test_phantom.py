"""phantom: effects that nobody asked for, the near misses that somebody did, and when that can't be told."""

import pytest
from histories import ATTRIBUTION, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Answer, Coverage, Effect
from chaosreprise.history.events import Attribution

REQUIRE = ["lost", "duplicate", "phantom"]


def run(**changes) -> Made:
    return complete(**{"require": REQUIRE, **changes})


def phantom(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["phantom"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def test_a_clean_run_has_none_and_says_how_many_effects_have_a_command():
    made = run()
    found = phantom(made)
    assert (found.value, found.count, found.scope, value(made)) == ("true", (0, 0), [], "true")
    accepted = len(made.find(Answer, lambda e: e.outcome == "ok")) - len(made.commands("read"))
    assert found.evidence == accepted > 100


def test_a_refused_start_that_makes_a_session_all_the_same_is_seen_by_its_key():
    made = run()
    cmd = made.submit("start", None, 6.5, key="key-s-x")
    made.answer(cmd, 6.6, "fail")
    made.effect("start", "s-x", 6.7, key="key-s-x")
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["phantom"]
    assert (verdict.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].cmd == cmd
    assert found.witnesses[0].say.startswith(
        f"{cmd} start of session s-x: refused (wrong-state), and took effect at 6.700 s"
    )
    assert [moment.what for moment in found.witnesses[0].moments if moment.bad] == [
        "effect of a start that was refused"
    ]
    assert verdict.checks["duplicate"].value == "true", "one effect is none too many for its command"


def test_a_refused_start_whose_key_was_accepted_in_a_second_try_is_explained_by_that():
    made = run()
    made.answer(made.submit("start", None, 6.5, key="key-s-x"), 6.6, "fail")
    made.answer(made.submit("start", None, 6.7, key="key-s-x"), 6.8, session="s-x")
    made.effect("start", "s-x", 6.9, key="key-s-x")
    made.command("stop", "s-x", 7.5)
    assert phantom(made).count == (0, 0)


def test_a_refused_step_that_ran_is_seen():
    made = run()
    cmd = made.step("s-a1-stepper", 6.5, outcome="fail")
    found = phantom(made)
    assert (found.count, found.witnesses[0].cmd) == ((1, 1), cmd)


def test_a_refused_command_without_an_effect_is_what_refusing_means():
    made = run()
    made.answer(made.submit("start", None, 6.5, key="key-s-x"), 6.6, "fail")
    made.step("s-a1-stepper", 6.6, outcome="fail", marks="")
    made.answer(made.submit("wake", "s-a1-stepper", 6.7), 6.8, "fail")
    assert value(made) == "true"


def test_a_refused_wake_that_acts_is_seen_by_counting():
    made = run()
    made.answer(made.submit("wake", "s-a1-run0", 6.5), 6.6, "fail")
    made.effect("wake", "s-a1-run0", 6.7)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["phantom"]
    assert (verdict.value, found.count, verdict.checks["duplicate"].value) == ("false", (1, 1), "true")
    assert "session s-a1-run0: wake took effect at 6.700 s, and no wake was sent that was not refused" in (
        found.witnesses[0].say
    )


def test_a_session_that_acts_by_itself_is_seen_by_counting():
    made = run()
    made.effect("hibernate", "s-a1-stepper", 6.5)
    made.effect("wake", "s-a1-stepper", 6.6)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["phantom"].count) == ("false", (2, 2))
    assert verdict.checks["duplicate"].scope == []


def test_an_effect_before_the_first_command_of_its_kind_is_seen_although_one_came_later():
    made = run()
    made.effect("wake", "s-a1-hib0", 5.5)
    assert phantom(made).count == (1, 1)
    made.command("wake", "s-a1-hib0", 5.6)
    assert phantom(made).count == (1, 1)


def test_one_that_may_have_come_after_its_command_is_explained_by_it():
    made = run()
    made.command("wake", "s-a1-hib0", 5.6, effect=None)
    for effect in made.effect("wake", "s-a1-hib0", 5.7):
        effect.lo = ns(5.5)
    assert value(made) == "true"


def test_a_transition_more_than_was_sent_is_left_to_duplicate():
    made = run()
    made.effect("wake", "s-a1-cycle", 8.4)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.checks["phantom"].count, verdict.checks["duplicate"].count) == ((0, 0), (1, 1))


def test_an_unclear_command_explains_an_effect():
    made = run()
    made.answer(made.submit("hibernate", "s-a1-stepper", 6.4), 6.5, "info")
    made.effect("hibernate", "s-a1-stepper", 6.6)
    made.command("wake", "s-a1-stepper", 7.0)
    made.step("s-a1-stepper", 7.5)
    assert value(made) == "true"


def test_a_key_of_this_run_that_no_command_had_is_seen_wherever_it_is():
    made = run()
    t = ns(6.5)
    for mark in "be":
        made.add(Effect(lo=t, hi=t, ledger="workspaces", object="s-z", session="s-z", mark=mark, key="r1.99999"))
    found = phantom(made)
    assert (found.value, found.count, found.witnesses[0].cmd) == ("false", (1, 1), "")
    assert "an effect with the key r1.99999 at 6.500 s, which no command had been sent with" in found.witnesses[0].say


def test_an_unknown_key_in_a_session_that_we_started_is_seen():
    made = run()
    made.effect("start", "s-a1-run0", 6.5, key="no-key-of-ours")
    found = phantom(made)
    assert (found.value, found.count) == ("false", (1, 1))


def test_an_unknown_key_elsewhere_may_be_somebody_elses():
    made = run()
    made.effect("start", "s-z", 6.5, key="no-key-of-ours")
    found = phantom(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "may be somebody else's, the first at 6.500 s on s-z" in found.scope[0].why


def test_a_key_that_acts_before_it_was_sent_had_not_been_sent():
    made = run()
    made.effect("start", "s-a1-run0", 6.5, key="r1.77")
    made.command("start", "s-later", 7.0, effect=None)
    made.find(type(made.commands("start")[0]), lambda e: e.key == "key-s-later")[0].key = "r1.77"
    assert phantom(made).count == (1, 1)


def test_what_happened_before_the_first_command_is_not_ours():
    made = run()
    made.effect("start", "s-old", 0.02, key="key-old")
    made.effect("wake", "s-old", 0.03)
    assert value(made) == "true"


def test_effects_in_sessions_of_others_are_none_of_ours():
    made = run()
    made.effect("wake", "somebody-elses", 6.5)
    assert value(made) == "true"


def test_in_a_session_that_no_start_of_ours_made_it_is_possible_only():
    made = run()
    made.answer(made.submit("read", "s-z", 6.0), 6.1)
    made.effect("wake", "s-z", 6.5)
    found = phantom(made)
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_one_wholly_before_the_first_fault_is_a_baseline_violation():
    made = run()
    made.effect("hibernate", "s-a1-run0", 3.0)
    found = phantom(made)
    assert (found.count, found.baseline) == ((1, 1), 1)
    assert phantom(made, "baseline").value == "false"


def test_it_is_seen_while_the_run_lives():
    made = run()
    made.effect("hibernate", "s-a1-run0", 6.0)
    made.events = [event for event in made.events if event.hi < ns(7.0)]
    assert phantom(made, "during").value == "true", "it may be the first half of a stop"
    made.effect("wake", "somebody-elses", 6.1)
    assert phantom(made, "during").value == "false"


def test_while_the_load_still_sends_a_later_command_may_be_missing():
    made = run()
    last = max(event.hi for event in made.find(Answer, lambda e: e.hi < ns(7.0)))
    made.events = [event for event in made.events if event.hi <= last]
    made.effect("hibernate", "s-a1-run0", 7.2)
    made.effect("start", "s-a1-run0", 7.2, key="r1.99999")
    assert phantom(made, "during").count == (0, 0)


def test_after_a_load_that_died_the_command_may_be_missing():
    made = run()
    made.drop(Coverage, lambda e: e.of == "load" and not e.on)
    made.effect("hibernate", "s-a1-stepper", 18.0)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.value, verdict.checks["phantom"].count) == ("unknown", (0, 0))


@pytest.mark.parametrize("of", ["slots", "workspaces", "slots/s-a1-run0"])
def test_one_could_hide_in_any_gap(of):
    made = run()
    made.gap(of, 6.0, 6.2)
    found = phantom(made)
    assert found.value == "unknown"
    assert of in found.scope[0].what


def test_a_wake_whose_making_may_have_been_missed_is_not_counted():
    made = run()
    made.command("start", "s-x", 6.0, agent="a1")
    made.drop(Effect, lambda e: e.session == "s-x" and e.mark == "made")
    made.gap("slots", 6.0, 6.05)
    assert phantom(made).count == (0, 0)


def test_without_generations_nothing_is_counted():
    made = run()
    for effect in made.find(Effect, lambda e: e.session == "s-a1-run0"):
        effect.gen = None
    found = phantom(made)
    assert (found.value, found.count) == ("unknown", (0, 0))


@pytest.mark.parametrize("level", ["state", "none"])
def test_what_can_not_be_counted_is_never_true(level):
    entries = [
        e if e.op != "wake" else Attribution(op="wake", ledger="slots", level=level, mark="up") for e in ATTRIBUTION
    ]
    found = phantom(run(attribution=entries))
    assert found.value == "unknown"
    assert any(doubt.what == "wake" for doubt in found.scope)
    told = run(attribution=entries, exposure={"stop": 5, "hibernate": 5})
    assert [entry.what for entry in phantom(told).untested] == ["wake without a command"]


def test_a_history_without_effects_has_no_evidence():
    made = run()
    made.drop(Effect)
    assert phantom(made).value == "unknown"


def test_where_it_is_not_required_duplicate_says_what_it_can_not_explain():
    stray = run(require=["duplicate"])
    stray.effect("hibernate", "s-a1-stepper", 6.5)
    found = checker.judge(stray.history(), "end").checks["duplicate"]
    assert (found.value, found.scope[0].do) == (
        "unknown",
        "find out who else acts on these sessions; `phantom` in `require` judges them",
    )
    optional = run(require=["duplicate"], optional=["phantom"])
    optional.effect("hibernate", "s-a1-stepper", 6.5)
    assert value(optional) == "false", "an effect without a command breaks a promise that needs no stating"
    unsure = run(require=["duplicate"], optional=["phantom"])
    unsure.answer(unsure.submit("read", "s-z", 6.0), 6.1)
    unsure.effect("wake", "s-z", 6.5)
    assert value(unsure) == "unknown"
