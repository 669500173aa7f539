"""A sandbox that was written from the contract alone: what its tester's first hour finds, and what a run says of a bug."""

import contextlib
import json
import pathlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import standins
from runs import ROOT, Ran, unproven
from toystack import free_port

from chaosreprise import history
from chaosreprise.errors import BadInput
from chaosreprise.lab.sandbox import tokens
from chaosreprise.platform import file, sandbox_rows
from chaosreprise.run import initial

SHORT = ("--var", "baseline_s:float=0.2", "--var", "quiet_s:float=0.2", "--var", "exposure:int=2")


@contextlib.contextmanager
def neighbour(platform: pathlib.Path) -> Iterator[list[str]]:
    """Somebody who makes sessions and runs steps in them while the platform is up; the sessions."""
    at = file.load(str(platform)).file.sandbox
    assert at is not None
    url, made, over = f"{at.control_plane}sessions", [], threading.Event()

    def go() -> None:
        with httpx.Client(timeout=5, trust_env=False) as http:
            while not over.wait(0.7):
                with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
                    name = http.post(url, json={"runtime": "python"}).json()["id"]
                    made.append(name)
                    http.post(f"{url}/{quote(name, safe='')}/steps", json={"command": "print(1)"})

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield made
    finally:
        over.set()
        thread.join()


def run(platform: pathlib.Path, name: str) -> Ran:
    folder = platform.parent
    done = standins.chaos(
        folder,
        "run",
        *SHORT,
        str(ROOT / "experiments" / f"{name}.json"),
        REPRISE_PLATFORM=str(platform),
        REPRISE_SEED="7",
    )
    return Ran(done.returncode, done.stdout + done.stderr, (folder / "runs" / "latest").resolve())


def test_the_flow_and_the_doctor_start_what_a_run_would_and_end_it(tmp_path: pathlib.Path) -> None:
    platform = standins.sandbox(tmp_path, enforced=True)
    flow = standins.chaos(tmp_path, "reprise", "flow", str(platform), RUNTIME="node")
    assert (flow.returncode, flow.stdout.count(" ok ")) == (0, 8), flow.stdout + flow.stderr
    doctor = standins.chaos(tmp_path, "reprise", "doctor", "--json", str(platform))
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    said = {f"{one['about']} {one['name']}".strip(): one for one in json.loads(doctor.stdout)["said"]}
    assert said["evidence workspaces"]["state"] == said["evidence rows"]["state"] == "ok"
    assert said["criterion SX-10"]["say"].startswith("tested by sandbox-agent-crash")
    assert "allow.faults" in said["experiment sandbox-latency"]["say"]
    assert said["criterion SX-13"]["state"] == "limited"
    assert not (file.load(str(platform)).stack / "keeper.json").exists()


def test_who_fills_in_the_template_has_his_own_programs_started(tmp_path: pathlib.Path) -> None:
    before, _, rest = initial.template("sandbox").partition("[components.agents]")
    _, begin, rest = rest.partition('# [components."agents/a1"]')
    own, end, after = rest.partition("\n# The interpreters of sessions")
    lines = [line for line in (begin + own).splitlines() if not line.startswith(("# folder", '# after = ["database"]'))]
    text = before + "\n".join(line.removeprefix("# ") for line in lines) + end + after
    for what, said in (
        ("<name>", "mine"), ("<host>", standins.HOST), ("<url>", "http://127.0.0.1:8080"), ("<workspaces>", "workspaces"),
        ('kind = "sql" ', 'kind = "sqlite" '), ('dsn = { env = "SANDBOX_DSN" }', 'path = "control-plane.db"'),
        ("/srv/workspaces", str(tmp_path / "workspaces")), *((port, str(free_port())) for port in ("9000", "8081", "8080", "8090")),
        *((f'["bin/{name}"]', f'["{standins.PYTHON}", "{standins.STANDINS}/sandbox/{name.replace("-", "_")}.py"]')
          for name in ("session-agent", "data-plane", "control-plane")),
    ):  # fmt: skip
        assert what in text
        text = text.replace(what, said)
    (tmp_path / "workspaces").mkdir()
    (tmp_path / "mine.toml").write_text(text)
    flow = standins.chaos(tmp_path, "reprise", "flow", "mine.toml")
    assert (flow.returncode, flow.stdout.count(" ok ")) == (0, 8), flow.stdout + flow.stderr


def test_a_folder_of_ledgers_that_comes_with_the_first_session_is_asked_for(tmp_path: pathlib.Path) -> None:
    platform = standins.sandbox(tmp_path)
    (tmp_path / "workspaces").rmdir()
    doctor = standins.chaos(tmp_path, "reprise", "doctor", "--json", str(platform))
    assert doctor.returncode == 3
    found = [one for one in json.loads(doctor.stdout)["said"] if one["name"] == "workspaces"]
    assert "is not there: make it, if the platform does so only with its first session" in found[0]["say"]


