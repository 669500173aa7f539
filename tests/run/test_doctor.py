"""`chaos reprise doctor` on a real lab: it says what is there, changes nothing, and one trouble hides nothing else."""

import contextlib
import json
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import pytest
from runs import CHAOS, CLEAN

from chaosreprise.faults import ledger
from chaosreprise.platform import file
from chaosreprise.platform.said import Said
from chaosreprise.platform.streamspace_rows import COLUMNS, QUERIES
from chaosreprise.run import doctor, litter, possible, sentences
from chaosreprise.run.doctor import Examined
from chaosreprise.stack import starter

Edited = Callable[..., pathlib.Path]
LONGEST = 110
ROWS = ("fail-open", "lifecycle", "misassigned")


def told(found: Examined, about: str, name: str = "") -> list[Said]:
    return [one for one in found.said if one.about == about and (not name or one.name == name)]


def states(found: Examined, about: str, name: str = "") -> set[str]:
    return {one.state for one in told(found, about, name)}


def says(found: Examined, about: str, name: str = "") -> str:
    return " | ".join(f"{one.say} {one.do}" for one in told(found, about, name))


def everything(*folders: pathlib.Path) -> dict[str, tuple[int, int]]:
    """What stands in these folders: the size of each file, and when it was changed; without what the lab itself writes."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not {"data", "logs", "disk"} & set(path.relative_to(folder).parts):
                found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def superuser(lab: starter.Stack, *statements: str) -> None:
    with psycopg.connect((lab.dir / "secrets" / "superuser.dsn").read_text(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def rows(lab: starter.Stack) -> list[tuple[object, ...]]:
    with psycopg.connect((lab.dir / "secrets" / "reader.dsn").read_text()) as connection:
        return connection.execute(
            "select (select count(*) from sessions), (select count(*) from agent_commands)"
        ).fetchall()


def test_a_lab_is_examined_from_its_control_plane_to_its_experiments_and_nothing_is_changed(lab: starter.Stack) -> None:
    state = lab.dir.parent.parent / "faults"
    before = everything(lab.dir, state), rows(lab)
    found = doctor.examine(str(lab.platform_file))
    assert (everything(lab.dir, state), rows(lab)) == before
    assert found.can_begin
    assert "answers in" in says(found, "control plane")
    assert "as admin, role admin" in says(found, "login")
    assert "2 online: a1 a2" in says(found, "agents")
    assert "reprise_reader may only read" in says(found, "evidence", "rows")
    assert {one.name for one in told(found, "evidence")} >= {"rows", "slots", "workspaces"}
    assert "the same within" in says(found, "clocks")
    assert "stack lab-" in says(found, "identity")
    assert states(found, "component") == states(found, "link") == states(found, "check") == {"ok"}
    assert says(found, "check", "lost").startswith("keyed: start step; counted: hibernate wake stop")
    assert says(found, "fault", "agents.crash").startswith("possible on agents/a")
    assert states(found, "fault", "links.ws_drop") == {"ok"}
    assert states(found, "experiment", "agent-failover") == {"ok"}
    assert "1 of 2 control-plane are there" in says(found, "experiment", "two-control-planes")
    assert not [one for one in found.said if one.state == "not ok"]
    assert [line for line in found.lines() if len(line) > LONGEST] == []
    assert re.search(r"a run +can begin: \d+ of \d+ experiments", "\n".join(found.lines()))


def test_what_could_be_done_is_what_the_plans_of_the_faults_say(lab: starter.Stack) -> None:
    """A lab without a small disk and without root: these alone lack something of their own."""
    found = doctor.examine(str(lab.platform_file))
    limited = {one.name: one.say for one in told(found, "fault") if one.state != "ok"}
    assert "is on no small file system of its own" in limited.pop("database.disk_full")
    assert limited.pop("database.disk_read_only")
    assert set(limited) <= {kind for kind in limited if kind.endswith((".memory_limit", ".disk_slow", ".clock_skew"))}
    assert "an experiment says which table" in says(found, "fault", "database.lock_table")


TROUBLES: dict[str, tuple[list[tuple[str, str]], tuple[str, str], str]] = {
    "wrong password": (
        [('password = { file = "secrets/admin" }', 'password = { file = "secrets/token" }')],
        ("login", ""),
        "login as admin was refused with 401: check control.user and control.password",
    ),
    "control plane away": (
        [('url = "http://127.0.0.1:', 'url = "http://127.0.0.1:9" # ')],
        ("control plane", ""),
        "is the platform up?",
    ),
    "database away": (
        [('dsn = { file = "secrets/reader.dsn" }', 'dsn = { env = "NO_DATABASE" }')],
        ("evidence", "rows"),
        "take [evidence.rows] out of the platform file: fail-open, lifecycle, misassigned would be unknown",
    ),
    "another platform": (
        [('stack = "lab-', 'stack = "not-lab-')],
        ("identity", ""),
        "another platform than the file was written for",
    ),
    "keeper gone": (
        [('keeper = "keeper.json"', 'keeper = "no-keeper.json"')],
        ("component", ""),
        "no-keeper.json",
    ),
    "no agents": (
        [("[components.agents]", "[components.agent]")],
        ("component", "agents"),
        "the load can't be spread over agents",
    ),
    "no room": (
        [("max_sessions = 60", "max_sessions = 3")],
        ("budget", ""),
        "sessions are needed",
    ),
}


ALSO = {"control plane away": {"login"}, "keeper gone": {"identity"}}  # which need the same


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_run_could_begin_and_one_line_says_why_beside_all_others(
    trouble: str, edited: Edited, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, (about, name), why = TROUBLES[trouble]
    monkeypatch.setenv("NO_DATABASE", "host=127.0.0.1 port=9 user=x dbname=x connect_timeout=2")
    found = doctor.examine(str(edited(*changes)))
    wrong = [one for one in found.said if one.state == "not ok"]
    assert not found.can_begin
    assert why in says(found, about, name), found.lines()
    assert {one.about for one in wrong} - {about} <= ALSO.get(trouble, set()), found.lines()
    assert len({one.about for one in found.said}) >= 12  # nothing else is hidden
    assert "can't begin: " in "\n".join(found.lines()[-3:])
    assert [line for line in found.lines() if len(line) > LONGEST] == []


@contextlib.contextmanager
def changed(lab: starter.Stack, there: str, back: str) -> Iterator[None]:
    superuser(lab, there)
    try:
        yield
    finally:
        superuser(lab, back)


def test_a_missing_column_is_named_with_the_checks_that_it_costs(lab: starter.Stack) -> None:
    rename = "alter table agent_commands rename column {} to {}"
    with changed(lab, rename.format("error_message", "e"), rename.format("e", "error_message")):
        found = doctor.examine(str(lab.platform_file))
    assert not found.can_begin
    assert "agent_commands.error_message is missing" in says(found, "evidence", "rows")
    for check in ROWS:
        assert "will be unknown: evidence.rows can't be watched" in says(found, "check", check)
    assert states(found, "check", "duplicate") == {"ok"}


def test_each_column_that_is_said_to_be_needed_is(lab: starter.Stack) -> None:
    """A query without one of them fails, so none is named for nothing; and no other one is asked for."""
    queries = " ".join(QUERIES.values())
    alias = {"agents": "a", "sessions": "s", "agent_commands": "c"}
    asked = {(short, name) for short, name in re.findall(r"\b([asc])\.(\w+)", queries)}
    assert asked == {(alias[table], name) for table, names in COLUMNS.items() for name in names}


def test_a_role_that_may_write_is_told_and_a_run_can_begin_all_the_same(edited: Edited) -> None:
    found = doctor.examine(str(edited(("secrets/reader.dsn", "secrets/superuser.dsn"))))
    assert found.can_begin
    assert states(found, "evidence", "rows") == {"ok", "limited"}
    assert "is a superuser" in says(found, "evidence", "rows")
    found = doctor.examine(str(edited(("secrets/reader.dsn", "secrets/control.dsn"))))
    assert "may write agents, sessions, agent_commands" in says(found, "evidence", "rows")


def test_a_role_that_may_not_read_a_column_is_told_which(lab: starter.Stack) -> None:
    table = "on agents {} reprise_reader"
    with changed(lab, f"revoke select {table.format('from')}", f"grant select {table.format('to')}"):
        found = doctor.examine(str(lab.platform_file))
    assert "may not read agents.id, agents.agent_id" in says(found, "evidence", "rows")
    assert not found.can_begin


def test_what_is_not_allowed_and_what_has_no_proxy_costs_its_experiments_alone(
    lab: starter.Stack, edited: Edited
) -> None:
    text = lab.platform_file.read_text()
    links = text[text.index("[links") : text.index("[regions]")]
    found = doctor.examine(str(edited(('"agents.take_away", ', ""), (links, ""))))
    assert found.can_begin
    assert "not allowed" in says(found, "fault", "agents.take_away")
    assert "agents.take_away is not among them" in says(found, "experiment", "agent-failover")
    assert "no proxy" in says(found, "link", "links/agents/a1")
    assert "[links] is not set" in says(found, "fault", "links.freeze")
    assert states(found, "experiment", "agent-freeze") == {"limited"}
    assert states(found, "experiment", "agent-crash") == {"ok"}


def test_a_limit_that_a_fault_would_break_is_said_before_it_does(edited: Edited) -> None:
    found = doctor.examine(str(edited(("share = 1.0", "share = 0.34"), ('faults = ["', 'faults = ["agents.crsh", "'))))
    assert "allow.share = 0.34: 1 of 2 agents would be broken" in says(found, "fault", "agents.pause")
    assert "agents.crsh: no such fault" in says(found, "allowed")


def test_a_promise_that_is_not_made_and_evidence_that_is_not_there_cost_their_checks(edited: Edited) -> None:
    found = doctor.examine(str(edited(("order = true", "order = false"), ("[evidence.slots]", "[evidence.other]"))))
    assert "evidence.slots is missing" in says(found, "check", "lost")
    assert "evidence.slots is missing" in says(found, "experiment", "agent-failover")
    found = doctor.examine(str(edited(("order = true", "order = false"))))
    assert "promises.order is not made" in says(found, "check", "reorder")
    assert found.can_begin


def test_what_earlier_runs_left_and_who_is_at_work_is_said(lab: starter.Stack) -> None:
    platform = file.load(str(lab.platform_file))
    mark = litter.mark(platform, "killed-1")
    record = ledger.Record(
        platform=platform.id, run="killed-1", fault="f1", kind="agents.pause", on="agents/a1", state="armed", lo=1, hi=2, target={}
    )  # fmt: skip
    try:
        with ledger.lock(platform.id):
            ledger.append(record)
            found = doctor.examine(str(lab.platform_file))
    finally:
        mark.unlink()
        ledger.path(platform.id, "killed-1").unlink()
    assert not found.can_begin
    assert "agents.pause on agents/a1 of run killed-1 is armed" in says(found, "left")
    assert "run killed-1 ended before it had stopped its sessions" in says(found, "left")
    assert "is at work on it now" in says(found, "lock")
    assert "nothing, and nobody" in says(doctor.examine(str(lab.platform_file)), "left")


def test_the_command_ends_with_3_when_no_run_could_begin(
    lab: starter.Stack, edited: Edited, tmp_path: pathlib.Path
) -> None:
    bad = edited(('password = { file = "secrets/admin" }', 'password = { file = "secrets/token" }'))
    for path, code in ((lab.platform_file, 0), (bad, 3), (tmp_path / "none.toml", 3)):
        command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "doctor", "--json", str(path)]
        done = subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        if path.exists():
            data = json.loads(done.stdout)
            assert data["can_begin"] == (code == 0)
            assert {one["state"] for one in data["said"]} <= {"ok", "limited", "not ok"}
        else:
            assert "the platform file can't be read" in done.stderr


def test_the_embedded_platform_is_made_examined_and_ended(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lab.toml").write_text(
        'version = 1\nkind = "embedded"\nname = "small"\n[lab]\nagents = 2\nheartbeat_s = 0.5\n'
    )
    before = [stack.id for stack in starter.find()]
    found = doctor.examine(str(tmp_path / "lab.toml"))
    assert (found.platform, found.kind, found.can_begin) == ("small", "embedded", True)
    assert states(found, "experiment") == {"ok"}  # a lab is made as large as each needs it
    assert len(told(found, "experiment")) == len(list(possible._experiments()))
    assert [stack.id for stack in starter.find()] == before


def test_of_many_things_of_which_the_same_is_said_there_is_one_line() -> None:
    said = [
        Said(about="fault", name="a", say="possible"),
        Said(about="fault", name="b", state="limited", say="not allowed"),
        Said(about="fault", name="c", say="possible"),
        Said(about="evidence", name="rows", say="x " * 80, do="mend it"),
    ]
    lines = sentences.lines(said)
    assert lines[0].split() == ["ok", "faults", "a,", "c:", "possible"]
    assert lines[1].split() == ["limited", "fault", "b", "not", "allowed"]
    assert lines[-1].endswith("-> mend it")
    assert max(map(len, lines)) <= LONGEST
