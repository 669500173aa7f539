"""split-brain: two processes at once, the successions that are legal, and what can't be told apart."""

import pytest
from histories import BOOT, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Coverage, Effect, Report

REQUIRE = ["lost", "duplicate", "split-brain"]


def run(**changes) -> Made:
    return complete(**{"require": REQUIRE, **changes})


def split(made: Made, stage="end"):
    return checker.judge(made.history(), stage).checks["split-brain"]


def value(made: Made, stage="end") -> str:
    return checker.judge(made.history(), stage).value


def inc(pid: int) -> list:
    return [BOOT, 1, pid, 99]


def mark(made: Made, name: str, session: str, pid: int | None, at: float, gen: int | None = 9, width=0.0) -> Effect:
    return made.add(
        Effect(lo=ns(at - width), hi=ns(at + width), ledger="slots", object=session, session=session, mark=name,
               inc=inc(pid) if pid else None, gen=gen)
    )  # fmt: skip


def step(made: Made, session: str, pid: int, at: float) -> None:
    """A step that ran in this process."""
    cmd = made.step(session, at)
    for effect in made.find(Effect, lambda e: e.key == cmd):
        effect.inc = inc(pid)


def test_a_clean_run_has_none_and_says_how_many_lives_it_saw():
    found = split(run())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence == 40 + 3 + 3 + 5, (
        "starts; wakes of the cycles, of the canaries, and while the agent was away"
    )


def test_a_second_process_beside_the_first_is_seen_with_both():
    made = run()
    [first] = made.living("s-a1-run0", 6.0)
    mark(made, "up", "s-a1-run0", 77, 6.0)
    mark(made, "down", "s-a1-run0", 77, 7.0, gen=10)
    verdict = checker.judge(made.history(), "end")
    found = verdict.checks["split-brain"]
    assert (verdict.value, found.count, found.baseline, found.promised) == ("false", (1, 1), 0, True)
    witness = found.witnesses[0]
    assert witness.say.startswith(f"session s-a1-run0: pid 77 began at 6.000 s, while pid {first[2]} had lived since")
    assert witness.say.endswith("both until 7.000 s at the earliest")
    assert [moment.what for moment in witness.moments if moment.bad] == ["pid 77 began as the same session"]
    assert len(witness.effects) == 2


def test_a_wake_that_acts_twice_leaves_two_processes():
    made = run()
    session = made.commands("wake", 5.1, 8.0, "a2")[0].session
    made.drop_effects(session, "gone")
    made.effect("wake", session, 8.4)
    made.effect("stop", session, 8.9)
    verdict = checker.judge(made.history(), "end")
    assert (verdict.checks["duplicate"].count, verdict.checks["split-brain"].count) == ((1, 1), (1, 1))


def test_a_process_that_follows_another_one_is_legal():
    made = run()
    made.command("hibernate", "s-a1-run0", 5.5)
    made.command("wake", "s-a1-run0", 5.8)
    assert value(made) == "true"


def test_a_crash_and_the_restart_after_it_do_not_touch():
    made = run()
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    mark(made, "crash", "s-a1-run0", pid, 6.0, gen=1)
    mark(made, "back", "s-a1-run0", 78, 6.0, gen=1)
    assert value(made) == "true"
    mark(made, "back", "s-a1-run0", 79, 6.5, gen=1)
    assert split(made).count == (1, 1)


def test_intervals_that_may_touch_are_no_overlap():
    made = run()
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    mark(made, "crash", "s-a1-run0", pid, 6.0, width=0.1)
    mark(made, "back", "s-a1-run0", 78, 5.95, width=0.1)
    assert value(made) == "true"