def test_a_platform_that_keeps_its_contract_passes_with_all_that_this_leaves_open(tmp_path: pathlib.Path) -> None:
    """Its answers say more than they must, its ids have another shape, it stands below a path, and others use it as well."""
    platform = standins.sandbox(tmp_path, "wordy,odd-ids", base="/tools/sandbox")
    with neighbour(platform) as made:
        ran = run(platform, "sandbox-agent-crash")
    assert ran.code == 0, ran.told()
    assert unproven("sandbox-agent-crash", ran.verdict()) == set()
    assert ran.verdict()["checks"]["unrecorded"]["verdict"] == "true", ran.told()
    kept = [one["what"] for one in ran.verdict()["not_tested"] if one["what"].startswith("left behind: ")]
    assert len(kept) == 1, kept
    assert kept[0].endswith(f"workspaces in {tmp_path}/workspaces")
    assert made, "there were others"
    events = history.load(ran.directory / "history").events
    assert not {one.id for one in events if isinstance(one, history.Report)} & {*made}, "they are no business of ours"


def guarded(folder: pathlib.Path, defect: str = "none", other: str = "others") -> pathlib.Path:
    """One that asks for tokens at each of its doors."""
    for name, tenant in (("token", "reprise"), ("other", other)):
        claims = {"tenant_id": tenant, "agent_id": "reprise"}
        (folder / name).write_text(tokens.sign(claims, "signing-1f0c"))
    env = f'DATABASE_DRIVER = "sqlite"\nDATABASE_URL = "{standins.SQLITE_URL}"\nAUTH_JWT_SECRET = "signing-1f0c"'
    path = standins.sandbox(folder, defect, enforced=True, token='{ file = "token" }', control_env=env)
    text = path.read_text()
    tools = re.search(r'MCP_ADDR = "(:[0-9]+)"', text)
    assert tools
    more = f'other_token = {{ file = "other" }}\ntools = "http://127.0.0.1{tools[1]}/tools"\n'
    path.write_text(text.replace("token = {", f"{more}token = {{", 1))
    return path


def told(
    platform: pathlib.Path, command: str, about: str, states: tuple[str, ...] = ("limited", "not ok")
) -> list[str]:
    done = standins.chaos(platform.parent, "reprise", command, "--json", str(platform))
    said = json.loads(done.stdout)["said"]
    return [f"{one['name']}: {one['say']}" for one in said if one["about"] == about and one["state"] in states]


@pytest.mark.thorough
def test_one_that_keeps_each_door_holds(tmp_path: pathlib.Path) -> None:
    platform = guarded(tmp_path)
    assert told(platform, "doctor", "authentication") == []
    done = standins.chaos(platform.parent, "reprise", "conformance", str(platform))
    assert done.returncode == 0, done.stdout
    assert "step of another tenant: by status 500, which proves nothing by itself" in told(
        platform, "conformance", "refused", ("ok",)
    )


def test_doors_that_let_in_whom_they_must_not_are_found(tmp_path: pathlib.Path) -> None:
    platform = guarded(tmp_path, "open-tools,any-tenant,unsigned,any-session-token,keeps-running")
    done = standins.chaos(platform.parent, "reprise", "conformance", "--json", str(platform))
    wrong = [one for one in json.loads(done.stdout)["said"] if one["state"] != "ok"]
    found = [f"{one['name']}: {one['say']}" for one in wrong if one["about"] == "refused"]
    [ended] = [one["say"] for one in wrong if one["about"] == "ended"]
    assert "sessions that were stopped a process goes on, such as session-" in ended
    assert [one.partition(":")[0] for one in found if "was accepted" in one] == [
        "create with an unsigned token",
        "step of another tenant",
        "create without a token at the tools",
        "create with a forged token at the tools",
        "create with an unsigned token at the tools",
        "step of another tenant at the tools",
    ]
    assert any("the key of a refused create" in one for one in found), found
    [said] = told(platform, "doctor", "authentication")
    assert "the agent answers a token that is no session's with 500" in said
    assert "its tools answers who shows no token with 400" in said


@pytest.mark.thorough
@pytest.mark.parametrize("other", ["reprise", ""])
def test_a_token_that_shows_nothing_of_other_tenants_is_no_pass(tmp_path: pathlib.Path, other: str) -> None:
    platform, nothing = guarded(tmp_path, other=other), "is refused by itself, or is of the same tenant"
    [said] = told(platform, "doctor", "authentication")
    assert nothing in said
    found = told(platform, "conformance", "refused")
    assert [one.partition(":")[0] for one in found] == ["step of another tenant", "step of another tenant at the tools"]
    assert all(nothing in one for one in found)


