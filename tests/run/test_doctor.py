"""`chaos reprise doctor` on a real lab: it says what is there, changes nothing, and one trouble hides nothing else."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import pytest
from runs import CHAOS, CLEAN, ROOT

from chaosreprise.faults import ledger
from chaosreprise.paths import slug, state_path
from chaosreprise.platform import adapter, file
from chaosreprise.platform.said import Examines, Said
from chaosreprise.platform.streamspace_rows import COLUMNS, QUERIES
from chaosreprise.run import doctor, examining, litter, sentences
from chaosreprise.run.doctor import Examined
from chaosreprise.stack import starter

Edited = Callable[..., pathlib.Path]
LONGEST = 110


def told(found: Examined, about: str, name: str = "") -> list[Said]:
    return [one for one in found.said if one.about == about and (not name or one.name == name)]


def states(found: Examined, about: str, name: str = "") -> set[str]:
    return {one.state for one in told(found, about, name)}


def says(found: Examined, about: str, name: str = "") -> str:
    return " | ".join(f"{one.say} {one.do}" for one in told(found, about, name))


def everything(lab: starter.Stack) -> dict[str, bytes]:
    """What a run would leave: effects, faults in the ledger, marks of sessions. The lab itself writes elsewhere."""
    platform = slug(file.load(str(lab.platform_file)).id)
    folders = [lab.dir / "workspaces", state_path("faults", platform), state_path("litter", platform)]
    paths = [lab.dir / "slots.jsonl", *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    return {str(path): path.read_bytes() for path in [*paths, lab.platform_file]}


def superuser(lab: starter.Stack, *statements: str) -> None:
    with psycopg.connect((lab.dir / "secrets" / "superuser.dsn").read_text(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def rows(lab: starter.Stack) -> list[tuple[object, ...]]:
    with psycopg.connect((lab.dir / "secrets" / "reader.dsn").read_text()) as connection:
        return connection.execute(
            "select (select count(*) from sessions), (select count(*) from agent_commands)"
        ).fetchall()


@pytest.fixture(scope="module")
def whole(lab: starter.Stack) -> Examined:
    """What is said of a lab to which nothing happened."""
    return doctor.examine(str(lab.platform_file))


def test_a_lab_is_examined_from_its_control_plane_to_its_experiments(whole: Examined) -> None:
    assert whole.can_begin
    assert "answers in" in says(whole, "control plane")
    assert "as admin, role admin" in says(whole, "login")
    assert "2 online: a1 a2" in says(whole, "agents")
    assert says(whole, "templates").strip() == "1 listed, python read"
    assert says(whole, "agents' keys").strip() == "who shows none, or a wrong one, is refused"
    assert "reprise_reader may only read" in says(whole, "evidence", "rows")
    assert {one.name for one in told(whole, "evidence")} >= {"rows", "slots", "workspaces"}
    assert "the same within" in says(whole, "clocks")
    assert "stack lab-" in says(whole, "identity")
    assert states(whole, "component") == states(whole, "link") == states(whole, "check") == {"ok"}
    assert says(whole, "check", "lost").startswith("keyed: start step; counted: hibernate wake stop")
    assert "nothing, and nobody is at work" in says(whole, "left")
    assert not [one for one in whole.said if one.state == "not ok"]
    assert [line for line in whole.lines() if len(line) > LONGEST] == []
    assert re.search(r"a run +can begin: \d+ of \d+ experiments", "\n".join(whole.lines()))


def test_what_could_be_done_is_what_the_plans_of_faults_and_experiments_say(whole: Examined) -> None:
    """A lab without a small disk, and with one control plane: these alone lack something of their own."""
    assert says(whole, "fault", "agents.crash").startswith("possible on agents/a")
    assert states(whole, "fault", "links.ws_drop") == {"ok"}
    assert "an experiment says which table" in says(whole, "fault", "database.lock_table")
    limited = {one.name: one.say for one in told(whole, "fault") if one.state != "ok"}
    assert "is on no small file system of its own" in limited.pop("database.disk_full")
    assert limited.pop("database.disk_read_only")
    of_clusters = {kind for kind, why in limited.items() if "kubernetes" in why}
    assert {"agents.evict", "agents.drain_node"} <= of_clusters
    assert all(
        "components.data-plane is not set" in limited[kind] for kind in limited if kind.startswith("data-plane.")
    )
    others = [kind for kind in limited if not kind.startswith("data-plane.") and kind not in of_clusters]
    assert [kind for kind in others if not kind.endswith((".memory_limit", ".disk_slow", ".clock_skew"))] == []
    assert states(whole, "experiment", "agent-failover") == {"ok"}
    assert "1 of 2 control-plane are there" in says(whole, "experiment", "two-control-planes")


def test_the_command_says_it_for_machines_and_changes_nothing(lab: starter.Stack, tmp_path: pathlib.Path) -> None:
    before = everything(lab), rows(lab)
    command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "doctor", "--json"]
    done = [
        subprocess.run([*command, str(path)], cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
        for path in (lab.platform_file, tmp_path / "none.toml")
    ]
    assert (everything(lab), rows(lab)) == before
    assert [one.returncode for one in done] == [0, 3], done
    data = json.loads(done[0].stdout)
    assert data["can_begin"] is True
    assert {one["state"] for one in data["said"]} == {"ok", "limited"}
    assert "the platform file can't be read" in done[1].stderr


Change = tuple[str, str]
WRONG_PASSWORD: Change = ('password = { file = "secrets/admin" }', 'password = { file = "secrets/token" }')
CONTROL_AWAY: Change = ('url = "http://127.0.0.1:', 'url = "http://127.0.0.1:9" # ')
DATABASE_AWAY: Change = ('dsn = { file = "secrets/reader.dsn" }', 'dsn = { env = "NO_DATABASE" }')
NO_SECRET: Change = ('dsn = { file = "secrets/reader.dsn" }', 'dsn = { file = "secrets/nowhere" }')
ANOTHER: Change = ('stack = "lab-', 'stack = "not-lab-')
KEEPER_GONE: Change = ('keeper = "keeper.json"', 'keeper = "no-keeper.json"')
NO_AGENTS: Change = ("[components.agents]", "[components.data-plane]")
NO_ROOM: Change = ("max_sessions = 60", "max_sessions = 3")
SAID = {  # what is not ok, where, in which words
    WRONG_PASSWORD: ("login", "login as admin was refused with 401: check control.user and control.password"),
    CONTROL_AWAY: ("control plane", "is the platform up?"),
    DATABASE_AWAY: (
        "evidence",
        "take [evidence.rows] out of the platform file: contradicted, dishonest, fail-open, lifecycle, misassigned",
    ),
    NO_SECRET: ("evidence", "secrets/nowhere: the secret can't be read"),
    ANOTHER: ("identity", "another platform than the file was written for"),
    KEEPER_GONE: ("component", "no-keeper.json"),
    NO_AGENTS: ("component", "the load can't be spread over agents"),
    NO_ROOM: ("budget", "sessions are needed"),
}
ALSO = {CONTROL_AWAY: {"login"}, KEEPER_GONE: {"identity"}}  # which need the same


@pytest.mark.parametrize(
    "troubles",
    [(WRONG_PASSWORD, NO_SECRET, ANOTHER, NO_ROOM), (DATABASE_AWAY, KEEPER_GONE), (CONTROL_AWAY, NO_AGENTS)],
    ids=["login-identity-budget", "database-keeper", "control-plane-agents"],
)
def test_no_run_could_begin_and_each_reason_is_said_beside_all_others(
    troubles: tuple[Change, ...], edited: Edited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_DATABASE", "host=127.0.0.1 port=9 user=x dbname=x connect_timeout=2")
    found = doctor.examine(str(edited(*troubles)))
    wrong = {one.about for one in found.said if one.state == "not ok"}
    for trouble in troubles:
        about, why = SAID[trouble]
        assert why in says(found, about), found.lines()
        assert "not ok" in states(found, about)
        wrong -= {about, *ALSO.get(trouble, ())}
    assert wrong == set()
    assert "another platform" not in says(found, "fault") + says(found, "experiment")
    assert states(found, "evidence", "slots") == states(found, "evidence", "workspaces") == {"ok"}
    assert not found.can_begin
    assert {"allowed", "effects", "link", "left", "fault", "check", "experiment"} <= {one.about for one in found.said}
    assert "can't begin: " in "\n".join(found.lines()[-3:])
    assert [line for line in found.lines() if len(line) > LONGEST] == []


@contextlib.contextmanager
def changed(lab: starter.Stack, there: str, back: str) -> Iterator[None]:
    superuser(lab, there)
    try:
        yield
    finally:
        superuser(lab, back)


def test_what_is_missing_in_the_database_is_named_with_the_checks_that_it_costs(lab: starter.Stack) -> None:
    rename, table = "alter table agent_commands rename column {} to {}", "on agents {} reprise_reader"
    with (
        changed(lab, rename.format("error_message", "e"), rename.format("e", "error_message")),
        changed(lab, f"revoke select {table.format('from')}", f"grant select {table.format('to')}"),
    ):
        found = doctor.examine(str(lab.platform_file))
    assert not found.can_begin
    assert "agent_commands.error_message is missing" in says(found, "evidence", "rows")
    assert "may not read agents.id, agents.agent_id" in says(found, "evidence", "rows")
    for check in ("fail-open", "lifecycle", "misassigned", "dishonest"):
        assert "will be unknown: evidence.rows can't be watched" in says(found, "check", check)
    assert states(found, "check", "duplicate") == {"ok"}


def test_each_column_that_is_said_to_be_needed_is_and_no_other() -> None:
    alias = {"agents": "a", "sessions": "s", "agent_commands": "c"}
    asked = {(short, name) for short, name in re.findall(r"\b([asc])\.(\w+)", " ".join(QUERIES.values()))}
    assert asked == {(alias[table], name) for table, names in COLUMNS.items() for name in names}


def test_what_is_limited_is_said_and_a_run_can_begin_all_the_same(edited: Edited) -> None:
    """A role that may write, a share that one agent exceeds, a kind that is none, a promise that is not made."""
    path = edited(
        ('kind = "sql"\ndsn = { file = "secrets/reader.dsn"', 'kind = "sql"\ndsn = { file = "secrets/control.dsn"'),
        ("share = 1.0", "share = 0.34"),
        ('faults = ["', 'faults = ["agents.crsh", "'),
        ('[components.database]\nhow = "process"\nkeeper = "keeper.json"', '[components.database]\nhow = "none"'),
        ("order = true", "order = false"),
    )
    found = doctor.examine(str(path))
    assert found.can_begin
    assert "may write agents, sessions, agent_commands" in says(found, "evidence", "rows")
    assert "allow.share = 0.34: 1 of 2 agents would be broken" in says(found, "fault", "agents.pause")
    assert "allow.share = 0.34" in says(found, "experiment", "agent-failover")
    assert "reached by SQL alone" in says(found, "component", "database")
    assert "no process of it is running" in says(found, "fault", "database.crash")
    assert says(found, "fault", "database.read_only").startswith("possible on database")
    assert "agents.crsh: no such fault" in says(found, "allowed")
    assert "promises.order is not made" in says(found, "check", "reorder")


def test_what_is_not_allowed_has_no_proxy_or_no_evidence_costs_what_needs_it(
    lab: starter.Stack, edited: Edited
) -> None:
    text = lab.platform_file.read_text()
    links = text[text.index("[links") : text.index("[regions]")]
    found = doctor.examine(
        str(edited(('"agents.take_away", ', ""), (links, ""), ("secrets/reader.dsn", "secrets/superuser.dsn")))
    )
    assert found.can_begin
    assert "is a superuser" in says(found, "evidence", "rows")
    assert "not allowed" in says(found, "fault", "agents.take_away")
    assert "agents.take_away is not among them" in says(found, "experiment", "agent-failover")
    assert "no proxy" in says(found, "link", "links/agents/a1")
    assert "[links] is not set" in says(found, "fault", "links.freeze")
    assert states(found, "experiment", "agent-freeze") == {"limited"}
    assert states(found, "experiment", "agent-crash") == {"ok"}


def test_what_earlier_runs_left_and_who_is_at_work_is_said(lab: starter.Stack, edited: Edited) -> None:
    platform = file.load(str(lab.platform_file))
    mark = litter.mark(platform, "killed-1")
    record = ledger.Record(
        platform=platform.id, run="killed-1", fault="f1", kind="agents.pause", on="agents/a1", state="armed", lo=1, hi=2, target={}
    )  # fmt: skip
    try:
        with ledger.lock(platform.id):
            ledger.append(record)
            found = doctor.examine(str(edited(("[evidence.slots]", "[evidence.other]"))))
    finally:
        mark.unlink()
        ledger.path(platform.id, "killed-1").unlink()
    assert not found.can_begin
    assert "agents.pause on agents/a1 of run killed-1 is armed" in says(found, "left")
    assert "run killed-1 ended before it had stopped its sessions" in says(found, "left")
    assert f"process {os.getpid()} of Reprise is at work on it now" in says(found, "lock")
    assert "evidence.slots is missing" in says(found, "check", "lost")
    assert "evidence.slots is missing" in says(found, "experiment", "agent-failover")
    assert ledger.holder(platform.id) is None


def test_the_embedded_platform_is_made_examined_and_ended(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lab.toml").write_text('version = 1\nkind = "embedded"\nname = "small"\n[lab]\nagents = 1\n')
    found = doctor.examine(str(tmp_path / "lab.toml"))
    assert (found.platform, found.kind, found.can_begin) == ("small", "embedded", True)
    limited = [one.name for one in told(found, "experiment") if one.state != "ok"]
    assert limited == ["agent-container-killed", "agent-evicted", "agent-rollout", "sandbox-pods"], (
        "a lab is made as large as each needs it, but on this machine"
    )
    assert len(told(found, "experiment")) == len(list((ROOT / "experiments").rglob("*.json")))
    [stack] = re.findall(r"stack (lab-\w+)", says(found, "identity"))
    assert [one for one in starter.find() if stack in one.platform_file.read_text()] == []


def test_of_an_adapter_that_has_no_examinations_it_is_said_whether_it_is_let_in(
    lab: starter.Stack, edited: Edited
) -> None:
    class Plain:
        """A real adapter, of which no more is shown than that it can be opened."""

        def __init__(self, speaker: adapter.Adapter) -> None:
            self.open = speaker.open

    async def said_of(path: pathlib.Path) -> str:
        speaker = adapter.make(file.load(str(path)), "doctor")
        [one] = await examining.told(Plain(speaker))  # type: ignore[arg-type]
        await speaker.close()
        return one.say

    assert asyncio.run(said_of(lab.platform_file)) == "the platform lets us in"
    assert "was refused with 401" in asyncio.run(said_of(edited(WRONG_PASSWORD)))


def said_of(path: pathlib.Path, about: str) -> list[Said]:
    async def asked() -> list[Said]:
        speaker = adapter.make(file.load(str(path)), "doctor")
        assert isinstance(speaker, Examines)
        said = await speaker.examinations()[about]()
        await speaker.close()
        return said

    return asyncio.run(asked())


def test_a_template_that_is_not_there_is_named_with_those_that_are(edited: Edited) -> None:
    [found] = said_of(edited(('template = "python"', 'template = "cobol"')), "templates")
    assert (found.state, found.say) == ("not ok", "there is no cobol: the control plane has python")


@pytest.mark.parametrize(
    ("defect", "about", "say", "do"),
    [
        (
            "templates-from-kubernetes",
            "templates",
            "can't be listed: the control plane answers with 500",
            "let it read",
        ),
        (
            "any-key",
            "agents' keys",
            "who shows one that is nobody's is answered with 400 as a1",
            "let the control plane ask",
        ),
    ],
)
def test_what_no_run_asks_for_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, defect: str, about: str, say: str, do: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("REPRISE_LAB_DEFECT", defect)
    lab = starter.start(agents=1, users=1, heartbeat_s=0.2, reconcile_s=0.1, owned=True)
    try:
        [found] = said_of(lab.platform_file, about)
    finally:
        lab.end()
    assert (found.state, say in found.say, found.do.startswith(do)) == ("limited", True, True), found


FILL = """
insert into sessions (id, user_id, template_name, state, agent_id, memory, cpu, created_at, updated_at)
  select 'old-' || n, 'user0' || 1 + n % 2, 'python', 'terminated', 'a' || 1 + n % 2, '128Mi', '100m', now(), now() from generate_series(1, 5000) n;
