"""Whom a fault hits follows from the seed alone; what the platform file gives no way to is refused before anything begins."""

import pathlib
import subprocess

import msgspec
import pytest
from platformfiles import STREAMSPACE

from chaosreprise.errors import BadInput, NotAllowed, NotPossible
from chaosreprise.platform import adapter, file
from chaosreprise.platform.adapter import Component, Description
from chaosreprise.run import contract, method, plan

AGENTS = ["a1", "a2", "a3"]


def chosen(seed: int, **given: object) -> list[str]:
    return plan.choose(method.wanted("agents.take_away", given), AGENTS, seed)


def test_the_seed_draws_the_victims_in_one_order_for_all_faults_of_a_run() -> None:
    assert {chosen(seed)[0] for seed in range(30)} == set(AGENTS)
    for seed in range(30):
        everybody = chosen(seed, count="all")
        assert sorted(everybody) == AGENTS
        assert [chosen(seed, count=n) for n in (1, 2)] == [everybody[:1], everybody[:2]]
        assert chosen(seed, agent="a2", count=2)[0] == "a2"


def test_a_region_is_hit_as_a_whole_or_in_part() -> None:
    regions = {"east": ["a1", "a3"], "west": ["a2"]}

    def of_region(**given: object) -> list[str]:
        return plan.choose(method.wanted("agents.take_away", given), AGENTS, 7, regions)

    assert sorted(of_region(region="east")) == ["a1", "a3"]
    assert of_region(region="west") == ["a2"]
    assert of_region(region="east", count=1) == of_region(region="east")[:1]
    with pytest.raises(BadInput, match="region = 'north': expected one of east, west"):
        of_region(region="north")


def test_one_of_several_control_planes_is_named_or_drawn() -> None:
    there = ["control-plane", "control-plane/2", "database", "agents/a1"]

    def hit(seed: int = 7, **given: object) -> list[str]:
        return plan.shown(method.wanted("control-plane.crash", given), AGENTS, seed, there).components

    assert {hit(seed)[0] for seed in range(30)} == {"control-plane", "control-plane/2"}
    assert hit(which="control-plane/2") == ["control-plane/2"]
    assert sorted(hit(count="all")) == ["control-plane", "control-plane/2"]
    with pytest.raises(BadInput, match="which = 'control-plane/3': expected one of control-plane, control-plane/2"):
        hit(which="control-plane/3")
    alone = plan.shown(method.wanted("control-plane.crash", {}), AGENTS, 7)
    assert (alone.components, alone.of) == (["control-plane"], 1)


def test_what_an_experiment_states_has_one_digest_whatever_the_seed_and_another_for_another_method_or_load() -> None:
    def digest(hold_s: float = 6.0, **workload: object) -> str:
        stated = {"name": "e", "require": ["lost"], "exposure": {"wake": 2}, "workload": workload}
        send = {
            "provider": {"module": "chaosreprise.actions.commands", "func": "send", "arguments": {"seconds": hold_s}}
        }
        return plan.digest(contract.read(stated, ["lost"]), [send])

    assert digest(seed=7) == digest(seed="8") == digest()
    assert len({digest(), digest(hold_s=7.0), digest(reserve=2)}) == 3


def test_what_is_restarted_in_turn_is_never_broken_together() -> None:
    for in_turn, moments in ((True, [1, 1, 1]), (False, [3])):
        wanted = method.wanted("agents.restart", {"count": "all", "one_by_one": in_turn})
        assert [len(moment) for moment in plan.shown(wanted, AGENTS, 7).moments()] == moments


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"agent": "a9"}, "agents.take_away: agent = 'a9': expected one of a1, a2, a3"),
        ({"count": 4}, "agents.take_away: count = 4: there are 3 of them: ask for fewer"),
    ],
)
def test_who_is_not_there_is_not_hit(given: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        chosen(1, **given)


DATABASE = (
    STREAMSPACE
    + """\
[components.database]
how = "none"
{admin}
[allow]
faults = ["database.read_only", "database.hang", "database.commit_lost", "database.crash"]
"""
)
ADMIN = 'admin = { env = "ADMIN" }'


def planned(folder: pathlib.Path, kind: str, admin: str = "") -> plan.RunPlan:
    """What would be done on a database of which we have no process."""
    return planned_all(folder, [method.wanted(kind, {})], admin)


def planned_all(folder: pathlib.Path, faults: list[method.Wanted], admin: str = "") -> plan.RunPlan:
    path = folder / "platform.toml"
    path.write_text(DATABASE.format(port=1, admin=admin))
    platform = file.load(str(path))
    there = [Component(name="agents/a1", group="agents"), *adapter.make(platform, "r1").components()]
    said = Description(attribution=[], refusals=[], promises={}, bounds={}, offline_ns=0, sources=[])
    arguments = contract.Arguments(name="x", require=[])
    return plan.make(arguments, faults, platform, said, there, 1)


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        ("database.read_only", "components.database.admin"),
        ("database.hang", "links.database"),
        ("database.commit_lost", "links.database.taps"),
    ],
)
def test_a_fault_is_refused_without_what_it_acts_through(tmp_path: pathlib.Path, kind: str, lacks: str) -> None:
    with pytest.raises(NotPossible, match=f"{lacks} is not set: {kind} has no way to be made"):
        planned(tmp_path, kind)


