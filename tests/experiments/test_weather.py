"""Bad weather: full and read-only disks, no rights, ports taken, the whole run frozen, another boot, a clock set back.

A run ends with one sentence, and with 0 only where all is proven; what it broke is whole again, and nothing is left of it.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import nobody
import pytest
import toystack
from clocks import WallClock
from disks import Disk, own_mounts
from runs import CHAOS, CLEAN, EXPERIMENT, SHORT, Begin, Ran, Running, processes_of, start_lab

from chaosreprise import checker, history
from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotPossible
from chaosreprise.faults import client as faults
from chaosreprise.faults import ledger, lives, local
from chaosreprise.faults.base import Context
from chaosreprise.history.events import State
from chaosreprise.platform import file
from chaosreprise.procs import Incarnation, incarnation, is_stopped, myself, send_signal
from chaosreprise.run import healing, litter
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper
from chaosreprise.stack.protocol import Component

pytestmark = pytest.mark.long
Experiment = dict[str, Any]
Moment = tuple[str, Callable[[dict[str, Any]], bool]]
EMBEDDED = 'version = 1\nkind = "embedded"\nname = "embedded"\n[lab]\nheartbeat_s = 0.2\nreconcile_s = 0.05\n'
BOOT_ID = "/proc/sys/kernel/random/boot_id"
FULL, READ_ONLY = "No space left on device", "Read-only file system"
WOKEN_S = 2.0
AWAY_S = 1.0  # these labs miss an agent after 0.6 s
UNDONE_WITHIN_S = 2.0  # after the end of a lease: the keeper looks each 0.25 s, then an agent starts


@pytest.fixture(scope="module")
def state() -> Iterator[pathlib.Path]:
    """A state directory of these tests' own, on a way that is open to everybody."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weather-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder
    shutil.rmtree(folder)


class Hung(NamedTuple):
    """A run on a lab of its own whose processes all stand still since its fault was proven."""

    lab: starter.Stack
    running: Running
    proven: dict[str, Any]
    frozen: list[Incarnation]


@pytest.fixture(scope="module")
def hung(state: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hung]:
    """Begun before all the others and looked at later, since its lease takes half a minute.

    Its recorder stands still from before the fault, so that nobody sees the agent gone, and it is back when somebody looks again.
    """
    experiment = json.loads(EXPERIMENT.read_text())
    experiment["method"][0]["provider"]["arguments"] = {"hold_s": 1.0}
    stay(experiment, 5)
    folder = tmp_path_factory.mktemp("hung")
    (folder / "experiment.json").write_text(json.dumps(experiment))
    stack = start_lab()
    running = Running(stack.platform_file, folder, folder / "experiment.json", SHORT, {})
    frozen: list[Incarnation] = []
    try:
        running.until("owner", lambda event: event.get("name") == "method")
        recorder = incarnation(running.pid_of("recorder"))
        assert recorder is not None
        frozen.append(recorder)
        send_signal(recorder, signal.SIGSTOP)
        proven = running.until_fault("proven")
        frozen = freeze(running)
        yield Hung(stack, running, proven, frozen)
    finally:
        stack.end()
        running.process.kill()
        running.process.communicate()
        for inc in frozen:
            send_signal(inc, signal.SIGKILL)


def stay(experiment: Experiment, seconds: float) -> None:
    """Long enough in the fault to do something then."""
    experiment["method"][1]["provider"]["arguments"]["seconds"] = seconds


@pytest.fixture(scope="module")
def lab(state: pathlib.Path, hung: Hung) -> Iterator[starter.Stack]:
    stack = start_lab()
    yield stack
    stack.end()


@pytest.fixture
def mounts(lab: starter.Stack) -> Iterator[None]:
    """Mounts of the test's own; the lab was there before them."""
    with own_mounts():
        yield


def refused(ran: "Ran | subprocess.CompletedProcess[str]", *says: str, code: int = 1) -> None:
    ended, output = (ran.code, ran.output) if isinstance(ran, Ran) else (ran.returncode, ran.stdout)
    assert ended == code, output
    assert all(part in output for part in says), output
    assert "Traceback" not in output


def is_whole(lab: starter.Stack, folder: pathlib.Path) -> None:
    """`heal` finds sessions at most; every part is up (an agent: connected) and not held, and no session is left, no process."""
    lines = healing.lines()
    assert lines[-1] == ("clean", True)
    assert all("sessions left" in line for line, _ in lines[:-1]), lines
    with Keeper(lab.address) as keeper:
        status = keeper.status()
    assert [(one.name, one.state) for one in status.components if one.state != "up" or one.held_by] == []
    assert [slot.slot for slot in status.slots if slot.processes] == []
    assert litter.left(file.load(str(lab.platform_file)).id) == []
    assert processes_of(folder) == {}