insert into agent_commands (command_id, agent_id, session_id, action, payload, status, created_at, updated_at)
  select 'cmd-old-' || n || '-' || k, 'a' || 1 + n % 2, 'old-' || n, 'start_session', '{}', 'completed', now(), now()
  from generate_series(1, 5000) n, generate_series(1, 4) k;
analyze sessions, agent_commands
"""
EMPTY = "delete from agent_commands where command_id like 'cmd-old-%'; delete from sessions where id like 'old-%'; analyze sessions, agent_commands"


def test_what_calls_look_up_is_found_by_an_index_and_on_a_filled_table_that_is_used(lab: starter.Stack) -> None:
    [small] = said_of(lab.platform_file, "queries")
    assert small.state == "ok"
    assert small.say.startswith(
        "4 of 4 are served by an index; whether it is used shows from 1000 rows on: agent_commands has about "
    )
    superuser(lab, *FILL.split(";"))
    try:
        [filled] = said_of(lab.platform_file, "queries")
        superuser(lab, "alter role reprise_reader set random_page_cost = 1e9")
        unused = said_of(lab.platform_file, "queries")
    finally:
        superuser(lab, "alter role reprise_reader reset random_page_cost", *EMPTY.split(";"))
    assert filled.say == (
        "4 of 4 are served by an index, 4 use it, on agent_commands of about 20000 rows and sessions of about 5000 rows"
    )
    assert {(one.state, one.do) for one in unused} == {
        ("limited", f"have its owner run `ANALYZE {table}`, and look again") for table in ("sessions", "agent_commands")
    }
    assert "the index for a session by its name is not used: all of sessions is read, of about 5000 rows" in {
        one.say for one in unused
    }


@pytest.mark.parametrize("rows_too", [False, True], ids=["small", "filled"])
def test_what_no_index_serves_is_told_on_a_small_table_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, rows_too: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("REPRISE_LAB_DEFECT", "no-indexes")
    lab = starter.start(agents=2, users=2, heartbeat_s=0.2, reconcile_s=0.1, owned=True)
    try:
        superuser(lab, *(FILL.split(";") if rows_too else []))
        found = said_of(lab.platform_file, "queries")
    finally:
        lab.end()
    assert {one.state for one in found} == {"limited"}
    assert [one.say.partition(":")[0] for one in found] == [
        "no index serves the sessions of a user",
        "no index serves what waits for an agent",
    ]


def test_an_agent_that_waits_for_approval_is_told_and_is_not_missed(lab: starter.Stack) -> None:
    superuser(lab, "insert into agents (agent_id, platform) values ('newcomer', 'vm')")
    try:
        waits, online = said_of(lab.platform_file, "agents")
    finally:
        superuser(lab, "delete from agents where agent_id = 'newcomer'")
    assert (waits.state, online.state, online.say) == ("limited", "ok", "2 online: a1 a2")
    assert "newcomer waits for approval" in waits.say


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


def test_each_criterion_is_said_by_which_experiments_it_is_tested_or_why_by_none(whole: Examined) -> None:
    found = {one.name: one for one in told(whole, "criterion")}
    assert {name.partition("-")[0] for name in found} == {"SS", "SI", "RP"}
    assert found["SI-3.2"].say.startswith("tested by agent-failover")
    assert all(
        one.say.startswith("tested by " if one.state == "ok" else "can't be tested here: ") for one in found.values()
    )
    refused = {one.name for one in told(whole, "experiment") if one.state != "ok"}
    assert not [
        one for one in found.values() if one.state == "ok" and refused.intersection(re.split(r"[, ]+", one.say))
    ]
    assert "two-control-planes" in refused, "a lab of this size has one"
    assert found["RP-2"].say.startswith("can't be tested here: two-control-planes: 1 of 2 control planes are there")