def test_a_fault_by_sql_needs_no_process(tmp_path: pathlib.Path) -> None:
    assert planned(tmp_path, "database.read_only", ADMIN).components == ["database"]


def test_a_fault_on_a_process_needs_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotPossible, match="database: no process of it is running"):
        planned(tmp_path, "database.crash", ADMIN)


def test_faults_that_surely_are_on_together_are_refused_before_any_is_made(
    tmp_path: pathlib.Path, chaos: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = method.wanted("database.read_only", {})
    second = msgspec.structs.replace(first, beside=(0,))
    says = (
        r"allow.at_once = 1: 2 faults of the method are on at the same time \(database.read_only, database.read_only\)"
    )
    with pytest.raises(NotAllowed, match=says):
        planned_all(tmp_path, [first, second], ADMIN)
    assert planned_all(tmp_path, [first, first], ADMIN).faults
    monkeypatch.setenv("REPRISE_PLATFORM", str(tmp_path / "platform.toml"))
    told = {name: validated(chaos, name) for name in ("agent-and-database", "agent-failover")}
    assert told["agent-failover"][0] == 0, told
    assert told["agent-and-database"][0] == 1, told
    assert "(database.take_away, agents.take_away): let it undo one" in told["agent-and-database"][1]


def validated(chaos: pathlib.Path, name: str) -> tuple[int, str]:
    path = pathlib.Path(__file__).resolve().parents[2] / "experiments" / f"{name}.json"
    command = [chaos, "--no-version-check", "--no-log-file", "validate", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


WITNESS = '[evidence.witness]\nkind = "witness"\nlisten = "127.0.0.1:9470"\ntoken = { env = "P" }\n'


def test_sessions_that_speak_for_themselves_stand_for_a_ledger_of_processes_and_for_nothing_else(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P", "x")
    lacks = {}
    for name, more in (("silent", ""), ("speaking", WITNESS)):
        (tmp_path / name).write_text(DATABASE.format(port=1, admin="") + more)
        platform = file.load(str(tmp_path / name))
        said = adapter.make(platform, "r1").describe()
        lacks[name] = [plan.lacking(check, platform, said) for check in ("split-brain", "lost")]
    assert lacks == {"silent": ["evidence.slots is missing"] * 2, "speaking": [None, "evidence.slots is missing"]}


def test_an_experiment_on_sessions_that_speak_is_refused_where_they_do_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "platform.toml").write_text(DATABASE.format(port=1, admin=""))
    arguments = contract.Arguments(name="x", require=[], needs=contract.Needs(witness=True))
    with pytest.raises(NotPossible, match='no evidence is of kind = "witness", which this experiment needs'):
        plan.check_needs(arguments, file.load(str(tmp_path / "platform.toml")), [])


def test_where_no_code_can_be_run_in_sessions_they_are_read_and_what_only_steps_show_is_refused(
    tmp_path: pathlib.Path,
) -> None:
    lacks = "no code can be run in its sessions (control.steps is not set)"
    for steps, wants in (('steps = "http://127.0.0.1:1"', [True, 30.0, None]), ("", [False, None, lacks])):
        (tmp_path / "p").write_text(DATABASE.format(port=1, admin="").replace("[control]", f"[control]\n{steps}"))
        platform = file.load(str(tmp_path / "p"))
        said = adapter.make(platform, "r1").describe()
        load = plan.make_load(contract.Arguments(name="x", require=[]), platform, ["a1"], 1, [], steps=said.steps)
        assert [load.steps, load.mix.get("step"), plan.lacking("isolation", platform, said)] == wants
        assert plan.lacking("state-loss", platform, said) == wants[-1]


def test_a_bound_that_is_not_stated_is_as_long_as_the_last_command_of_an_agents_longest_queue_takes(
    tmp_path: pathlib.Path,
) -> None:
    for slowest_s, more, start_s in ((0.1, "", 30), (3.0, "", 75), (3.0, "[timing.bounds]\nstart_s = 30\n", 30)):
        text = DATABASE.format(port=1, admin="").replace("slowest_s = 1 ", f"slowest_s = {slowest_s} ") + more
        (tmp_path / "p").write_text(text)
        platform = file.load(str(tmp_path / "p"))
        arguments = contract.Arguments(name="x", require=[], exposure={"wake": 5})
        load = plan.make_load(arguments, platform, ["a1"], 1, [])
        assert load.queue == 24
        assert plan.queued(adapter.make(platform, "r1").describe(), platform, load)["start"] == start_s * 10**9
