"""Which process a session's interpreter is: the one that its last step names, if it lives below a component of this stack, and no other."""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from toystack import eventually

from chaosreprise import procs
from chaosreprise.errors import NotPossible
from chaosreprise.platform import file, interpreters
from chaosreprise.platform.steps import step_code
from chaosreprise.run import plan
from chaosreprise.run.method import Wanted

HEAD = """
version = 1
kind = "sandbox"
name = "ours"
[sandbox]
control_plane = "http://127.0.0.1:1"
data_plane = "http://127.0.0.1:2"
agent = "http://127.0.0.1:3"
[evidence.workspaces]
kind = "files"
path = "workspaces"
[timing]
settle = { backoff_s = 0.1, reconcile_s = 0.1, slowest_s = 0.1 }
[components.sessions]
how = "descendants"
"""
STEP = step_code("r.1") + "\nimport time; time.sleep(60)"
HOST = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]], cwd=sys.argv[2])\ntime.sleep(60)"


class World:
    """Processes with a step of ours each, in workspaces of their own; `below`: as a child of a host that is returned."""

    def __init__(self, folder: pathlib.Path) -> None:
        (folder / "ours.toml").write_text(HEAD)
        self.platform = file.load(str(folder / "ours.toml"))
        self.folder = folder / "workspaces"
        self.started: list[subprocess.Popen[bytes]] = []

    def step(self, session: str, *, below: bool) -> procs.Incarnation:
        workspace = self.folder / session
        workspace.mkdir(parents=True)
        command = [sys.executable, "-c", HOST, STEP, str(workspace)] if below else [sys.executable, "-c", STEP]
        process = subprocess.Popen(command, cwd=workspace)
        self.started.append(process)
        ledger = workspace / "ledger"
        eventually(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") == 2)
        inc = procs.incarnation(process.pid)
        assert inc is not None
        return inc

    def found(self, **components: procs.Incarnation | None) -> dict[str, interpreters.Interpreter]:
        named = {name.replace("_", "-"): inc for name, inc in components.items()}
        return {one.session: one for one in interpreters.of(self.platform, named)}


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for process in made.started:
        inc = procs.incarnation(process.pid)
        for one in procs.family(inc) if inc else []:
            procs.send_signal(one, 9)
        process.wait()


def test_only_what_lives_below_an_agent_or_the_data_plane_is_one(world: World) -> None:
    agent, data = world.step("s1", below=True), world.step("s2", below=True)
    world.step("s3", below=False)
    other = world.step("s4", below=True)
    found = world.found(agents=agent, data_plane=data, control_plane=other)
    assert {name: one.host for name, one in found.items()} == {"s1": "agents", "s2": "data-plane"}
    assert found["s1"].inc in procs.family(agent)[1:], "the child, not its host"
    assert world.found(agents=None) == {}


def test_who_has_died_is_none_whoever_has_its_pid_now(world: World) -> None:
    agent = world.step("s1", below=True)
    ledger = world.folder / "s1" / "ledger"
    whole = ledger.read_text()
    inc = world.found(agents=agent)["s1"].inc
    ledger.write_text(whole.replace(f"{inc.pid}, {inc.start}]", f"{inc.pid}, {inc.start - 1}]"))
    assert world.found(agents=agent) == {}
    ledger.write_text(whole + '{"t": 1, "ma')
    assert world.found(agents=agent)["s1"].inc == inc, "a line that is just being written is not read"
    ledger.write_text(whole + "[1]\n")
    assert world.found(agents=agent) == {}
    ledger.write_text(whole)
    assert procs.send_signal(inc, 9)
    eventually(lambda: world.found(agents=agent) == {})


def test_a_fault_that_nobody_could_undo_there_is_not_planned(world: World) -> None:
    wanted = Wanted(kind="sessions.pause", which="a1")
    with pytest.raises(NotPossible, match=r'how = "descendants": no keeper could undo sessions\.pause there'):
        plan.fault(wanted, world.platform, ["a1"], 7, [])
    assert plan.fault(Wanted(kind="sessions.crash", which="a1"), world.platform, ["a1"], 7, []).agents == ["a1"]