def fault(state: str) -> Moment:
    return "warden", lambda event: event.get("state") == state


MOMENTS: dict[str, Moment] = {
    "contract": ("owner", lambda event: event["type"] == "contract"),
    "first command": ("load", lambda event: event["type"] == "submit"),
    "injected": fault("injected"),
    "undoing": fault("undoing"),
    "judging": ("recorder", lambda event: event.get("of") == "recorder" and not event["on"]),
}


@contextlib.contextmanager
def warden_asleep(running: Running) -> Iterator[None]:
    """The run can't be judged before its warden has ended, so there is time."""
    running.until("owner", lambda event: event.get("name") == "close")
    warden = incarnation(running.pid_of("warden"))
    assert warden is not None
    send_signal(warden, signal.SIGSTOP)
    yield
    send_signal(warden, signal.SIGCONT)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("contract", marks=pytest.mark.thorough),
        pytest.param("first command", marks=pytest.mark.thorough),
        "injected",
        pytest.param("undoing", marks=pytest.mark.thorough),
        pytest.param("judging", marks=pytest.mark.thorough),
    ],
)
def test_when_the_disk_of_the_runs_gets_full_that_is_said_and_nothing_stays_broken(
    moment: str, lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path, mounts: None
) -> None:
    """Once with all of Chaos Toolkit's own files on that disk, as they are by default."""
    disk = Disk(tmp_path / "run" if moment == "injected" else tmp_path / "run" / "runs")
    running = begin(lab.platform_file, experiment=shortest)
    with warden_asleep(running) if moment == "judging" else contextlib.nullcontext():
        running.until(*MOMENTS[moment])
        disk.fill()
    ran = running.finish()
    refused(ran, str(ran.directory), f"can't be written ({FULL})", "make room, or set REPRISE_RUNS to another folder")
    is_whole(lab, tmp_path)
    assert not (ran.directory / "verdict.json").exists()
    assert checker.judge(history.load(ran.directory / "history"), "end").value == "unknown"


def test_on_a_disk_that_is_full_from_the_beginning_nothing_is_begun_and_heal_works(
    lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path, mounts: None
) -> None:
    (tmp_path / "experiment.json").write_text(json.dumps(shortest))
    disk = Disk(tmp_path / "run")
    disk.fill()
    ran = begin(lab.platform_file, experiment=tmp_path / "experiment.json").finish()
    refused(
        ran, f"owner.jsonl: can't be written ({FULL})", f"a file of Chaos Toolkit: can't be opened or written ({FULL})"
    )
    assert heal(disk.path) == ["clean"]
    is_whole(lab, tmp_path)


@pytest.mark.parametrize(("size", "platform"), [(16, "kept"), (16, "embedded"), (2, "embedded")])
def test_without_room_for_the_state_nothing_is_begun(
    size: int,
    platform: str,
    lab: starter.Stack,
    shortest: Experiment,
    begin: Begin,
    tmp_path: pathlib.Path,
    mounts: None,
) -> None:
    """2 MiB are enough for the secrets of a lab, and not for its database."""
    disk = Disk(tmp_path / "state", size << 20)
    if size > 2:
        disk.fill()
    where = str(lab.platform_file) if platform == "kept" else platform
    ran = begin(where, experiment=shortest, XDG_STATE_HOME=str(disk.path)).finish()
    refused(ran, FULL, "make room, or " if size > 2 else "initdb failed")
    assert [path for path in disk.path.rglob("stacks/*") if path.is_dir()] == []
    is_whole(lab, tmp_path)


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("runs", "set REPRISE_RUNS to a folder that you may write"),
        ("state", "set XDG_STATE_HOME to a folder that you may write"),
        ("known state", "set XDG_STATE_HOME to a folder that you may write"),
        (".", "go to a folder that you may write"),
    ],
)
def test_on_a_read_only_disk_nothing_is_begun(
    folder: str, says: str, lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path, mounts: None
) -> None:
    (tmp_path / "experiment.json").write_text(json.dumps(shortest))
    disk = Disk(tmp_path / "run" / folder)
    if folder == "known state":
        (disk.path / "reprise" / "faults" / ledger.folder(file.load(str(lab.platform_file)).id).name).mkdir(
            parents=True
        )
    subprocess.run(["mount", "-o", "remount,ro", disk.path], check=True)
    env = {"XDG_STATE_HOME": str(disk.path)} if "state" in folder else {}
    ran = begin(lab.platform_file, experiment=tmp_path / "experiment.json", **env).finish()
    refused(ran, str(disk.path), READ_ONLY, says)
    is_whole(lab, tmp_path)


