"""late: each rule by a history that violates it, and by one that nearly does but is legal."""

import itertools
import random

import pytest
from histories import ATTRIBUTION, PROVEN, UNDONE, Made, complete, ns

from chaosreprise import checker
from chaosreprise.history import Coverage, Effect, Fault
from chaosreprise.history.events import Attribution

REQUIRE = {"require": ["late"]}


def late(made: Made, stage="end") -> checker.Finding:
    return checker.judge(made.history(), stage).checks["late"]


def run(**changes) -> Made:
    return complete(
        n=1, seconds_of_steps=0.5, **{"exposure": {"stop": 1, "hibernate": 1, "wake": 1}, **REQUIRE, **changes}
    )


def move(made: Made, op: str, session: str, at: float, width: float = 0.0) -> None:
    """The effect of this kind in a session happens within `width` seconds from `at`."""
    marks = {"wake": "up", "hibernate": "down", "stop": "gone", "start": "made"}
    gens = [e.gen for e in made.find(Effect, lambda e: e.session == session and e.mark == marks[op])]
    for effect in made.find(Effect, lambda e: e.session == session and e.gen == gens[-1]):
        effect.lo, effect.hi = ns(at), ns(at + width)


def test_a_clean_run_has_evidence_and_nothing_late():
    found = late(run())
    assert (found.value, found.count, found.scope) == ("true", (0, 0), [])
    assert found.evidence > 30


def test_an_effect_after_its_bound_is_late_and_says_by_how_much():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=1.25)
    found = late(made)
    assert (found.value, found.count, found.baseline) == ("false", (1, 1), 0)
    assert found.witnesses[0].say == (
        "cmd-0060 wake of session s-a1-hib0: accepted at 8.504 s, took effect at 9.750 s: 0.246 s after its bound of 1 s"
    )
    assert [moment.what for moment in found.witnesses[0].moments if moment.bad] == [
        "due, 1 s after it was accepted: no effect yet",
        "effect",
    ]


def test_an_effect_within_its_bound_is_on_time():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=1.0)
    assert late(made).count == (0, 0)


def test_a_bound_counts_from_the_heal_of_the_fault_on_its_path():
    made = run()
    move(made, "wake", "s-a2-hib0", UNDONE + 0.9)
    assert late(made).count == (0, 0)
    move(made, "wake", "s-a2-hib0", UNDONE + 1.1)
    found = late(made)
    assert found.count == (1, 1)
    assert "the fault on its path healed at 8.100 s" in found.witnesses[0].say


def test_a_fault_on_another_agent_excuses_nothing():
    made = run()
    made.command("wake", "s-a1-hib0", 6.0, effect=2.0)
    assert late(made).count == (1, 1)


def test_a_fault_that_began_after_it_was_due_excuses_nothing():
    made = run()
    made.command("hibernate", "s-a2-stepper", 3.5, effect=5.0)
    found = late(made)
    assert (found.count, found.baseline) == ((1, 1), 1)


def test_a_fault_on_the_control_plane_is_on_every_path():
    made = run()
    made.fault(
        "control-plane",
        {"armed": 5.9, "proven": 6.0, "undoing": 8.0, "undone": 8.2, "clean": 8.3},
        "f2",
        "control-plane.crash",
    )
    made.command("wake", "s-a1-hib0", 5.95, effect=3.1)
    assert late(made).count == (0, 0)


def test_an_effect_that_may_have_come_in_time_is_unknown():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=0.9)
    move(made, "wake", "s-a1-hib0", 9.4, width=0.5)
    found = late(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "not known exactly enough" in found.scope[0].why


def test_no_effect_at_all_is_lost_and_not_late():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=None)
    assert late(made).count == (0, 0)


def test_a_second_effect_after_the_first_is_no_late_one():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5)
    made.effect("wake", "s-a1-hib0", 11.0)
    assert late(made).count == (0, 0)


def test_of_two_commands_of_a_kind_the_late_effect_is_found_whichever_was_first():
    made = run()
    made.command("hibernate", "s-a1-run0", 8.3)
    made.command("wake", "s-a1-run0", 8.4)
    made.command("hibernate", "s-a1-run0", 8.5, effect=2.5)
    assert late(made).count == (1, 1)


def test_of_two_effects_that_are_known_roughly_the_one_that_began_earlier_is_the_earlier_command_s():
    made = run()
    for at in (8.5, 9.0):
        made.command("wake", "s-a1-hib0", at, effect=None)
    for since, until in ((9.55, 9.6), (8.6, 9.7)):
        for effect in made.effect("wake", "s-a1-hib0", since):
            effect.hi = ns(until)
    assert late(made).count == (0, 1), "only the second one may have come too late"
    for effect in made.find(Effect, lambda e: e.session == "s-a1-hib0" and e.hi == ns(9.7)):
        effect.lo = ns(9.52)
    assert late(made).count == (1, 1), "both came after 9.504 s"


def test_an_unclear_command_may_have_had_the_late_effect():
    made = run()
    made.command("wake", "s-a1-hib0", 8.4)
    made.command("wake", "s-a1-hib0", 8.5, effect=2.0, outcome="info", row=None)
    assert late(made).count == (0, 0)


