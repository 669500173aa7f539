"""Whole simulated runs: a correct platform is never accused, a defect is found by its check, and a seed says it all.

The figures over many seeds are those of scripts/soak (docs/detection.md); here a few of each keep both sides honest.
"""

import asyncio
import pathlib

import pytest

from chaosreprise import checker, history
from chaosreprise.history import Answer, Coverage, Effect, Fault, Observe, Report, Stream, Submit
from chaosreprise.simulation import DEFECTS, Scenario, draw, loop, simulate
from chaosreprise.simulation.scenario import KINDS, OUTAGES, plain

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
    named |= {"fail-open", "denied", "dishonest", "interrupted"}
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


@pytest.mark.parametrize("kind", OUTAGES)
def test_while_the_database_is_away_nobody_reads_a_row_and_nothing_is_accepted(kind: str):
    events = simulate(plain(1, kind)).history().events
    proven, undoing = (
        next(e for e in events if isinstance(e, Fault) and e.state == state) for state in ("proven", "undoing")
    )
    during = [e for e in events if proven.hi <= e.lo and e.hi <= undoing.lo]
    assert [e for e in during if isinstance(e, Report)] == []
    answers = [e for e in during if isinstance(e, Answer)]
    assert {(e.outcome, e.status) for e in answers} == {("info", 500)}
    assert {e.op for e in during if isinstance(e, Submit)} == {"start", "stop", "hibernate", "wake", "step", "read"}
    assert [(e.on, e.lo < undoing.lo) for e in events if isinstance(e, Coverage) and e.of == "rows"] == [
        (True, True), (False, True), (True, False), (False, False)
    ]  # fmt: skip
    signals = [e.value for e in during if isinstance(e, Observe) and e.signal == "database_up"]
    assert 0 in signals
    assert signals == sorted(signals, reverse=True), "it notices once"


def test_lists_are_read_and_a_stream_of_each_session_for_steps_is_held_until_it_is_stopped():
    events = simulate(plain(1)).history().events
    lists = [e.listed for e in events if isinstance(e, Answer) and e.listed is not None]
    assert max(map(len, lists)) > 12
    streams = [e for e in events if isinstance(e, Stream)]
    assert [e.state for e in streams] == ["open"] * 3 + ["closed"] * 3
    assert all(e.path == ["control-plane", f"sessions/{e.session}"] for e in streams[:3])


def test_a_stream_breaks_with_the_process_behind_it():
    events = simulate(plain(0), DEFECTS["sleepy"]).history().events
    (broke,) = (e for e in events if isinstance(e, Stream) and e.state == "broke")
    ended = next(e for e in events if isinstance(e, Effect) and e.mark == "down" and e.session == broke.session)
    assert 0 <= broke.lo - ended.hi < 1_000_000


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
