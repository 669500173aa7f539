"""lifecycle: each rule by a history that violates it, and by one that nearly does but is legal."""

import itertools
import random

import pytest
from histories import UNDONE, Made, complete, ns

from chaosreprise import checker
from chaosreprise.checker.automaton import Automaton
from chaosreprise.history import Effect, Fault, Report
from chaosreprise.history.statements import Edge
from chaosreprise.platform.streamspace_states import STATES


def lifecycle(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["lifecycle"]


def run(**changes) -> Made:
    stated = {"exposure": {"stop": 1, "hibernate": 1, "wake": 1}, "require": ["lifecycle"], "states": STATES, **changes}
    return complete(n=1, seconds_of_steps=0.3, **stated)


SESSION = "s-a1-canary"  # running until it is stopped at 16.1 s; in between hibernated at 15.6 s and woken at 15.7 s


def test_a_clean_run_is_explained():
    found = lifecycle(run())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence > 60


def test_a_session_that_comes_back_from_the_dead_is_not_explained():
    made = run()
    made.session("s-new", "running", 9.0)
    found = lifecycle(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].say == "session s-new at 9.000 s: terminated to running: there is no such way"
    assert [moment.what for moment in found.witnesses[0].moments if moment.bad] == ["session running"]


def test_a_change_takes_a_command_of_its_own():
    made = run()
    made.session(SESSION, "hibernated", 9.0)
    found = lifecycle(made)
    assert found.count == (1, 1)
    assert "running to hibernated: that takes 1 hibernate, beside" in found.witnesses[0].say


def test_a_command_that_was_sent_later_or_refused_explains_nothing():
    made = run()
    made.session(SESSION, "hibernated", 9.0)
    made.command("hibernate", SESSION, 8.9, effect=None, outcome="fail", row=None)
    assert lifecycle(made).count[0] == 1
    made = run()
    made.session("s-a1-stepper", "hibernated", 9.0)
    made.submit("hibernate", "s-a1-stepper", 9.01)
    assert lifecycle(made).count[0] == 1


def test_a_command_without_a_clear_answer_may_explain_a_change_or_none():
    made = run()
    made.command("hibernate", "s-a1-stepper", 8.9, effect=0.05, outcome="info", row=None)
    made.command("wake", "s-a1-stepper", 9.1, effect=None, outcome="info", row=None)
    assert lifecycle(made).count == (0, 0)


def test_one_command_explains_one_change_only():
    made = run()
    made.command("hibernate", "s-a1-stepper", 8.0)
    made.command("wake", "s-a1-stepper", 8.2)
    assert lifecycle(made).count == (0, 0)
    made.session("s-a1-stepper", "hibernated", 8.6)
    assert lifecycle(made).count == (1, 1)


def test_a_late_report_of_an_old_command_that_overwrites_a_newer_one_is_seen():
    made = run()
    made.command("hibernate", "s-a1-stepper", 8.0)
    made.command("stop", "s-a1-stepper", 8.2)
    made.session("s-a1-stepper", "hibernated", 8.6)
    assert "terminated to hibernated: there is no such way" in lifecycle(made).witnesses[0].say


@pytest.mark.parametrize(
    ("after", "value"), [("terminated", "true"), ("terminating", "true"), ("hibernating", "false"), (None, "false")]
)
def test_a_late_word_on_an_older_command_is_passed_over_unless_it_stays(after, value):
    made = run()
    for op, at in (("hibernate", 8.0), ("stop", 8.2)):
        made.answer(made.submit(op, "s-a1-stepper", at), at + 0.05, "ok")
    made.session("s-a1-stepper", "terminating", 8.3)
    made.session("s-a1-stepper", "hibernated", 8.4)
    made.drop(Report, lambda e: e.id == "s-a1-stepper" and e.state == "terminated")
    if after is not None:
        made.session("s-a1-stepper", after, 8.6)
    if after == "terminating":
        made.session("s-a1-stepper", "terminated", 8.8)
    found = lifecycle(made)
    assert found.value == value, found.witnesses
    made.contract.promises = {"states": True}
    assert lifecycle(made).value == "false", "what is promised"
    if value == "false":
        assert "terminating to hibernated, and it stayed so" in found.witnesses[0].say


def test_states_that_nobody_looked_at_are_passed_unseen():
    made = run()
    made.drop(Report, lambda e: e.about == "session" and e.state == "pending")
    found = lifecycle(made)
    assert (found.value, found.count) == ("true", (0, 0))


def test_what_the_platform_reports_as_failed_is_a_legal_state_and_running_to_failed_is_not():
    made = run()
    made.session("s-a1-hib0", "waking", 8.9)
    made.command("wake", "s-a1-hib0", 8.85, effect=None)
    made.session("s-a1-hib0", "failed", 9.0)
    assert lifecycle(made).count == (0, 0)
    made = run()
    made.session("s-a1-stepper", "failed", 9.0)
    assert lifecycle(made).count[0] == 1


CRASH = Edge(before="running", after="failed", by="crash")
AGENT = Edge(before="running", after="failed", by="agent")


def test_a_crash_explains_a_change_where_that_is_stated_and_it_was_seen():
    made = run(states=[*STATES, CRASH])
    made.session("s-a1-stepper", "failed", 9.0)
    assert lifecycle(made).count[0] == 1
    made.add(
        Effect(
            lo=ns(8.9), hi=ns(8.9), ledger="slots", object="s-a1-stepper", session="s-a1-stepper", mark="crash", gen=1
        )
    )
    assert lifecycle(made).count == (0, 0)
    made.contract.states = STATES
    assert lifecycle(made).count[0] == 1


@pytest.mark.parametrize("of", ["slots", "slots/s-a1-stepper"])
def test_a_crash_that_a_gap_may_hide_leaves_it_unknown_and_any_other_change_is_still_accused(of: str):
    made = run(states=[*STATES, CRASH])
    made.session("s-a1-stepper", "failed", 9.0)
    made.gap(of, 8.0, 8.9)
    found = lifecycle(made)
    assert (found.count, found.value) == ((0, 1), "unknown")
    assert "running to failed, could be explained by the death of a process" in found.scope[-1].why
    made.session("s-a3-stepper", "hibernated", 9.0)
    assert lifecycle(made).count == (1, 2)


def test_a_broken_agent_explains_a_change_of_its_own_sessions_where_that_is_stated():
    made = run(states=[*STATES, AGENT])
    made.session("s-a2-stepper", "failed", 6.0)
    assert lifecycle(made).count == (0, 0)
    made.session("s-a3-stepper", "failed", 6.0)
    assert lifecycle(made).count[0] == 1


def passing(state_until: float, since: float = 8.5) -> Made:
    """a1's hibernated session is woken, and is `waking` from `since` to `state_until`."""
    made = run()
    made.command("wake", "s-a1-hib0", since - 0.02, effect=None)
    made.session("s-a1-hib0", "waking", since)
    made.session("s-a1-hib0", "running", state_until)
    return made


def test_a_passing_state_must_be_left_within_its_bound():
    assert lifecycle(passing(9.5)).count == (0, 0)
    found = lifecycle(passing(9.6))
    assert (found.value, found.count) == ("false", (1, 1))
    assert "still waking 1.080 s after it got there, 0.080 s beyond its bound of 1 s" in found.witnesses[0].say


def test_what_may_have_been_left_in_time_is_unknown():
    found = lifecycle(passing(9.51))
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "only after the next look" in found.scope[0].why


def test_the_bound_counts_from_the_heal_of_a_fault_on_the_path():
    made = run()
    made.session("s-a2-hib0", "waking", 5.4)
    assert lifecycle(made).count == (0, 0)
    last = made.find(Report, lambda e: e.about == "session" and e.id == "s-a2-hib0" and e.state == "running")[-1]
    last.lo, last.hi = ns(UNDONE + 1.2), ns(UNDONE + 1.21)
    made.drop(Report, lambda e: e.about == "session" and e.id == "s-a2-hib0" and e.state == "terminated")
    made.session("s-a2-hib0", "terminated", UNDONE + 1.5)
    assert lifecycle(made).count == (1, 1)


def test_a_session_that_never_leaves_a_passing_state_is_seen_at_the_end():
    made = passing(9.0)
    made.drop(Report, lambda e: e.id == "s-a1-hib0" and e.hi > ns(8.6))
    found = lifecycle(made)
    assert found.count == (1, 1)
    assert lifecycle(made, "clean").count == (0, 0)


def test_one_that_is_still_passing_when_the_run_ends_within_its_bound_is_unknown():
    made = run()
    made.drop(Report, lambda e: e.id == SESSION and e.state == "terminated")
    made.session(SESSION, "terminating", 19.0)
    found = lifecycle(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "the end of what was watched" in found.scope[0].why


def test_a_session_that_came_back_to_a_passing_state_unseen_has_stayed_since_then():
    made = run()
    made.drop(Report, lambda e: e.id == "s-a1-run0" and e.state == "terminated")
    for at, op in ((8.0, "hibernate"), (8.4, "wake"), (8.8, "hibernate")):
        made.command(op, "s-a1-run0", at, effect=None)
    made.session("s-a1-run0", "hibernating", 8.1)
    made.session("s-a1-run0", "hibernated", 9.7)
    made.session("s-a1-run0", "terminated", 12.7)
    assert lifecycle(made).count == (0, 0)
    made.find(Report, lambda e: e.id == "s-a1-run0" and e.state == "hibernated" and e.hi > ns(9))[0].lo = ns(9.85)
    made.find(Report, lambda e: e.id == "s-a1-run0" and e.state == "hibernated" and e.hi > ns(9))[0].hi = ns(9.86)
    assert lifecycle(made).count == (1, 1)


def test_a_gap_in_the_reports_is_unknown():
    made = run()
    made.gap("rows", 6.0, 6.2)
    found = lifecycle(made)
    assert found.value == "unknown"
    assert "a change of state could hide there" in found.scope[0].why


def test_without_reports_nothing_is_true():
    made = run()
    made.drop(Report, lambda e: e.about == "session")
    found = lifecycle(made)
    assert (found.value, found.evidence) == ("unknown", 0)
    assert "never reported" in found.scope[0].why


def test_a_state_that_is_not_stated_is_unknown():
    made = run()
    made.session("s-a1-stepper", "snapshotting", 9.0)
    found = lifecycle(made)
    assert found.count == (0, 0)
    assert "'snapshotting'" in found.scope[0].why


def test_without_the_states_nothing_is_true():
    assert lifecycle(run(states=[])).value == "unknown"


def test_a_fault_that_is_not_known_to_be_healed_leaves_what_passes_open():
    made = passing(9.6)
    for event in made.find(Fault):
        event.component = "control-plane"
    made.drop(Fault, lambda e: e.state in ("undoing", "undone", "clean"))
    found = lifecycle(made)
    assert (found.value, found.count[0]) == ("unknown", 0)
    assert lifecycle(made, "during").count == (0, 0)


def test_a_session_that_was_there_before_the_run_begins_where_it_is():
    made = run()
    made.owner["s-old"] = "a1"
    made.session("s-old", "hibernated", 1.0)
    made.command("wake", "s-old", 9.0)
    assert lifecycle(made).count == (0, 0)


def test_what_two_sources_say_is_followed_apart():
    made = run()
    made.cover("http", 0.01)
    made.cover("http", 19.3, on=False)
    for report in made.find(Report, lambda e: e.about == "session"):
        made.add(
            Report(
                lo=report.lo,
                hi=report.hi + 10**8,
                source="http",
                about="session",
                id=report.id,
                state=report.state,
                owner=report.owner,
            )
        )
    assert lifecycle(made).count == (0, 0)


@pytest.mark.parametrize("stage", ["baseline", "during", "clean"])
def test_it_is_seen_before_the_end(stage):
    made = run()
    made.session("s-a1-cycle", "running", 3.5)
    assert lifecycle(made, stage).value == "false"


def test_a_change_whose_command_may_not_be_in_the_history_yet_is_not_judged():
    made = run()
    made.session("s-new", "running", 17.9)
    made.events = [event for event in made.events if event.hi <= ns(18.0)]
    assert lifecycle(made, "during").count == (0, 0)


def test_cheapest_ways_take_nothing_that_another_does_without():
    found = Automaton(STATES)
    assert found.ways("running", "terminated") == [(("stop", 1),)]
    assert found.ways("hibernated", "hibernating") == [(("hibernate", 1), ("wake", 1))]
    assert found.ways("terminated", "running") == []
    assert found.passing == {
        "pending": {"start"},
        "starting": {"start"},
        "hibernating": {"hibernate"},
        "waking": {"wake"},
        "terminating": {"stop"},
    }


def legal(commands: list[tuple[float, str, str]], seen: list[tuple[float, str]]) -> bool:
    """By brute force: some order of the commands that were sent, each taken or not, passes through what was seen."""

    def after(state: str, kind: str) -> list[str]:
        return [edge.after for edge in STATES if (edge.before, edge.by) == (state, kind)]

    def reach(state: str, number: int, left: frozenset[int]) -> bool:
        if number == len(seen):
            return True
        moment, goal = seen[number]
        todo, been = [(state, left)], set()
        while todo:
            at, rest = todo.pop()
            if (at, rest) in been:
                continue
            been.add((at, rest))
            if at == goal and reach(at, number + 1, rest):
                return True
            todo += [(one, rest) for one in after(at, "platform")]
            todo += [
                (one, rest - {index})
                for index in rest
                if commands[index][0] <= moment and commands[index][2] != "fail"
                for one in after(at, commands[index][1])
            ]
        return False

    return reach("running", 0, frozenset(range(len(commands))))


@pytest.mark.parametrize("seed", range(150))
def test_it_agrees_with_brute_force_on_small_histories(seed):
    chance = random.Random(seed)
    times = itertools.count(1)
    commands: list[tuple[float, str, str]] = []
    seen: list[tuple[float, str]] = []
    for _ in range(chance.randint(2, 6)):
        at = float(next(times))
        if chance.random() < 0.5:
            commands.append(
                (at, chance.choice(["hibernate", "wake", "stop"]), chance.choice(["ok", "ok", "info", "fail"]))
            )
        else:
            seen.append(
                (at, chance.choice(["running", "hibernating", "hibernated", "waking", "terminating", "terminated"]))
            )
    made = Made(require=["lifecycle"], states=STATES, bounds={}, promises={"states": True})
    for of in ("recorder", "rows", "load"):
        made.cover(of, 0.0)
        made.cover(of, 99.0, on=False)
    made.session("s", "running", 0.5)
    for at, op, outcome in commands:
        made.answer(made.submit(op, "s", at), at + 0.1, outcome)
    if not commands:
        made.step("s", 0.6)
    for at, state in seen:
        made.session("s", state, at)
    assert (lifecycle(made).count[0] == 0) == legal(commands, seen)


def test_an_automaton_with_many_ways_is_no_hang():
    names = [f"s{number}" for number in range(40)]
    kinds = ["start", "stop", "hibernate", "wake", "platform"]
    edges = [
        Edge(before=a, after=b, by=kinds[(i * 7 + j) % 5])
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if a != b
    ]
    assert Automaton(edges).ways("s0", "s39")