def test_a_gap_in_which_the_effect_in_time_could_hide_makes_a_late_one_unknown():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=2.0)
    made.gap("slots", 8.6, 8.8)
    found = late(made)
    assert (found.value, found.count) == ("unknown", (0, 1))
    assert "slots" in found.scope[0].what


def test_a_missing_effect_could_be_late_in_a_gap():
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=None)
    made.gap("slots", 10.0, 10.5)
    assert late(made).value == "unknown"


def test_without_the_ledger_nothing_is_true():
    made = run()
    made.drop(Effect)
    made.drop(Coverage, lambda e: e.of == "slots")
    assert late(made).value == "unknown"


def test_a_fault_that_is_not_known_to_be_healed_leaves_its_commands_open():
    made = run()
    made.drop(Fault, lambda e: e.state in ("undone", "clean"))
    found = late(made)
    assert found.count[0] == 0
    assert found.value == "unknown"


@pytest.mark.parametrize("stage", ["during", "clean"])
def test_what_was_late_is_seen_before_the_end(stage):
    made = run()
    made.command("wake", "s-a1-hib0", 8.5, effect=1.25)
    assert late(made, stage).value == "false"


def test_a_command_that_is_past_its_bound_in_the_baseline_is_unknown():
    made = run()
    made.command("wake", "s-a1-hib0", 1.2, effect=None)
    made.events = [event for event in made.events if event.hi <= ns(3.5)]
    made.contract.settle_ns = 3 * 10**9
    found = late(made, "baseline")
    assert (found.value, found.count) == ("unknown", (0, 1))


def test_at_level_state_an_effect_of_another_command_decides_nothing():
    state = [
        Attribution(op="wake", ledger="slots", level="state", mark="up") if e.op == "wake" else e for e in ATTRIBUTION
    ]
    made = run(attribution=state)
    made.command("wake", "s-a1-hib0", 8.4, effect=None)
    made.command("wake", "s-a1-hib0", 8.5, effect=1.6)
    assert late(made).count == (0, 2)
    made = run(attribution=state)
    made.command("wake", "s-a1-hib0", 8.4, effect=1.6)
    assert late(made).count == (1, 1)


def test_a_kind_without_a_bound_is_not_tested():
    made = run(bounds={"wake": 10**9})
    found = late(made)
    assert found.value == "true"
    assert any("no bound" in entry.why for entry in found.untested)


def test_the_commands_of_the_fault_window_were_sent_while_it_was_proven():
    """The histories above would prove nothing about heals otherwise."""
    assert run().commands("wake", PROVEN, UNDONE, "a2")


def fewest_late(rows: list[tuple[float, float]], effects: list[float]) -> int:
    """By brute force: the fewest late effects in any way to give as many effects as possible to commands sent before them."""
    best = (0, 0)
    for count in range(min(len(rows), len(effects)), 0, -1):
        for taken in itertools.permutations(range(len(rows)), count):
            for given in itertools.combinations(range(len(effects)), count):
                pairs = [(rows[row], effects[index]) for row, index in zip(taken, given, strict=True)]
                if all(sent <= at for (sent, _), at in pairs):
                    late = sum(at > due for (_, due), at in pairs)
                    best = max(best, (count, -late))
        if best[0]:
            break
    return -best[1]


@pytest.mark.parametrize("seed", range(200))
def test_counted_commands_are_late_exactly_as_often_as_by_brute_force(seed):
    chance = random.Random(seed)
    moments = [0.5 + number * 0.5 for number in range(16)]
    made = Made(**REQUIRE)
    for of in ("recorder", "slots", "rows", "load"):
        made.cover(of, 0.0)
        made.cover(of, 30.0, on=False)
    sent = sorted(chance.sample(moments, chance.randint(1, 4)))
    effects = sorted(chance.sample(moments, chance.randint(1, 4)))
    for at in sent:
        made.answer(made.submit("wake", "s", at), at + 0.01)
    for at in effects:
        made.effect("wake", "s", at + 0.001)
    rows = [(at, at + 1.01) for at in sent]
    assert late(made).count == (fewest_late(rows, [at + 0.001 for at in effects]),) * 2


def test_what_is_superseded_may_come_late_where_the_platform_may_drop_it():
    for coalesce, count in ((True, (0, 0)), (False, (1, 1))):
        made = run(promises={"durable": True, "coalesce": coalesce})
        made.command("hibernate", "s-a1-run0", 8.3, effect=1.5)
        made.command("stop", "s-a1-run0", 8.4, effect=0.2)
        assert late(made).count == count


def test_a_down_in_time_whose_gone_a_gap_may_hide_is_no_sure_hibernation():
    made = run()
    made.command("start", "s-half", 8.3, agent="a1")
    made.command("hibernate", "s-half", 8.5, effect=0.1)
    assert late(made).count == (0, 0)
    made.gap("slots", 8.59, 8.61)
    found = late(made)
    assert (found.count, found.value) == ((0, 1), "unknown")
    assert "a half of another one" in found.scope[0].why
