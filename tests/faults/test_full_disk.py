"""A full disk at each state of a fault: what can't be put on record is not injected, and what was injected is undone."""

import asyncio

import pytest
from disks import Disk, own_mounts
from toystack import eventually

from chaosreprise.clock import SECOND
from chaosreprise.errors import RunBroken
from chaosreprise.faults import client as faults
from chaosreprise.faults import ledger
from chaosreprise.faults.base import Context
from chaosreprise.faults.lives import Lives
from chaosreprise.procs import connections_of, myself

KIND, ON = "agents.take_away", "agents/a1"
STATES = ["planned", "armed", "injected", "proven", "undoing", "undone", "clean"]


@pytest.fixture(scope="module")
def mounts():
    with own_mounts():
        yield


@pytest.fixture
def history(disk):
    return disk.path / "history"


@pytest.fixture
def disk(mounts, state):
    disk = Disk(state)
    yield disk
    disk.remove()


def lead(stack, told):
    """One fault through its life in this process: the states that were put on record, and what `inject` refused it with."""
    reached = []

    def tell(event):
        reached.append(event.state)
        told(event.state)

    async def life():
        lives = Lives("r1", "toy@here", Context(stack.address, [myself()]), tell)
        try:
            await lives.inject("f1", KIND, ON, 30 * SECOND, {})
        except RunBroken as error:
            return str(error)
        finally:
            await lives.undo_all("run")

    return asyncio.run(life()), reached


def on_agents(keeper):
    """What the keeper says of the agents, once all that run are connected."""
    eventually(lambda: all(connections_of(c.inc.pid) for c in keeper.status().components if c.inc is not None))
    return [(c.inc, c.state, c.held_by) for c in keeper.status().components if c.name.startswith("agents/")]


@pytest.mark.parametrize("full_after", STATES)
def test_when_the_disk_of_the_ledger_is_full_after_a_state_the_fault_is_undone(full_after, stack, keeper, disk, capsys):
    before = on_agents(keeper)
    refused, reached = lead(stack, lambda state: disk.fill() if state == full_after else None)
    assert ("No space left" in capsys.readouterr().err + str(refused)) == (full_after != "clean")
    assert (refused is not None) == (full_after in ("planned", "armed", "injected"))
    if full_after == "planned":
        assert (reached, on_agents(keeper)) == (["planned"], before)
    else:
        assert reached[-3:] == ["undoing", "undone", "clean"]
        assert [after[0] == old[0] for after, old in zip(on_agents(keeper), before, strict=True)] == [False, True]
        assert [after[1:] for after in on_agents(keeper)] == [("up", None)] * 2
    disk.empty()
    assert [one.state for one in faults.heal("toy@here", stack.address)] in ([], ["clean"])
    assert ledger.leftovers("toy@here") == []


@pytest.mark.parametrize("told_by", ["request", "death of its owner"])
def test_a_warden_that_can_write_nothing_any_more_undoes_all_the_same(told_by, stack, keeper, disk, start_warden):
    warden, _ = start_warden(stack, log=disk.path / "warden.log"), on_agents(keeper)
    assert warden.request("inject", fault="f1", kind=KIND, on=ON, hold_ns=30 * SECOND)["state"] == "proven"
    disk.fill()
    if told_by == "request":
        assert warden.request("undo", fault="f1")["state"] == "clean"
    warden.close()
    assert [after[1:] for after in on_agents(keeper)] == [("up", None)] * 2
