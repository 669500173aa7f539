"""Starting the real lab, and what is left of a start that is broken off: nothing."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
from toystack import eventually

from chaosreprise.errors import NotPossible
from chaosreprise.procs import Incarnation, incarnation, is_alive, wait_gone
from chaosreprise.stack import starter
from chaosreprise.stack.client import Keeper

START = """
from chaosreprise.stack import starter
starter.start(agents=1, users=1, heartbeat_s=1.0, reconcile_s=0.5, owned=True)
"""


def tree(root: int) -> list[Incarnation]:
    """A process and all that descend from it."""
    found = [incarnation(root)]
    for path in pathlib.Path(f"/proc/{root}/task").glob("*/children"):
        for child in path.read_text().split():
            found += tree(int(child))
    return [inc for inc in found if inc]


@pytest.fixture
def preparing(state):
    """A starter whose `prepare` is in the middle of making the database, and the processes of both."""
    process = subprocess.Popen([sys.executable, "-c", START], stderr=subprocess.DEVNULL)
    with process:
        eventually(lambda: list((state / "stacks").glob("*/data/base")), 10)
        yield process, tree(process.pid)
        process.kill()


def test_a_starter_that_is_killed_while_it_prepares_leaves_no_process_and_a_folder_that_the_next_one_sweeps(
    preparing, state
):
    process, processes = preparing
    assert len(processes) > 2
    process.kill()
    assert all(wait_gone(inc, 2) for inc in processes)
    process.wait()
    assert [folder.parent for folder in starter.sweep()] == [state / "stacks"]
    assert list((state / "stacks").iterdir()) == []


def test_a_starter_that_is_interrupted_while_it_prepares_leaves_nothing(preparing, state):
    process, processes = preparing
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(5) != 0
    assert not any(map(is_alive, processes))
    assert list((state / "stacks").iterdir()) == []


def test_a_lab_that_can_not_be_prepared_says_why_and_leaves_nothing(state):
    with pytest.raises(NotPossible, match="--agents 0: expected a number from 1 to 64"):
        starter.start(agents=0, users=1, heartbeat_s=1.0, reconcile_s=0.5, owned=True)
    assert list((state / "stacks").iterdir()) == []


def test_the_lab_starts_and_ends(state):
    stack = starter.start(agents=1, users=1, heartbeat_s=1.0, reconcile_s=0.5, owned=True)
    try:
        assert stack.platform_file.exists()
        assert [found.id for found in starter.find()] == [stack.id]
        processes = tree(stack.keeper.pid)
        assert len(processes) > 4
    finally:
        stack.end()
    assert not any(map(is_alive, processes))
    assert list((state / "stacks").iterdir()) == []


def test_a_database_that_was_paused_when_its_keeper_was_killed_leaves_no_process(state):
    stack = starter.start(agents=1, users=1, heartbeat_s=1.0, reconcile_s=0.5, owned=True)
    processes = tree(stack.keeper.pid)
    with Keeper(stack.address) as keeper:
        database = next(one.inc for one in keeper.status().components if one.name == "database")
    for inc in tree(database.pid):
        os.kill(inc.pid, signal.SIGSTOP)
    os.kill(stack.keeper.pid, signal.SIGKILL)
    assert wait_gone(database, 2)
    assert any(map(is_alive, processes))
    stack.end()
    assert all(wait_gone(inc, 2) for inc in processes)
    assert list((state / "stacks").iterdir()) == []