def test_whoever_has_no_rights_is_told_so_and_breaks_nothing(
    lab: starter.Stack, shortest: Experiment, state: pathlib.Path, mounts: None
) -> None:
    nobody.reaches_python_and(state)
    with tempfile.TemporaryDirectory(dir=state) as name:
        folder = pathlib.Path(name)
        (folder / "experiment.json").write_text(json.dumps(shortest))
        for path in (folder, folder / "experiment.json"):
            os.chown(path, nobody.UID, nobody.UID)
        homeless = {key: value for key, value in CLEAN.items() if not key.startswith("XDG_")}
        env = {**homeless, "REPRISE_PLATFORM": str(lab.platform_file), "XDG_STATE_HOME": str(folder)}
        run = ("run", "experiment.json")
        refused(
            nobody.chaos(folder, homeless, *run),
            "/nonexistent/.local/state/reprise/stacks: can't make the state directory (Permission denied): set XDG_STATE_HOME",
        )
        refused(
            nobody.chaos(folder, env, *run), f"{lab.platform_file}: the platform file can't be read (Permission denied)"
        )
        open_to_all(lab, state)
        refused(nobody.chaos(folder, env, *run), "the process behind it belongs to uid 0, not to you")
        refused(
            nobody.chaos(pathlib.Path("/"), env, "reprise", "heal"),
            "/chaostoolkit.log: can't be opened or written",
            code=3,
        )
        heal = nobody.chaos(folder, env, "reprise", "heal")
        assert (heal.returncode, heal.stdout) == (0, "clean\n")
        is_whole(lab, folder)


def open_to_all(lab: starter.Stack, state: pathlib.Path) -> None:
    """Everybody may read all of it, passwords too, but the database."""
    for path in (*lab.dir.rglob("*"), lab.dir, lab.dir.parent, state / "reprise"):
        if lab.dir / "data" not in (path, *path.parents):
            path.chmod(path.stat().st_mode | 0o555)


@pytest.mark.parametrize("component", ["control-plane", "database"])
def test_a_port_that_was_taken_before_the_lab_starts_is_named_and_nothing_is_left(
    component: str, lab: starter.Stack
) -> None:
    folder = starter.new_folder()
    subprocess.run([sys.executable, "-m", "chaosreprise.lab", "prepare", str(folder), "--agents", "1"], check=True)
    wanted = {one["name"]: one for one in json.loads((folder / "stack.json").read_text())["components"]}[component]
    port = wanted.get("listen") or wanted["ready"]["tcp"]
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(
            NotPossible, match=f"port {port} of 127.0.0.1, which {component} of the stack needs, is not"
        ):
            starter.launch(folder, owned=False)
    assert not folder.exists()
    assert processes_of(folder) == {}


def test_a_port_that_somebody_takes_from_a_broken_component_is_named_and_heal_mends_it_once_it_is_free(
    state: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "BACK_S", 1.0)
    port = toystack.free_port()
    control = msgspec.structs.replace(toystack.server(port), name="control-plane")
    stack = toystack.launch([control], folder=tmp_path / "toy")
    told = lives.Lives("r1", "toy@here", Context(stack.address, [myself()]), lambda _: None)

    async def broken() -> ledger.Record:
        await told.inject("f1", "control-plane.take_away", "control-plane", 30 * SECOND, {})
        with socket.create_server(("127.0.0.1", port)):
            return await told.undo("f1", "run")

    try:
        left = asyncio.run(broken())
        assert (left.state, left.say) == (
            "leaked",
            f"control-plane: it is backoff after 1 s, since another process has taken its port {port}: end that one",
        )
        assert [one.state for one in faults.heal("toy@here", stack.address)] == ["clean"]
    finally:
        stack.end()


def freeze(running: Running) -> list[Incarnation]:
    """Every process of the run stands still, and is seen to."""
    pids = [running.process.pid, *(running.pid_of(writer) for writer in ("warden", "load", "recorder"))]
    frozen = [inc for pid in pids if (inc := incarnation(pid)) is not None]
    assert len(frozen) == 4
    for inc in frozen:
        send_signal(inc, signal.SIGSTOP)
    while not all(map(is_stopped, frozen)):
        time.sleep(0.001)
    return frozen


