"""A StreamSpace that was written from the contract alone, of whose agents and ledgers nothing is known: answers and rows are the evidence."""

import json
import pathlib
import threading

import psycopg
import pytest
import standin_space
import standins
from planted import Watch
from runs import ROOT, Ran
from standin_space import Space

BRIEF = [
    f"--var={name}"
    for name in (
        "hold_s:float=1.5",
        "quiet_s:float=0.2",
        "baseline_s:float=0.5",
        "exposure:int=1",
        "reads_per_s:float=5",
    )
]


def run(space: Space, *require: str) -> Ran:
    folder = space.file.parent
    experiment = standin_space.rows_only(folder, *require)
    env = {**space.env, "REPRISE_PLATFORM": str(space.file), "REPRISE_SEED": "7"}
    done = standins.chaos(folder, "run", str(experiment), **env)
    return Ran(done.returncode, done.stdout + done.stderr, (folder / "runs" / "latest").resolve())


def run_shipped(space: Space, name: str = "agent-failover-by-rows", **more: str) -> Ran:
    """An experiment as it is shipped, in the time that tests have."""
    folder = space.file.parent
    env = {**space.env, **more, "REPRISE_PLATFORM": str(space.file), "REPRISE_SEED": "7"}
    done = standins.chaos(folder, "run", *BRIEF, str(ROOT / "experiments" / f"{name}.json"), **env)
    return Ran(done.returncode, done.stdout + done.stderr, (folder / "runs" / "latest").resolve())


def doctor(space: Space) -> dict[str, list[dict[str, str]]]:
    done = standins.chaos(space.file.parent, "reprise", "doctor", "--json", str(space.file), **space.env)
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.stdout)["said"]:
        found.setdefault(f"{one['about']} {one['name']}".strip(), []).append(one)
    return found


def test_a_whole_run_passes_ends_its_sessions_and_leaves_no_secret(tmp_path: pathlib.Path, space_database: str) -> None:
    space = standin_space.written(tmp_path, space_database)
    watch = Watch(tmp_path, standin_space.secrets(space))
    experiment = standin_space.rows_only(tmp_path, "lifecycle", "denied")
    done = watch.run("--verbose", "run", str(experiment), **space.env, REPRISE_PLATFORM=str(space.file))
    ran = Ran(done.returncode, done.stdout + done.stderr, (tmp_path / "runs" / "latest").resolve())
    assert ran.code == 0, ran.told()
    checks = ran.verdict()["checks"]
    assert (checks["lifecycle"]["verdict"], checks["denied"]["verdict"]) == ("true", "true")
    assert checks["denied"]["evidence"] > 0, "lists name our sessions, though they show no tags"
    assert (checks["lost"]["verdict"], checks["duplicate"]["verdict"]) == ("unknown", "unknown")
    with psycopg.connect(space.admin) as connection:
        assert connection.execute("select distinct state from sessions").fetchall() == [("terminated",)]
    names = {path.name for path in ran.directory.rglob("*")}
    assert names >= {
        "plan.json",
        "verdict.json",
        "journal.json",
        "junit.xml",
        "report.html",
        "faults.jsonl",
        "load.jsonl",
    }
    watch.files(but={tmp_path / "admin.dsn"})
    assert (watch.found, watch.looks > 10) == (set(), True)