def test_lives_that_may_have_touched_are_possible_unless_their_generations_tell():
    made = run()
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    down = mark(made, "down", "s-a1-run0", pid, 6.0, gen=None, width=0.1)
    up = mark(made, "up", "s-a1-run0", 78, 6.05, gen=None, width=0.1)
    found = split(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert (
        "may have begun while another one was still the session, the first in session s-a1-run0" in found.scope[0].why
    )
    down.gen, up.gen = 10, 11
    assert (split(made).value, split(made).count) == ("true", (0, 0))
    down.gen, up.gen = 11, 10
    assert split(made).count == (0, 1)


def test_a_process_that_may_have_ended_at_once_lived_at_no_moment_surely():
    made = run()
    for number, at in ((77, 6.0), (78, 6.005)):
        mark(made, "up", "s-other", number, at, width=0.02)
        mark(made, "down", "s-other", number, at + 0.01)
    made.answer(made.submit("read", "s-other", 5.9), 5.95)
    assert split(made).count == (0, 0)


def test_an_end_that_names_no_process_ends_them_all():
    made = run()
    mark(made, "down", "s-a1-run0", None, 6.0)
    mark(made, "up", "s-a1-run0", 78, 6.1, gen=10)
    assert split(made).count == (0, 0)


def test_a_rolling_replacement_within_one_change_is_legal():
    made = run()
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    mark(made, "up", "s-a1-run0", 78, 6.0, gen=5)
    down = mark(made, "down", "s-a1-run0", pid, 6.5, gen=5)
    assert split(made).count == (0, 0)
    down.gen = 6
    assert split(made).count == (1, 1)


def moved(made: Made, session: str, at: float, agent: str = "a3") -> None:
    made.add(
        Report(lo=ns(at - 0.02), hi=ns(at), source="rows", about="session", id=session, state="running", owner=agent)
    )


def test_a_take_over_that_the_platform_reports_is_legal():
    made = run()
    mark(made, "up", "s-a1-run0", 78, 6.0)
    assert split(made).count == (1, 1)
    moved(made, "s-a1-run0", 6.1)
    assert split(made).count == (0, 0)


def test_two_processes_after_one_take_over_are_still_two():
    made = run()
    mark(made, "up", "s-a1-run0", 78, 6.0)
    mark(made, "up", "s-a1-run0", 79, 6.5)
    moved(made, "s-a1-run0", 5.9)
    for report in made.find(Report, lambda e: e.id == "s-a1-run0" and e.hi > ns(6.0)):
        report.owner = "a3"
    found = split(made)
    assert (found.count, "pid 79 began at 6.500 s, while pid 78" in found.witnesses[0].say) == ((1, 1), True)


def test_the_second_session_of_one_start_is_judged_too():
    made = run()
    made.effect("start", "s-twin", 6.5, key="key-s-new")
    mark(made, "up", "s-twin", 79, 6.7)
    found = split(made)
    assert (found.count, found.witnesses[0].op) == ((1, 1), "start")


def test_a_take_over_that_was_reported_before_the_first_process_began_is_another_one():
    made = run()
    made.session("s-a1-run0", "running", 6.0)
    moved(made, "s-a1-run0", 5.5)
    made.command("hibernate", "s-a1-run0", 5.6)
    made.command("wake", "s-a1-run0", 5.8)
    mark(made, "up", "s-a1-run0", 78, 6.5)
    made.drop(Report, lambda e: e.id == "s-a1-run0" and e.hi > ns(5.55))
    assert split(made).count == (1, 1)


def test_steps_that_take_turns_between_two_processes_are_seen():
    made = run()
    for pid, at in ((501, 6.01), (502, 6.06), (501, 6.11)):
        step(made, "s-other", pid, at)
    found = split(made)
    assert found.count == (1, 1)
    assert "a step ran in pid 502 at 6.061 s, between steps that ran in pid 501 at 6.012 s and at 6.111 s" in (
        found.witnesses[0].say
    )


def test_steps_after_a_legal_take_over_do_not_go_back():
    made = run()
    for pid, at in ((501, 6.01), (501, 6.06), (502, 6.11), (502, 6.16)):
        step(made, "s-other", pid, at)
    assert split(made).count == (0, 0)


def test_turns_with_a_reported_hand_over_are_legal():
    made = run()
    moved(made, "s-other", 6.0, "a1")
    moved(made, "s-other", 6.05, "a3")
    for pid, at in ((501, 6.01), (502, 6.06), (501, 6.11)):
        step(made, "s-other", pid, at)
    assert split(made).count == (0, 0)


def test_a_platform_that_runs_each_step_in_a_process_of_its_own_is_not_accused():
    made = run()
    for pid, at in ((501, 6.01), (502, 6.011), (503, 6.0105)):
        step(made, "s-other", pid, at)
    assert split(made).count == (0, 0)


def test_a_process_that_still_runs_steps_has_not_ended():
    made = run()
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    made.command("hibernate", "s-a1-run0", 5.5)
    made.command("wake", "s-a1-run0", 5.8)
    step(made, "s-a1-run0", pid, 6.5)
    assert split(made).count == (1, 1)


def test_sessions_of_others_are_none_of_ours():
    made = run()
    for pid in (501, 502):
        mark(made, "up", "somebody-elses", pid, 6.0 + pid / 1000)
    assert value(made) == "true"


def test_a_process_whose_end_a_gap_may_hide_may_have_ended():
    made = run()
    made.gap("slots", 5.9, 5.95)
    mark(made, "up", "s-a1-run0", 78, 6.0)
    mark(made, "up", "s-a3-run0", 79, 5.5)
    for effect in made.find(Effect, lambda e: e.session == "s-a3-run0" and e.mark in ("down", "gone")):
        made.events.remove(effect)
    made.drop(Effect, lambda e: e.session == "s-a1-run0" and e.mark in ("down", "gone"))
    found = split(made)
    assert (found.value, found.count) == ("false", (1, 2)), "the other session's two lived together before the gap"
    assert found.witnesses[0].session == "s-a3-run0"


def test_an_end_that_names_no_process_says_nothing_of_a_gap_before_it():
    made = run()
    session = "s-a1-cycle"  # started, hibernated at 1.55 s, woken at 2.05 s, stopped
    made.drop(Effect, lambda e: e.session == session and e.mark == "down" and e.hi < ns(2.0))
    assert split(made).count == (1, 1), "the `gone` of its stop is its end, and nothing hides another one"
    made.gap("slots", 1.5, 1.6)
    assert (split(made).value, split(made).count) == ("unknown", (0, 1))


@pytest.mark.parametrize("of", ["slots", "workspaces", "slots/s-a1-run0"])
def test_a_second_process_could_hide_in_any_gap(of):
    made = run()
    made.gap(of, 6.0, 6.2)
    found = split(made)
    assert found.value == "unknown"
    assert of in found.scope[0].what


def test_a_ledger_that_names_no_process_is_no_evidence():
    made = run()
    made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc = None
    found = split(made)
    assert (found.value, found.count) == ("unknown", (0, 0))
    assert "do not say which process it was" in found.scope[0].why
    for effect in made.find(Effect):
        effect.inc = None
    assert split(made).value == "unknown"


def test_a_recorder_that_died_saw_nothing_afterwards():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(7.0)]
    assert split(made).value == "unknown"


def test_while_a_run_lives_only_lives_that_were_seen_to_end_overlap():
    made = run()
    made.events = [event for event in made.events if event.hi < ns(7.0)]
    mark(made, "up", "s-a1-run0", 78, 6.0)
    assert split(made, "during").count == (0, 1), "the end of the first one may be there, and not be read yet"
    pid = made.find(Effect, lambda e: e.session == "s-a1-run0" and e.mark == "up")[0].inc[2]
    mark(made, "down", "s-a1-run0", pid, 6.5, gen=10)
    assert split(made, "during").count == (1, 1)


def test_one_that_began_before_the_first_fault_is_a_baseline_violation():
    made = run()
    mark(made, "up", "s-a1-run0", 78, 4.0)
    found = split(made)
    assert (found.count, found.baseline) == ((1, 1), 1)


def test_nothing_is_said_where_nobody_watched():
    made = run()
    made.drop(Coverage, lambda e: e.of == "slots")
    assert split(made).value == "unknown"
