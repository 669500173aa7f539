"""The flow of a sandbox: its health and a whole session, each answer compared; what is wrong is named, and nothing is left."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from runs import CHAOS, CLEAN, start_lab

from chaosreprise.platform import file
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
STEPS = ["control plane is well", "data plane is well", "session agent is well", "a session"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[starter.Stack]:
    stack = start_lab(serves="sandbox")
    try:
        yield stack
    finally:
        stack.end()


def flow(stack: starter.Stack, **env: str) -> "subprocess.CompletedProcess[str]":
    time.sleep(1.05)  # ids of sessions have a resolution of one second, and the one before may have made one
    command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "flow", str(stack.platform_file)]
    return subprocess.run(command, env={**CLEAN, **env}, cwd=stack.dir, capture_output=True, text=True)


@pytest.mark.parametrize("runtime", ["Python3", "node"])
def test_a_sandbox_that_is_well_answers_all_of_it(sandbox: starter.Stack, runtime: str) -> None:
    done = flow(sandbox, RUNTIME=runtime, TENANT_ID="t", AGENT_ID="a", POLICY_ID="p")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "   " not in line or " ok " not in line] == []
    assert all(any(line.startswith(step) for line in lines) for step in [*STEPS, "its end"])
    assert len(lines) == 8


def test_what_does_not_answer_is_named_and_the_exit_is_1(sandbox: starter.Stack) -> None:
    done = flow(sandbox, BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "a session                no answer from http://127.0.0.1:9/sessions" in done.stdout
    assert "step" not in done.stdout


@pytest.mark.thorough
def test_a_path_where_nothing_is_and_what_is_behind_it_that_refuses_are_told_apart(sandbox: starter.Stack) -> None:
    at = file.load(str(sandbox.platform_file)).file.sandbox
    assert at is not None
    done = flow(sandbox, BASE_URL=f"{at.control_plane}/wrong")
    assert done.returncode == 1
    assert "a session                answered with 404, not 201: nothing of that name is there" in done.stdout
    with Keeper(sandbox.address) as keeper:
        [agent] = [one for one in keeper.status().components if one.name.startswith("agents/")]
    assert agent.inc is not None
    os.kill(agent.inc.pid, signal.SIGSTOP)
    try:
        done = flow(sandbox)
    finally:
        os.kill(agent.inc.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "data plane is well       ok" in done.stdout
    assert "session agent is well    no answer from" in done.stdout
    assert "a session                answered with 500, not 201: it refuses, or what is behind it does" in done.stdout


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"RUNTIME": "ruby"},
            'RUNTIME, or sandbox.runtime = "ruby": expected one of python, python3, node, javascript',
        ),
        ({"BASE_URL": "127.0.0.1"}, 'BASE_URL = "127.0.0.1": expected a URL such as http://127.0.0.1:8080'),
        ({"POLICY_ID": "a\nb"}, 'POLICY_ID = "a\\nb": expected a text on one line, 1 to 200 characters'),
    ],
)
def test_a_setting_that_can_not_be_is_one_sentence(sandbox: starter.Stack, env: dict[str, str], says: str) -> None:
    done = flow(sandbox, **env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"reprise: {says}\n"