def test_what_the_doctor_says_of_the_shipped_experiments_is_what_they_do_where_there_are_only_answers_and_rows(
    tmp_path: pathlib.Path, space_database: str
) -> None:
    """Though its calls have a limit of rates, its lists come in parts and it has ids, nulls and fields that no contract names."""
    space = standin_space.written(tmp_path, space_database, "limits,pages,uuids,nulls,extras")
    said = doctor(space)
    assert not [about for about in said if about.startswith("commands")]
    assert said["experiment agent-failover-by-rows"][0]["say"] == "could run"
    assert said["criterion SS-2.1"][0]["say"] == "tested by agent-failover-by-rows"
    assert "agent-failover-by-rows" in said["criterion SI-3.2"][0]["say"]
    ran = run_shipped(space)
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()
    checks = ran.verdict()["checks"]
    required = {name for name, found in checks.items() if found["required"]}
    assert {checks[name]["verdict"] for name in required} == {"true"}
    assert checks["lost"]["scope"][0]["why"].startswith("no evidence of kind slots")
    assert "whether start, hibernate, wake, stop really ran, and ran exactly once" in " ".join(ran.output.split())
    assert "lost ?" in ran.output
    lines = [json.loads(line) for line in (ran.directory / "history" / "load.jsonl").read_text().splitlines()]
    waited = [line["value"] for line in lines if line.get("signal") == "rate_limited"]
    assert waited[0] == sum("retry_s" in line for line in lines if line["type"] == "answer") > 0
    with psycopg.connect(space_database) as connection:
        assert connection.execute("select distinct state from sessions").fetchall() == [("terminated",)]
    refused, reason = run_shipped(space, "agent-failover"), said["experiment agent-failover"][0]["say"]
    assert (refused.code, reason.removeprefix("could not run: ") in refused.output) == (1, True), refused.output


@pytest.mark.parametrize(
    ("bug", "check", "label"),
    [
        pytest.param("stale-reads", "contradicted", None, marks=pytest.mark.thorough),
        pytest.param("forgets-when-away", "unfinished", "stuck", marks=pytest.mark.thorough),
        pytest.param("beats-again", "unfinished", "stuck", marks=pytest.mark.thorough),
    ],
)
def test_a_bug_of_a_platform_without_any_ledger_is_found_by_a_shipped_experiment(
    tmp_path: pathlib.Path, space_database: str, bug: str, check: str, label: str | None
) -> None:
    ran = run_shipped(standin_space.written(tmp_path, space_database, bug))
    found = ran.verdict()["checks"][check]
    assert (ran.code, found["verdict"]) == (1, "false"), ran.told()
    assert label is None or label in found["labels"]


@pytest.mark.thorough
def test_one_that_asks_only_who_reads_for_a_login_is_found(tmp_path: pathlib.Path, space_database: str) -> None:
    space = standin_space.written(tmp_path, space_database, "open-writes")
    done = standins.chaos(tmp_path, "reprise", "conformance", "--json", str(space.file), **space.env)
    wrong = [one for one in json.loads(done.stdout)["said"] if one["about"] == "refused" and one["state"] == "not ok"]
    accepted = {one["name"] for one in wrong if "was accepted" in one["say"]}
    assert accepted == {f"{op} without a login" for op in ("start", "hibernate", "stop")}, wrong


@pytest.mark.thorough
@pytest.mark.parametrize(("bug", "verdict"), [("stale-reads", "false"), ("none", "unknown")])
def test_where_nothing_can_be_broken_observing_finds_what_is_wrong_even_so_and_is_never_true(
    tmp_path: pathlib.Path, space_database: str, bug: str, verdict: str
) -> None:
    space = standin_space.written(tmp_path, space_database, bug, breakable=False)
    with standin_space.agents_elsewhere(space):
        refused = run_shipped(space)
        assert (refused.code, 'components.agents/east-1.how = "none"' in refused.output) == (1, True), refused.output
        ran = run_shipped(space, REPRISE_OBSERVE="1")
    assert (ran.code, ran.verdict()["verdict"]) == (1, verdict), ran.told()
    assert (ran.verdict()["checks"]["contradicted"]["baseline"] > 0) == (verdict == "false")


@pytest.mark.parametrize(
    ("bug", "baseline"),
    [
        ("flickers", True),
        pytest.param("forgets-when-away", False, marks=pytest.mark.thorough),
        pytest.param("late-status", False, marks=pytest.mark.thorough),
    ],
)
def test_a_bug_shows_in_rows_alone_and_is_called_baseline_if_nothing_was_broken(
    tmp_path: pathlib.Path, space_database: str, bug: str, baseline: bool
) -> None:
    space = standin_space.written(tmp_path, space_database, bug)
    space.file.write_text(f"{space.file.read_text()}\n[promises]\nstates = true\n")
    ran = run(space, "lifecycle")
    found = ran.verdict()["checks"]["lifecycle"]
    assert (ran.code, found["verdict"]) == (1, "false"), ran.told()
    assert (found["baseline"] > 0) == baseline, ran.told()
    assert ("all in the baseline, before anything was broken" in ran.output) == baseline