def wake(frozen: list[Incarnation]) -> None:
    for inc in frozen:
        send_signal(inc, signal.SIGCONT)


@pytest.mark.thorough
def test_agents_that_are_away_while_the_load_is_made_are_waited_for(
    lab: starter.Stack, shortest: Experiment, begin: Begin
) -> None:
    running = begin(lab.platform_file, experiment=shortest)
    running.until("owner", lambda event: event["type"] == "contract")
    load = incarnation(running.pid_of("load"))
    agents = [one.inc for one in components(lab) if one.name.startswith("agents/")]
    for inc in (load, *agents):
        assert inc is not None
        send_signal(inc, signal.SIGSTOP)
    time.sleep(AWAY_S)
    send_signal(load, signal.SIGCONT)
    refused = running.until("load", lambda event: event.get("outcome") == "fail")
    wake(agents)
    ran = running.finish()
    assert refused["status"] == 503
    assert ran.code == 0, ran.told()


def test_a_run_that_stands_still_for_a_moment_undoes_and_judges_nothing_wrongly(
    lab: starter.Stack, shortest: Experiment, begin: Begin, tmp_path: pathlib.Path
) -> None:
    stay(shortest, WOKEN_S + 1)
    running = begin(lab.platform_file, experiment=shortest)
    on = running.until_fault("proven")["component"]
    frozen = freeze(running)
    time.sleep(WOKEN_S)
    assert [one.name for one in components(lab) if one.held_by] == [on]
    wake(frozen)
    ran = running.finish()
    assert (ran.code, ran.verdict()["verdict"]) in ((0, "true"), (1, "unknown")), ran.told()
    assert [one["by"] for one in ran.verdict()["faults"]] == ["run"]
    assert "Traceback" not in ran.output
    is_whole(lab, tmp_path)


def test_a_run_that_stands_still_for_longer_than_its_lease_is_undone_meanwhile_and_proves_nothing(
    hung: "Hung", lab: starter.Stack
) -> None:
    while boottime() < hung.proven["lease_end"]:
        assert [one.name for one in components(hung.lab) if one.held_by] == [hung.proven["component"]]
        time.sleep(min(0.5, (hung.proven["lease_end"] - boottime()) / SECOND + 0.01))
    until(lambda: all(one.state == "up" for one in components(hung.lab)), UNDONE_WITHIN_S)
    ends = [one.last_hold for one in components(hung.lab) if one.last_hold]
    back = [json.loads(line) for line in (hung.lab.dir / "slots.jsonl").read_text().splitlines() if '"back"' in line]
    late_s = (back[-1]["t"] + boottime() - time.monotonic_ns() - hung.proven["lease_end"]) / SECOND
    assert [one.by for one in ends] == ["lease"]
    assert 0 <= late_s < UNDONE_WITHIN_S
    assert all(map(is_stopped, hung.frozen)), "nobody of the run was awake to do it"
    wake(hung.frozen)
    ran = hung.running.finish()
    assert (ran.code, ran.verdict()["verdict"]) == (1, "unknown"), ran.told()
    assert "Traceback" not in ran.output
    assert [one["by"] for one in ran.verdict()["faults"]] == ["lease"]
    assert "it was undone by its lease: the run was hung" in " ".join(ran.output.split())
    stalls = [event for event in hung.running.events("load") if event.get("signal") == "stalled"]
    assert any(event["lo"] < hung.proven["hi"] + 10 * SECOND < event["hi"] for event in stalls)
    gaps = [event["why"] for event in hung.running.events("recorder") if event.get("of") == "rows" and not event["on"]]
    assert any(why.startswith("nobody looked for") for why in gaps)
    is_whole(hung.lab, hung.running.folder)


def components(lab: starter.Stack) -> list[Component]:
    with Keeper(lab.address) as keeper:
        return keeper.status().components


