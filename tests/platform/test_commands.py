"""Components that are commands: the stack that a platform file makes of them, what it refuses, and what is planned before it runs."""

import json
import os
import pathlib
import socket
import sys
import time

import pytest
from runs import ROOT

from chaosreprise.errors import BadInput, NotPossible
from chaosreprise.platform import commands, file, keepers
from chaosreprise.run import preview
from chaosreprise.stack import spec, starter

PYTHON = sys.executable
SERVES = "import os, socket, time; s = socket.create_server(('127.0.0.1', int(os.environ['PORT']))); print(os.environ['KEY'], flush=True); time.sleep(60)"
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
[evidence.rows]
kind = "sqlite"
path = "rows.db"
[allow]
faults = ["agents.crash"]
share = 1.0
[timing]
settle = { backoff_s = 0.1, reconcile_s = 0.1, slowest_s = 0.1 }
[promises]
memory = true
"""
AGENT = """
[components."agents/a1"]
how = "process"
command = [@command@]
port = @port@
env = { PORT = "@port@", KEY = { file = "key" } }
"""


def platform(folder: pathlib.Path, components: str) -> file.Platform:
    path = folder / "ours.toml"
    path.write_text(HEAD + components)
    return file.load(str(path))


@pytest.fixture
def port() -> int:
    return 19_000 + os.getpid() % 1000


def ours(folder: pathlib.Path, port: int) -> file.Platform:
    (folder / "key").write_text("a secret\n")
    command = ", ".join(json.dumps(word) for word in (PYTHON, "-c", SERVES))
    return platform(folder, AGENT.replace("@command@", command).replace("@port@", str(port)))


def test_a_command_is_started_with_its_environment_and_ended_and_its_secret_stands_nowhere(
    tmp_path: pathlib.Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = ours(tmp_path, port)
    stack = starter.start_spec(made.stack, commands.stack(made), owned=False)
    try:
        [component] = keepers.components(made)
        assert (component.name, component.group, component.state) == ("agents/a1", "agents", "up")
        assert "a secret" not in (stack.dir / spec.FILE).read_text()
        log = stack.dir / "logs" / "agents-a1.log"
        end = time.monotonic() + 10
        while "a secret" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        assert log.read_text() == "a secret\n"
        with pytest.raises(NotPossible, match="a stack of this platform file runs already"):
            starter.start_spec(made.stack, commands.stack(made), owned=False)
        assert keepers.components(made)[0].inc == component.inc, "the second one has touched nothing"
    finally:
        stack.end()
    assert not made.stack.exists()


def test_a_port_that_somebody_else_has_is_said_before_anything_is_started(
    tmp_path: pathlib.Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has it would be taken for our own component, since it accepts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(starter, "FREE_S", 0.1)
    made = ours(tmp_path, port)
    says = f"port {port} of 127.0.0.1, which agents/a1 of the stack needs, is not free .*: end what has it"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NotPossible, match=says):
        starter.start_spec(made.stack, commands.stack(made), owned=False)
    assert not made.stack.exists()


@pytest.mark.parametrize(
    ("components", "says"),
    [
        ('[components.agents]\nhow = "process"\n', "needs one of two: keeper"),
        ('[components.agents]\nhow = "process"\nkeeper = "k"\ncommand = ["x"]\n', "needs one of two: keeper"),
        (
            '[components.agents]\nhow = "process"\nkeeper = "k"\nport = 1\n',
            "env, folder, port and after go only with command",
        ),
        ('[components.agent]\nhow = "none"\n', 'components."agent": expected agents'),
        ('[components.agents]\nhow = "process"\ncommand = ["x"]\nport = 70000\n', "expected a port from 1 to 65535"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path: pathlib.Path, components: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        platform(tmp_path, components)
    assert says in str(refused.value)


def test_a_program_or_a_folder_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotPossible, match=r"components\.agents\.command: bin/none is no program that can be run here"):
        commands.stack(platform(tmp_path, '[components.agents]\nhow = "process"\ncommand = ["bin/none"]\n'))
    with pytest.raises(NotPossible, match=r"components\.agents\.folder: .*nowhere is no folder: make it"):
        commands.stack(
            platform(tmp_path, f'[components.agents]\nhow = "process"\ncommand = ["{PYTHON}"]\nfolder = "nowhere"\n')
        )


def test_what_would_be_broken_is_told_before_anything_runs(
    tmp_path: pathlib.Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("REPRISE_PLATFORM", ours(tmp_path, port).path)
    monkeypatch.setenv("REPRISE_SEED", "1")
    told = preview.lines(str(ROOT / "experiments" / "sandbox-agent-crash.json"))
    assert told[0] == "would start        agents/a1; ended with the run"
    assert told[1].startswith("would crash        agents/a1 (1 of 1); undo:") or told[1].startswith(
        "would crash        agents/a1; undo:"
    )
    assert not (tmp_path / "state" / "reprise" / "stacks").exists()
