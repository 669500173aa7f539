"""A StreamSpace that was written from the contract alone, of whose agents and ledgers nothing is known: answers and rows are the evidence."""

import json
import pathlib
import threading

import psycopg
import pytest
import standin_space
import standins
from planted import Watch
from runs import Ran
from standin_space import Space


def run(space: Space, *require: str) -> Ran:
    folder = space.file.parent
    experiment = standin_space.rows_only(folder, *require)
    env = {**space.env, "REPRISE_PLATFORM": str(space.file), "REPRISE_SEED": "7"}
    done = standins.chaos(folder, "run", str(experiment), **env)
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
    space = standin_space.written(tmp_path, space_database)
    with psycopg.connect(space.admin, autocommit=True) as connection:
        connection.execute("alter table agent_commands rename column error_message to error_text")
    try:
        found = doctor(space)
    finally:
        with psycopg.connect(space.admin, autocommit=True) as connection:
            connection.execute("alter table agent_commands rename column error_text to error_message")
    rows = " ".join(f"{one['say']} {one['do']}" for one in found["evidence rows"])
    assert "the role watcher may only read" in rows
    assert "agent_commands.error_message is missing" in rows
    assert "lifecycle" in rows
    assert "would be unknown" in rows
    assert found["agents"][0]["say"] == "2 online: east-1 west-1"
    assert found["check lost"][0]["say"] == "will be unknown: evidence.slots is missing"
    assert found["criterion SI-3.2"][0]["state"] == "limited"
    assert (
        "evidence.slots is missing" in found["criterion SI-3.2"][0]["say"]
        or "can't be judged" in found["criterion SI-3.2"][0]["say"]
    )
