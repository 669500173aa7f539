"""Whole runs of agent-failover on a stranger's StreamSpace whose sessions are pods of a real cluster: what they do is known from a watch alone."""

import json
import pathlib
from collections.abc import Iterator

import psycopg
import pytest
import standin_space
from clusters import Space, pause
from runs import EXPERIMENT, SHORTEST, Ran, Running

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(600)]
WITHIN_S = 550.0
RATES = {
    "steps_per_s": 2.0,
    "reads_per_s": 2.0,
    "lists_per_s": 0.5,
}  # a step is a process, a read a connection to the database
VARIABLES = SHORTEST | RATES | {"hold_s": 3.0}
SHORT = [text for name, value in VARIABLES.items() for text in ("--var", f"{name}:{type(value).__name__}={value}")]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standin_space.database(tmp_path_factory.mktemp("space")) as dsn:
        yield dsn


def run(
    folder: pathlib.Path,
    space: Space,
    database: str,
    defect: str = "none",
    steps: bool = True,
    check: str = "limits",
    more: str = "",
) -> Ran:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("delete from agent_commands")
        connection.execute("delete from sessions")
    where = {"kubeconfig": str(space.kubeconfig), "namespace": space.name, "image": pause(space)}
    found = standin_space.written(folder, database, defect, cluster=where, steps=steps)
    with found.file.open("a") as file:
        file.write(f'[promises]\nlimits = ["memory", "cpu"]\n{more}')
    stated = json.loads(EXPERIMENT.read_text())
    stated["controls"][0]["provider"]["arguments"]["require"].append(check)
    (folder / EXPERIMENT.name).write_text(json.dumps(stated))
    return Running(found.file, folder, folder / EXPERIMENT.name, SHORT, found.env).finish(WITHIN_S)


def test_a_correct_platform_passes_with_its_processes_judged(
    tmp_path: pathlib.Path, space: Space, database: str
) -> None:
    ran = run(tmp_path, space, database)
    assert ran.verdict()["verdict"] == "true", ran
    checks = ran.verdict()["checks"]
    names = ("split-brain", "duplicate", "lost", "residue", "limits")
    assert {name: checks[name]["verdict"] for name in names} == dict.fromkeys(names, "true"), ran
    assert checks["limits"]["evidence"] > 12, "the memory and the processor of each"
    lines = [json.loads(line) for line in (ran.directory / "history" / "recorder.jsonl").read_text().splitlines()]
    lives = [line for line in lines if line["type"] == "effect" and line["ledger"] == "pods"]
    begun, ended = ({tuple(one["inc"]) for one in lives if one["mark"] == mark} for mark in ("up", "down"))
    assert begun == ended
    assert len(begun) == checks["split-brain"]["evidence"] > 12, (
        "two agents with a canary, one for steps, and a reserve of four"
    )
    assert any(one["lo"] < one["hi"] for one in lives)


def test_one_that_runs_no_code_and_calls_hibernated_what_has_a_pod_still_passes(
    tmp_path: pathlib.Path, space: Space, database: str
) -> None:
    """A cluster may leave a pod as it was when its session is woken at once: then no wake would be seen to act."""
    ran = run(tmp_path, space, database, "hasty", steps=False)
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran


def test_one_that_runs_no_code_and_keeps_the_claims_of_its_sessions_passes_and_says_what_was_not_seen(
    tmp_path: pathlib.Path, space: Space, database: str
) -> None:
    ran = run(tmp_path, space, database, "homes", steps=False, check="state-loss", more=standin_space.HOMES)
    found = ran.verdict()["checks"]["state-loss"]
    assert (ran.code, found["verdict"]) == (0, "true"), ran
    assert found["evidence"] > 6, "two agents with a canary, and a reserve"
    told = {one["what"]: one["why"] for one in ran.verdict()["not_tested"]}
    assert "not what is in it" in told["content of files"], told


@pytest.mark.parametrize(("defect", "says"), [("home-lost", "was gone"), ("home-forgotten", "was not given its claim")])
def test_a_home_that_is_lost_is_found_where_no_code_runs(
    tmp_path: pathlib.Path, space: Space, database: str, defect: str, says: str
) -> None:
    ran = run(tmp_path, space, database, f"homes,{defect}", steps=False, check="state-loss", more=standin_space.HOMES)
    found = ran.verdict()["checks"]["state-loss"]
    assert (ran.code, found["verdict"]) == (1, "false"), ran
    assert says in found["witnesses"][0]["say"], found


def test_an_agent_that_ends_the_sessions_it_finds_when_it_comes_back_is_no_pass(
    tmp_path: pathlib.Path, space: Space, database: str
) -> None:
    ran = run(tmp_path, space, database, "ends-sessions", steps=False)
    assert (ran.code, ran.verdict()["verdict"]) == (1, "unknown"), ran
    doubts = [one["why"] for one in ran.verdict()["checks"]["phantom"]["scope"]]
    assert any("were ended on purpose, and no stop or hibernation of them had been sent" in one for one in doubts)


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        ("two-deployments", "split-brain"),
        ("starts-twice", "duplicate"),
        ("wakes-twice", "duplicate"),
        ("never-wakes", "lost"),
        ("no-limits", "limits"),
        ("one-processor", "limits"),
    ],
)
def test_a_planted_defect_is_found_by_its_check(
    tmp_path: pathlib.Path, space: Space, database: str, defect: str, check: str
) -> None:
    ran = run(tmp_path, space, database, defect)
    found = ran.verdict()["checks"][check]
    assert (ran.code, found["verdict"]) == (1, "false"), ran
