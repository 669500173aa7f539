"""A platform that others use: a plan changes nothing, who looks only breaks nothing, others' sessions are safe, a run can be halted."""

import asyncio
import json
import pathlib
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import toyhttp
from runs import CHAOS, CLEAN, EXPERIMENT, Begin, Ran

from chaosreprise import checker
from chaosreprise.clock import SECOND, boottime
from chaosreprise.history import Effect, load
from chaosreprise.lab.settings import TEMPLATE
from chaosreprise.platform import adapter, file
from chaosreprise.procs import incarnation, myself, send_signal, wait_gone
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
LONG = ("--var", "hold_s:float=30")
TABLES = ("users", "templates", "sessions", "agent_commands", "session_steps", "endpoints")
HEARTBEAT = ("last_heartbeat", "updated_at")  # what the platform itself changes all the time


@pytest.fixture
def state(tmp_path: pathlib.Path) -> str:
    """A state directory of the test's own: what it stops and heals is its own, too."""
    return str(tmp_path / "state")


def reprise(state: str, *arguments: object, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [CHAOS, "reprise", *map(str, arguments)]
    return subprocess.run(command, env={**CLEAN, "XDG_STATE_HOME": state, **env}, capture_output=True, text=True)


def variant(lab: starter.Stack, name: str, **changes: str) -> pathlib.Path:
    """The lab's platform file with lines that begin so replaced, or with a table added."""
    text = lab.platform_file.read_text()
    for start, line in changes.items():
        text, n = re.subn(rf"^{start} = .*$", line, text, flags=re.MULTILINE)
        text = text if n else f"{text}\n{line}\n"
    path = lab.dir / f"{name}.toml"
    path.write_text(text)
    return path


def unknown_because(ran: Ran, reason: str) -> None:
    assert ran.code == 1, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "unknown", ran.told()
    assert any(reason in why for why in verdict["why"]), verdict["why"]
    assert reason in " ".join(ran.output.split()), ran.told()


def is_whole(lab: starter.Stack) -> bool:
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    return all(one.state == "up" and one.held_by is None for one in status.components)


def running_slots(lab: starter.Stack) -> set[str]:
    with Keeper(lab.address) as keeper:
        return {slot.slot for slot in keeper.status().slots if slot.processes}


class Somebody:
    """Another user of the platform, who has made sessions there."""

    def __init__(self, lab: starter.Stack) -> None:
        self.url = re.search(r'^url = "(.*)"', lab.platform_file.read_text(), re.MULTILINE)[1]  # type: ignore[index]
        password = (lab.dir / "secrets" / "admin").read_text()
        self._token = self._ask("POST", "/auth/login", {"username": "admin", "password": password})["token"]
        self.names: list[str] = []

    def start(self, count: int) -> None:
        asked = {"template": TEMPLATE, "resources": {"memory": "256Mi", "cpu": "100m"}}
        for number in range(count):
            self.names.append(self._ask("POST", "/sessions", {"user": f"user{number + 1:02}", **asked})["name"])

    def leave(self) -> None:
        for name in self.names:
            self._ask("DELETE", f"/sessions/{name}")
        while any(self._ask("GET", f"/sessions/{name}")["state"] != "terminated" for name in self.names):
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if hasattr(self, "_token"):
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture
def somebody(lab: starter.Stack) -> Iterator[Somebody]:
    found = Somebody(lab)
    yield found
    found.leave()


def count(lab: starter.Stack, component: str) -> int:
    """What the adapter counts of other people's sessions."""

    async def ask() -> int:
        speaker = adapter.make(file.load(str(lab.platform_file)), "nobody")
        try:
            return await speaker.foreign(component)
        finally:
            await speaker.close()

    return asyncio.run(ask())


def see(lab: starter.Stack) -> dict[str, Any]:
    """All that a plan could change: rows, processes, slots, files."""
    dsn = (lab.dir / "secrets" / "control.dsn").read_text()
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows: dict[str, Any] = {
            table: connection.execute(
                f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
            ).fetchall()
            for table in TABLES
        }
        agents = connection.execute("select to_jsonb(a) from agents a order by agent_id").fetchall()
        rows["agents"] = [{key: value for key, value in row[0].items() if key not in HEARTBEAT} for row in agents]
        changes = "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables where relname != 'agents'"
        rows["changes"] = sorted(connection.execute(changes).fetchall())
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    files = [path for path in lab.dir.rglob("*") if path.relative_to(lab.dir).parts[0] not in ("data", "logs")]
    return {
        "rows": rows,
        "components": [(one.name, one.inc, one.state, one.held_by, one.restarts) for one in status.components],
        "slots": status.slots,
        "ledger": (lab.dir / "slots.jsonl").read_bytes(),
        "files": sorted((str(path), path.stat().st_mtime_ns) for path in files),
    }


@pytest.mark.parametrize("way", ["sql", "http"])
def test_a_plan_changes_nothing_of_the_platform_and_nothing_here(
    way: str, lab: starter.Stack, tmp_path: pathlib.Path
) -> None:
    with toyhttp.recording(Somebody(lab).url) as proxy:
        platform = variant(lab, "watched", url=f'url = "{proxy.url}"')
        if way == "http":
            text = platform.read_text()
            start = text.index("[evidence.rows]")
            platform.write_text(text[:start] + text[text.index("[evidence.slots]") :])
        state, work = tmp_path / "state", tmp_path / "work"
        for folder in (state, work):
            folder.mkdir()
        before = see(lab)
        environment = {**CLEAN, "XDG_STATE_HOME": str(state), "REPRISE_PLATFORM": str(platform), "REPRISE_SEED": "7"}
        command = [CHAOS, "reprise", "plan", str(EXPERIMENT)]
        with subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True) as planning:
            looks = 0
            while planning.poll() is None:
                assert see(lab) == before
                looks += 1
            said = planning.stdout.read() if planning.stdout else ""
        assert planning.returncode == 0
        assert see(lab) == before
        assert {method for method, path in proxy.asked if path != "/api/v1/auth/login"} <= {"GET"}
        assert bool(proxy.asked) is (way == "http")
    assert looks > 0
    assert "would take away" in said
    assert list(state.rglob("*")) == []
    assert [path.name for path in work.rglob("*")] == ["chaostoolkit.log"]


