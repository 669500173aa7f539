"""Every experiment runs on a lab, is exposed to what it promises, and passes; afterwards the lab is as it was."""

import itertools
import json
import pathlib

import pytest
from runs import ROOT, VARIABLES, Begin, Ran, unproven

from chaosreprise.errors import BadInput
from chaosreprise.platform.file import Lab
from chaosreprise.run.contract import Needs
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
KINDS = {
    "agent-and-database": {"agents.take_away", "database.take_away"},
    "agent-blackhole": {"links.blackhole"},
    "agent-crash": {"agents.crash"},
    "agent-dies-before-ack": {"agents.crash", "links.refuse"},
    "agent-dies-before-effect": {"agents.crash"},
    "agent-failover-by-rows": {"agents.take_away"},
    "agent-freeze": {"links.freeze"},
    "agent-latency": {"links.latency"},
    "agent-zombie": {"agents.pause"},
    "all-agents-away": {"agents.take_away"},
    "capacity": {"agents.take_away"},
    "control-plane-crash": {"agents.pause", "control-plane.crash"},
    "control-plane-crash-queued": {"agents.take_away", "control-plane.crash"},
    "database-away": {"database.take_away"},
    "database-commit-lost": {"database.commit_lost"},
    "database-crash": {"agents.pause", "database.crash"},
    "database-hangs": {"database.hang"},
    "database-refuses": {"database.refuse"},
    "hibernate-wake": {"agents.take_away"},
    "latency-slo": {"links.latency"},
    "session-crash": {"sessions.crash"},
}
MADE = {  # these need more than the shared lab has: what they need is made for them
    "burst-of-creates": {"agents.take_away"},
    "placement": {"agents.take_away"},
    "sessions-speak": {"agents.take_away"},
    "two-control-planes": {"control-plane.crash"},
    "upgrade-under-load": {"agents.pause", "agents.restart", "control-plane.restart"},
}
IN_A_CLUSTER = ("agent-rollout", "agent-evicted", "agent-container-killed")  # tests/kubernetes/test_replaced_agents.py
EMBEDDED = """version = 1
kind = "embedded"
name = "made"
[lab]
heartbeat_s = {heartbeat_s}
reconcile_s = 0.1
"""
HEARTBEAT_S = {
    "burst-of-creates": 1.5,
    "placement": 1.5,
}  # else 0.2: on a busy machine its agents must not seem silent, or creates are refused
FEWER = {
    "reserve": 4,
    "sessions_hit": 3,
    "outage_s": 0.5,
    "latency_ms": 250,
    "create_s": 5.0,
    "created_s": 10.0,
    "call_s": 10.0,
    "running_s": 20.0,
    "stream_open_s": 60.0,
    "stream_back_s": 60.0,
    "creates_each": 20,
    "sleepers": 2,
    "creates": 24,
}  # more would look like silence to these labs
HOLD_S = {  # longer than the lab of these tests waits for an agent, or for its database
    "agent-and-database": 2.0,
    "agent-blackhole": 1.5,
    "agent-dies-before-ack": 2.5,  # so many that hibernations come after the first wake, too
    "agent-freeze": 1.5,
    "agent-zombie": 3.0,  # and for as long as it may be called online all the same
    "burst-of-creates": 6.0,
    "database-hangs": 5.0,
    "placement": 1.5,
}
LONG: dict[str, dict[str, float]] = {
    "capacity": {
        "baseline_s": 3.0,
        "creates": 6,
        "steps_per_s": 15.0,
        "reads_per_s": 15.0,
        "requests_per_s": 5.0,
        "sessions_least": 9,
        "statement_ms": 3000.0,
    },
    "latency-slo": {"baseline_s": 4.0, "hold_s": 4.0, "steps_per_s": 15.0, "reads_per_s": 15.0},  # 20 of each
}
REFUSED = 401
NARROW = ("agent-dies-before-effect",)
AWAY = ("agent-blackhole", "agent-freeze", "agent-zombie")


def test_every_experiment_is_run_by_the_tests() -> None:
    found = {path.stem for path in (ROOT / "experiments").glob("*.json") if not path.stem.startswith("sandbox-")}
    assert found == {*KINDS, *MADE, *IN_A_CLUSTER, "agent-failover"}