def until(holds: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_machine_left_broken_when_it_went_down_is_moot_after_its_next_boot(
    shortest: Experiment, begin: Begin, tmp_path: pathlib.Path, mounts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stack = start_lab()
    platform = file.load(str(stack.platform_file)).id
    running = begin(stack.platform_file, experiment=shortest)
    running.until_fault("proven")
    everybody = [stack.keeper, *map(incarnation, (running.process.pid, running.pid_of("warden")))]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # so that nobody outlives another
        for inc in everybody:
            assert inc is not None
            send_signal(inc, number)
    run = running.finish().directory.name
    until(lambda: processes_of(tmp_path) == {}, 15)
    assert [record.state for record in ledger.leftovers(platform)] == ["proven"]
    (tmp_path / "boot_id").write_text(f"{uuid.uuid4()}\n")
    subprocess.run(["mount", "--bind", tmp_path / "boot_id", BOOT_ID], check=True)
    lines = heal(tmp_path)
    assert re.fullmatch(
        rf"run {run}: 1 fault left: agents.take_away on agents/a\d -> its stack is gone: nothing to undo", lines[0]
    )
    assert lines[1:] == [f"stack {stack.id} had lost its keeper: its folder is removed", "clean"]
    assert [record.state for record in ledger.read(ledger.path(platform, run))] == ["moot"]
    (tmp_path / "lab.toml").write_text(EMBEDDED)
    ran = begin(tmp_path / "lab.toml", experiment=shortest).finish()
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()


def heal(folder: pathlib.Path, **env: str) -> list[str]:
    """By a process of its own, as a person does, started in a folder."""
    command = [CHAOS, "--no-version-check", "reprise", "heal"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **env})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.thorough
def test_a_clock_that_is_set_back_while_a_fault_is_on_changes_no_verdict(
    shortest: Experiment, begin: Begin, tmp_path: pathlib.Path, state: pathlib.Path
) -> None:
    """The clock of the whole machine: of the run, the platform and its database."""
    clock = WallClock(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.env.items():
            patch.setenv(name, value)
        stack = start_lab()
    try:
        stay(shortest, 2)
        running = begin(stack.platform_file, experiment=shortest, **clock.env)
        running.until_fault("proven")
        clock.move(-3600)
        ran = running.finish()
        assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran.told()
        hours = re.findall(r" (\d\d):\d\d:\d\d INFO\] Action: (?:take|bring) ", ran.output)
        assert hours[0] != hours[1], "it was set back while the fault was on"
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", ran.directory.name)
        assert [
            span for one in ran.verdict()["recovery"] for span in spans(one) if not 0 <= span[0] <= span[1] < 60
        ] == []
        assert sum(map(len, map(spans, ran.verdict()["recovery"]))) > 0
        assert re.findall(r"[:\[,]\s*-\d", (ran.directory / "verdict.json").read_text()) == []
        assert ledger.leftovers(file.load(str(stack.platform_file)).id) == []
    finally:
        stack.end()


def spans(recovery: dict[str, Any]) -> list[Any]:
    return [value for value in recovery.values() if isinstance(value, list)]


@pytest.mark.parametrize("wrong_by_s", [-365 * 86400, 365 * 86400])
def test_what_is_still_open_is_not_dropped_for_its_age_whatever_the_clock_says(
    wrong_by_s: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    clock = WallClock(tmp_path)
    clock.move(wrong_by_s)
    for state, platform in (("proven", "open@here"), ("clean", "another@here"), ("clean", "settled@here")):
        ledger.append(record(state, platform))
    marks = tmp_path / "state" / "reprise" / "litter" / "open-here"
    marks.mkdir(parents=True)
    (marks / "r1").write_text(json.dumps({"platform": "open@here", "file": str(tmp_path / "gone.toml")}))
    with ledger.lock("open@here"):  # somebody is at it
        assert heal(tmp_path, **clock.env) == ["clean"]
    assert [one.state for one in ledger.leftovers("open@here")] == ["proven"]
    assert [path.name for path in marks.iterdir()] == ["r1"]
    assert ledger.path("settled@here", "r1").exists() == (wrong_by_s < 0), "what is settled goes by its age"


def record(state: State, platform: str) -> ledger.Record:
    return ledger.Record(
        platform=platform, run="r1", fault="f1", kind="agents.crash", on="agents/a1", state=state, lo=0, hi=0, target={}
    )


@pytest.mark.parametrize("wrong_by_s", [-3600, 3600])
def test_a_folder_of_a_stack_without_a_maker_is_removed_whatever_the_clock_says(
    wrong_by_s: int, state: pathlib.Path
) -> None:
    folder = state / "reprise" / "stacks" / "unmarked"
    folder.mkdir(parents=True)
    os.utime(folder, (time.time() - wrong_by_s,) * 2)
    assert starter.sweep() == [folder]