def told_by_steps(folder: pathlib.Path, defect: str = "none", **more: Any) -> pathlib.Path:
    """One of whose workspaces no file can be reached."""
    path = standins.sandbox(folder, defect, **more)
    text = path.read_text()
    by_files = 'kind = "files"\npath = "workspaces"\nhz = 20'
    assert by_files in text
    path.write_text(text.replace(by_files, 'kind = "stdout"\nhz = 10'))
    return path


def test_a_pod_is_not_asked_to_print_what_it_has(tmp_path: pathlib.Path) -> None:
    path = standins.pods(tmp_path, "n", tmp_path / "kubeconfig", "python")
    text, by_exec = path.read_text(), '[evidence.workspaces]\nkind = "kubernetes"'
    assert by_exec in text
    path.write_text(text.replace(by_exec, '[evidence.workspaces]\nkind = "stdout"'))
    with pytest.raises(BadInput, match='kind = "stdout": a session that is a pod has no folder in common with others'):
        file.load(str(path))


@pytest.mark.parametrize("runtime", ["python", pytest.param("node", marks=pytest.mark.thorough)])
def test_where_no_file_can_be_reached_steps_print_what_they_left(tmp_path: pathlib.Path, runtime: str) -> None:
    platform = told_by_steps(tmp_path, runtime=runtime)
    ran = run(platform, "sandbox-control-plane-crash")
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()
    assert unproven("sandbox-control-plane-crash", ran.verdict()) == set(), ran.told()
    assert any("the platform's own word" in one for one in told(platform, "doctor", "evidence"))


@pytest.mark.thorough
def test_a_bug_is_found_by_what_steps_print(tmp_path: pathlib.Path) -> None:
    ran = run(told_by_steps(tmp_path, "step-twice"), "sandbox-control-plane-crash")
    assert (ran.code, ran.verdict()["checks"]["duplicate"]["verdict"]) == (1, "false"), ran.told()


@pytest.mark.thorough
def test_what_went_on_while_nobody_could_print_it_is_unknown(tmp_path: pathlib.Path) -> None:
    ran = run(told_by_steps(tmp_path, allow=("data-plane.pause",)), "sandbox-data-plane-freeze")
    duplicate = ran.verdict()["checks"]["duplicate"]
    assert (ran.code, ran.verdict()["verdict"], duplicate["verdict"]) == (1, "unknown", "unknown"), ran.told()
    assert "no session of the run prints what its ledger has" in str(duplicate["scope"]), ran.told()


@pytest.mark.thorough
def test_interpreters_that_outlive_their_sessions_are_told(tmp_path: pathlib.Path) -> None:
    ran = run(standins.sandbox(tmp_path, "keeps-running"), "sandbox-agent-crash")
    assert ran.code == 0, ran.told()
    assert any("interpreters that still run" in one["what"] for one in ran.verdict()["not_tested"]), ran.told()


@pytest.mark.thorough
@pytest.mark.parametrize("runtime", ["python", "node"])
@pytest.mark.parametrize("name", ["sandbox-control-plane-crash", "sandbox-data-plane-crash"])
def test_it_passes_with_each_part_that_dies(tmp_path: pathlib.Path, name: str, runtime: str) -> None:
    ran = run(standins.sandbox(tmp_path, runtime=runtime, enforced=True), name)
    assert ran.code == 0, ran.told()


@pytest.mark.parametrize(
    ("bug", "check"),
    [
        ("silent-loss", "state-loss"),
        pytest.param("step-twice", "duplicate", marks=pytest.mark.thorough),
        pytest.param("row-lost", "unrecorded", marks=pytest.mark.thorough),
        pytest.param("no-step-rows", "unrecorded", marks=pytest.mark.thorough),
        pytest.param("row-mixed", "unrecorded", marks=pytest.mark.thorough),
    ],
)
def test_a_bug_of_a_stranger_is_found(tmp_path: pathlib.Path, bug: str, check: str) -> None:
    ran = run(standins.sandbox(tmp_path, bug), "sandbox-agent-crash")
    assert ran.code == 1, ran.told()
    found = ran.verdict()["checks"][check]
    assert found["verdict"] == "false", ran.told()
    assert (found["baseline"] > 0) == (bug != "silent-loss"), "it takes the fault"


def test_rows_are_seen_that_stand_in_a_write_ahead_log_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "rows.db"
    with sqlite3.connect(path) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.executescript("create table sessions (id, status); create table session_steps (id, session_id, status)")
        writer.execute("insert into sessions values ('s1', 'active')")
    assert sandbox_rows._sqlite(path) == ([("s1", "active")], [])
    writer.close()