def test_who_only_observes_sends_the_same_commands_breaks_nothing_and_proves_nothing(
    lab: starter.Stack, begin: Begin, state: str
) -> None:
    def lives() -> list[Any]:
        with Keeper(lab.address) as keeper:
            return [(one.name, one.inc) for one in keeper.status().components]

    before = lives()
    allows_nothing = variant(lab, "nothing", faults="faults = []")
    ran = begin(allows_nothing, REPRISE_OBSERVE="1", XDG_STATE_HOME=state).finish()
    unknown_because(ran, "observe-only: nothing was broken, so nothing was proven")
    assert lives() == before
    said = re.search(r"observe   agents.take_away on (agents/a\d) would begin now: nothing is broken", ran.output)
    assert said is not None, ran.told()
    history = load(ran.directory / "history")
    during = [event for event in history.events if getattr(event, "path", None) and said[1] in event.path]
    sent = Counter(event.op for event in during)  # type: ignore[attr-defined]
    assert sent["hibernate"] >= 3
    assert sent["wake"] >= 3
    assert sent["stop"] >= 6
    assert not (ran.directory / "history" / "warden.jsonl").read_text().count('"fault"')
    lost = [event for event in history.events if not (isinstance(event, Effect) and event.mark == "gone")]
    judged = checker.judge(history._replace(events=lost), "end")
    assert judged.value == "false", "what is violated without a fault is how the platform is"


def test_a_word_that_might_mean_either_is_refused(lab: starter.Stack, begin: Begin, state: str) -> None:
    ran = begin(lab.platform_file, REPRISE_OBSERVE="maybe", XDG_STATE_HOME=state).finish()
    assert ran.code == 1
    assert 'REPRISE_OBSERVE = "maybe": expected 1 to observe only, or 0 to break what the experiment says' in ran.output
    assert reprise(state, "plan", EXPERIMENT, REPRISE_OBSERVE="maybe").returncode == 3


def test_sessions_of_somebody_else_refuse_the_plan_and_when_they_come_later_the_injection(
    lab: starter.Stack, begin: Begin, state: str, somebody: Somebody
) -> None:
    running = begin(lab.platform_file, "--var", "baseline_s:float=3", XDG_STATE_HOME=state)
    running.until("load", lambda event: event.get("op") == "stop")  # the baseline's cycles have their agents
    somebody.start(6)  # two on each agent
    ran = running.finish()
    assert ran.code == 1, ran.told()
    refusal = r"allow.foreign_sessions = 0: agents/a\d has \d sessions? of somebody else: wait until they have ended"
    assert re.search(refusal, ran.output), ran.told()
    assert ran.verdict()["verdict"] == "unknown"
    assert ran.verdict()["faults"] == []
    assert is_whole(lab)
    assert running_slots(lab) == set(somebody.names)
    refused = reprise(state, "plan", EXPERIMENT, REPRISE_PLATFORM=str(lab.platform_file))
    assert refused.returncode == 3
    assert re.fullmatch(rf"reprise: \S+platform.toml: {refusal}\n", refused.stderr), refused
    assert sum(count(lab, f"agents/a{number}") for number in (1, 2)) == 6
    assert [count(lab, on) for on in ("control-plane", "database", f"sessions/{somebody.names[0]}")] == [6, 6, 1]
    borne = variant(lab, "borne", foreign_sessions="foreign_sessions = 6")
    assert reprise(state, "plan", EXPERIMENT, REPRISE_PLATFORM=str(borne)).returncode == 0


