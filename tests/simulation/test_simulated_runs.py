"""Whole simulated runs: a correct platform is never accused, a defect is found by its check, and a seed says it all.

The figures over many seeds are those of scripts/soak (docs/detection.md); here a few of each keep both sides honest.
"""

import asyncio
import pathlib

import pytest

from chaosreprise import checker, history
from chaosreprise.history import Effect, Fault, Report, Submit
from chaosreprise.simulation import DEFECTS, Scenario, draw, loop, simulate
from chaosreprise.simulation.scenario import KINDS, plain

SEEDS = 50
OF_EACH = 3


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_correct_platform_is_never_accused(seed: int):
    scenario = draw(seed)
    verdict = checker.judge(simulate(scenario).history(), "end")
    assert {name for name, found in verdict.checks.items() if found.count[0]} == set(), scenario
    assert verdict.value == "true" or (verdict.value == "unknown" and not scenario.clear), (scenario, verdict.why)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_by_its_check_and_nothing_else_is_accused(name: str):
    defect = DEFECTS[name]
    for seed in range(OF_EACH):
        scenario = plain(seed, defect.kind, all_agents=defect.all_agents)
        verdict = checker.judge(simulate(scenario, defect).history(), "end")
        accused = {check for check, found in verdict.checks.items() if found.value == "false"}
        assert defect.check in accused, (scenario, verdict.why)
        assert accused <= {defect.check, *defect.also}, (scenario, verdict.why)


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_defect_the_same_run_is_true(kind: str):
    verdict = checker.judge(simulate(plain(1, kind)).history(), "end")
    assert verdict.value == "true", verdict.why


def test_every_check_of_what_a_platform_does_has_two_defects():
    checks = [defect.check for defect in DEFECTS.values()]
    named = {"lost", "duplicate", "phantom", "reorder", "residue", "split-brain", "misassigned", "late", "lifecycle"}
    assert {check for check in checks if checks.count(check) >= 2} == {*named, "refusal"}


def test_the_same_seed_gives_the_same_history_and_another_one_another():
    first, again, other = (simulate(Scenario(seed=seed, flaps=2, unclear=0.2)).files() for seed in (4, 4, 5))
    assert first == again
    assert first["load.jsonl"] != other["load.jsonl"]


def test_a_saved_history_is_read_as_it_was(tmp_path: pathlib.Path):
    recorded = simulate(plain(2))
    recorded.save(tmp_path)
    told = checker.judge(history.load(tmp_path), "end").to_json()
    assert told == checker.judge(recorded.history(), "end").to_json()


def test_the_load_of_a_real_run_speaks_and_the_recorder_sees_only_between_looks():
    events = simulate(plain(3)).history().events
    assert {event.op for event in events if isinstance(event, Submit)} == {
        "start", "hibernate", "wake", "stop", "step", "read"
    }  # fmt: skip
    widths = {event.hi - event.lo for event in events if isinstance(event, Report)}
    assert min(widths) >= 10_000_000, "rows are polled"
    assert all(event.lo == event.hi for event in events if isinstance(event, Effect)), "ledgers have their own stamps"
    states = [event.state for event in events if isinstance(event, Fault)]
    assert states == ["planned", "armed", "injected", "proven", "undoing", "undone", "clean"]


def test_virtual_time_passes_without_waiting_and_tells_apart_what_is_asked_at_one_moment():
    async def sleeps() -> list[int]:
        clock = loop.VirtualClock(asyncio.get_running_loop())
        stamps = [clock.now(), clock.now()]
        await clock.sleep(3600.0)
        return [*stamps, clock.now()]

    first, second, last = loop.run(sleeps())
    assert second - first == loop.LOOK_NS
    assert last - first == 3600 * 10**9


def test_a_simulation_in_which_nobody_can_go_on_says_so():
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(loop.NothingLeft):
        loop.run(stuck())