@pytest.mark.thorough
def test_a_late_word_that_does_not_stay_is_no_bug_where_nothing_else_is_promised(
    tmp_path: pathlib.Path, space_database: str
) -> None:
    ran = run(standin_space.written(tmp_path, space_database, "late-status"), "lifecycle")
    assert ran.code == 0, ran.told()


def test_a_check_without_its_evidence_is_refused_before_anything_is_broken(
    tmp_path: pathlib.Path, space_database: str
) -> None:
    space = standin_space.written(tmp_path, space_database)
    ran = run(space, "lost", "lifecycle")
    assert ran.code == 1
    assert "evidence.slots is missing: the required check 'lost' can't be judged without it" in ran.output
    assert not list((tmp_path / "state").rglob("faults/*/*.jsonl"))


@pytest.mark.thorough
def test_evidence_that_is_lost_on_the_way_is_never_a_pass(tmp_path: pathlib.Path, space_database: str) -> None:
    space = standin_space.written(tmp_path, space_database)
    over = threading.Event()

    def take_it_away() -> None:
        faults = tmp_path / "runs" / "latest" / "history" / "warden.jsonl"
        while not over.wait(0.02):
            if faults.exists() and '"proven"' in faults.read_text():
                with psycopg.connect(space.admin, autocommit=True) as connection:
                    connection.execute("revoke select on sessions from watcher")
                return

    watching = threading.Thread(target=take_it_away)
    watching.start()
    try:
        ran = run(space, "lifecycle", "denied")
    finally:
        over.set()
        watching.join()
        with psycopg.connect(space.admin, autocommit=True) as connection:
            connection.execute("grant select on sessions to watcher")
    assert (ran.code, ran.verdict()["verdict"]) == (1, "unknown"), ran.told()
    assert ran.verdict()["checks"]["lifecycle"]["verdict"] == "unknown"


def test_the_doctor_says_what_a_missing_column_costs_and_what_can_not_be_tested(
    tmp_path: pathlib.Path, space_database: str
) -> None:
    """Nor what waits for an agent that says over HTTP that it is there, and is not connected."""
    space = standin_space.written(tmp_path, space_database, "beats")
    with psycopg.connect(space.admin, autocommit=True) as connection:
        connection.execute("alter table agent_commands rename column error_message to error_text")
        connection.execute(
            "insert into agent_commands (command_id, agent_id, action, created_at)"
            " select 'old-' || agent_id, agent_id, 'stop_session', now() - interval '60 s' from agents"
        )
    try:
        found = doctor(space)
    finally:
        with psycopg.connect(space.admin, autocommit=True) as connection:
            connection.execute("alter table agent_commands rename column error_text to error_message")
            connection.execute("delete from agent_commands")
    rows = " ".join(f"{one['say']} {one['do']}" for one in found["evidence rows"])
    assert "the role watcher may only read" in rows
    assert "agent_commands.error_message is missing" in rows
    assert "lifecycle" in rows
    assert "would be unknown" in rows
    assert found["agents"][0]["say"] == "2 online: east-1 west-1"
    assert "commands east-1" not in found, "it is connected, and was given what waited"
    assert "1 wait as pending, though it is called online, and was heard of" in found["commands west-1"][0]["say"]
    assert found["check lost"][0]["say"] == "will be unknown: evidence.slots is missing"
    assert found["criterion SI-3.2"][0]["state"] == "limited"
    assert (
        "evidence.slots is missing" in found["criterion SI-3.2"][0]["say"]
        or "can't be judged" in found["criterion SI-3.2"][0]["say"]
    )