def test_a_run_is_stopped_from_another_shell_with_everything_undone_first(
    lab: starter.Stack, begin: Begin, state: str
) -> None:
    running = begin(lab.platform_file, *LONG, XDG_STATE_HOME=state)
    running.until_fault("proven")
    ours = running_slots(lab)
    healed = reprise(state, "heal")
    assert (healed.returncode, healed.stdout) == (0, "clean\n"), "what belongs to a living run is left alone"
    assert running_slots(lab) & ours
    elsewhere = reprise(state, "stop", "another-platform")
    assert elsewhere.returncode == 0
    assert elsewhere.stdout.startswith("no run is under way for another-platform (running are: ")
    assert running.process.poll() is None
    stopped = reprise(state, "stop", lab.platform_file)
    ran = running.finish()
    assert stopped.returncode == 0, stopped
    name = ran.directory.name
    lines = stopped.stdout.splitlines()
    assert re.fullmatch(rf"run {name} on lab-\w+@\S+: stopping", lines[0])
    assert re.fullmatch(r"f1 agents.take_away on agents/a\d: undone, verified", lines[1])
    assert lines[2:] == [f"run {name} has ended: {ran.directory}", "nothing of it is left broken"]
    unknown_because(ran, "it was stopped by `chaos reprise stop`, in the phase 'method'")
    assert "halted    by `chaos reprise stop`: what was broken is whole again" in ran.output
    assert [fault["by"] for fault in ran.verdict()["faults"]] == ["stop"]
    assert is_whole(lab)
    assert running_slots(lab) == set()
    again = reprise(state, "stop")
    assert (again.returncode, again.stdout) == (0, "no run is under way: nothing to stop\n")


@pytest.mark.thorough
def test_after_a_kill_heal_stops_the_sessions_of_that_run_and_stop_finds_no_run(
    lab: starter.Stack, begin: Begin, state: str
) -> None:
    running = begin(lab.platform_file, XDG_STATE_HOME=state)
    running.until("owner", lambda event: event.get("name") == "baseline")
    warden = incarnation(running.pid_of("warden"))
    running.process.send_signal(signal.SIGKILL)
    name = running.finish().directory.name
    assert warden is None or wait_gone(warden, 10)
    assert list(pathlib.Path(state).rglob("run.json")) != []
    stopped = reprise(state, "stop", lab.platform_file)
    assert (stopped.returncode, stopped.stdout) == (
        0,
        f"no run is under way for {lab.platform_file}: nothing to stop\n",
    )
    assert running_slots(lab) != set()
    healed = reprise(state, "heal")
    assert healed.returncode == 0, healed
    tidied, last = healed.stdout.splitlines()
    assert re.fullmatch(rf"lab-\w+@\S+: \d+ sessions of run {name} were left: stopped", tidied)
    assert last == "clean"
    assert running_slots(lab) == set()
    assert reprise(state, "heal").stdout == "clean\n"


def test_litter_that_can_not_be_reached_stays_marked_and_is_said(tmp_path: pathlib.Path, state: str) -> None:
    marks = pathlib.Path(state, "reprise", "litter", "far")
    marks.mkdir(parents=True)
    (marks / "r1").write_text(json.dumps({"platform": "far@away", "file": str(tmp_path / "gone.toml")}))
    (marks / "r2").write_text("")
    healed = reprise(state, "heal")
    assert healed.returncode == 3
    first, second, last = healed.stdout.splitlines()
    assert first.startswith("run r1: it may have left sessions on far@away, not stopped: ")
    assert "gone.toml" in first
    assert second.startswith("run r2: it may have left sessions, and its mark ")
    assert last == "2 things could not be repaired: see above"
    assert {path.name for path in marks.iterdir()} == {"r1", "r2"}


def test_when_too_many_answers_are_errors_the_guard_halts_the_run(lab: starter.Stack, begin: Begin, state: str) -> None:
    guarded = variant(lab, "guarded", guard="[guard]\nerrors = 0.5\nwindow_s = 2\nleast = 10")
    running = begin(guarded, "--var", "baseline_s:float=60", "--var", "steps_per_s:float=30", XDG_STATE_HOME=state)
    running.until("owner", lambda event: event.get("name") == "baseline")
    running.until("warden", lambda event: event.get("signal") == "errors")
    with Keeper(lab.address) as keeper:
        control = next(one for one in keeper.status().components if one.name == "control-plane")
        assert control.inc is not None
        lease_end = boottime() + 30 * SECOND
        keeper.hold("control-plane", control.inc, "somebody/else", owners=[myself()], lease_end=lease_end)
        try:
            send_signal(control.inc, signal.SIGKILL)
            running.until("warden", lambda event: event.get("signal") == "halt")
        finally:
            keeper.release("control-plane", "somebody/else")
    ran = running.finish()
    assert ran.code == 1, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] != "true", ran.told()  # held connections broke while nothing of ours was broken
    assert {name for name, check in verdict["checks"].items() if check["verdict"] == "false"} <= {"interrupted"}
    halted = r"it was halted by the guard: \d+ of \d+ answers of the load in 2 s were unexpected errors \(guard.errors = 0.5\)"
    assert re.search(halted, " ".join(ran.output.split())), ran.told()
    assert ran.verdict()["faults"] == []