def test_experiments_on_pods_are_refused_where_agents_are_processes(lab: starter.Stack, begin: Begin) -> None:
    ran = begin(lab.platform_file, experiment=ROOT / "experiments" / f"{IN_A_CLUSTER[0]}.json").finish()
    assert ran.code == 1
    assert 'components.agents.how is not "kubernetes", and this experiment needs agents that are pods' in ran.output
    with pytest.raises(BadInput, match=r"needs\.agent_pods = true: the embedded platform can't be one"):
        Needs(agent_pods=True).lab(Lab())


@pytest.mark.parametrize("name", KINDS)
def test_an_experiment_passes_on_a_correct_platform_and_is_exposed_to_its_fault(
    name: str, lab: starter.Stack, begin: Begin
) -> None:
    ran = passed(name, lab.platform_file, begin, KINDS[name])
    if name in AWAY:
        assert reported_away(ran.directory), "it was declared away before it was back"
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert [(one.state, one.held_by) for one in status.components] == [("up", None)] * len(status.components)
    assert [slot.slot for slot in status.slots if slot.state != "gone"] == []


@pytest.mark.parametrize("name", MADE)
def test_an_experiment_gets_the_platform_that_it_needs_and_passes_on_it(
    name: str, begin: Begin, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "lab.toml").write_text(EMBEDDED.format(heartbeat_s=HEARTBEAT_S.get(name, 0.2)))
    ran = passed(name, tmp_path / "lab.toml", begin, MADE[name])
    faults = [fault for fault in ran.verdict()["faults"] if fault["kind"].endswith(".restart")]
    restarted = sorted(fault["component"] for fault in faults)
    if name == "upgrade-under-load":
        assert restarted == ["agents/a1", "agents/a2", "agents/a3", "control-plane", "control-plane/2"]
        assert all(one["undone"][1] <= other["proven"][0] for one, other in itertools.pairwise(faults)), "in turn"


@pytest.mark.thorough
def test_a_run_goes_on_while_its_tokens_run_out_again_and_again(begin: Begin, tmp_path: pathlib.Path) -> None:
    text = EMBEDDED.format(heartbeat_s=0.5) + "token_s = 1.0\n"
    (tmp_path / "lab.toml").write_text(text)
    ran = passed("agent-failover", tmp_path / "lab.toml", begin, {"agents.take_away"})
    answers = [json.loads(line) for line in (ran.directory / "history" / "load.jsonl").read_text().splitlines()]
    assert [one for one in answers if one["type"] == "answer" and one.get("status") == REFUSED] == []


def test_an_experiment_that_needs_more_than_a_platform_has_is_refused(lab: starter.Stack, begin: Begin) -> None:
    ran = begin(lab.platform_file, experiment=ROOT / "experiments" / "two-control-planes.json").finish()
    assert ran.code == 1
    assert "1 of 2 control-plane are there that this experiment needs" in ran.output


def passed(name: str, platform: pathlib.Path, begin: Begin, kinds: set[str]) -> Ran:
    """A run of an experiment that passes, with its exposure."""
    experiment = ROOT / "experiments" / f"{name}.json"
    stated = json.loads(experiment.read_text())
    extra = {key: value for key, value in FEWER.items() if key in stated["configuration"]}
    if name in NARROW:
        extra["reserve"] = 6  # some are through before the moment comes
    if name in HOLD_S:
        extra["hold_s"] = HOLD_S[name]
    extra |= LONG.get(name, {})
    variables = [text for key, value in extra.items() for text in ("--var", f"{key}:{type(value).__name__}={value}")]
    ran = begin(platform, *variables, experiment=experiment).finish()
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert {fault["kind"] for fault in verdict["faults"]} == kinds
    wanted = stated["controls"][0]["provider"]["arguments"]["exposure"]
    assert set(wanted) <= set(verdict["exposure"])
    settings = {**stated["configuration"], **VARIABLES}
    for kind, need in wanted.items():
        told = verdict["exposure"][kind]
        assert told[told["measure"]] >= told["need"] == settings[need.strip("${}")], told
    assert unproven(name, verdict) == set(), ran.told()
    return ran


def reported_away(run: pathlib.Path) -> bool:
    lines = (run / "history" / "recorder.jsonl").read_text().splitlines()
    return any(one.get("about") == "agent" and one["state"] == "offline" for one in map(json.loads, lines))
