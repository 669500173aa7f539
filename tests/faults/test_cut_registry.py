"""A registry that is cut short, on a data plane of a few lines: it starts with what is left, and nothing of the fault stays."""

import asyncio
import json
import pathlib
import subprocess
from typing import Any

import pytest
import toystack
from toystack import eventually

from chaosreprise import procs
from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotPossible
from chaosreprise.faults import local, registry
from chaosreprise.faults.base import Context
from chaosreprise.stack import spec
from chaosreprise.stack.starter import Stack

ON, MARK = "data-plane", "r1/f1"
ROUTES = json.dumps({f"session-{number}": {"runtimeId": f"r{number}"} for number in range(20)})
OTHER = json.dumps({"session-new": {}})
HEAD = """
version = 1
kind = "sandbox"
name = "ours"
[sandbox]
control_plane = "http://127.0.0.1:1"
data_plane = "http://127.0.0.1:2"
agent = "http://127.0.0.1:3"
registry = "routes.json"
[timing]
settle = { backoff_s = 0.1, reconcile_s = 0.1, slowest_s = 0.1 }
"""
# What it read at its starts stands in `seen`, a line each.
STARTS = """
import os, sys
path = sys.argv[1]
with open(path) as file, open(path + ".seen", "a") as seen:
    found = file.read()
    seen.write(found + "\\n")
"""
WRITES_ANOTHER = f"""
with open(path + ".tmp", "w") as file:
    file.write({OTHER!r})
os.replace(path + ".tmp", path)
"""
SERVES = toystack.SERVER.replace("socket.socket(fileno=3)", "socket.create_server(('127.0.0.1', int(sys.argv[2])))")
WANTS_ALL = "found.endswith('}') or sys.exit(1)"
FAULT = registry.get("data-plane.cut_registry")


class DataPlane:
    def __init__(self, folder: pathlib.Path, launch: Any, program: str = "") -> None:
        self.folder, self.routes = folder, folder / "routes.json"
        self.routes.write_text(ROUTES)
        (folder / "ours.toml").write_text(HEAD)
        port = toystack.free_port()
        command = toystack.python(f"{STARTS}\n{program}\n{SERVES}", self.routes, port)
        component = spec.ComponentSpec(name=ON, command=command, ready=spec.Ready(tcp=port), backoff_s=0.1)
        self.stack: Stack = launch([component])
        self.owner = subprocess.Popen(["sleep", "300"])
        owner = procs.incarnation(self.owner.pid)
        assert owner is not None
        self.context = Context(self.stack.address, [owner], platform_file=str(folder / "ours.toml"))

    def seen(self) -> list[str]:
        return (self.folder / "routes.json.seen").read_text().splitlines()

    def left(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.reprise.*")]

    async def break_it(self, keep: float = 0.5) -> tuple[dict[str, Any], dict[str, Any]]:
        target = await FAULT.plan(self.context, ON, {"keep": keep})
        await FAULT.inject(self.context, MARK, target, boottime() + 60 * SECOND)
        return target, await FAULT.prove(self.context, MARK, target)

    async def mend(self, target: dict[str, Any]) -> str | None:
        by = await FAULT.undo(self.context, MARK, target)
        await FAULT.verify(self.context, MARK, target)
        return by


@pytest.fixture
def made(tmp_path, launch):
    """Makes a data plane; `program` is what it does at its start."""
    planes = []

    def make(program=""):
        planes.append(DataPlane(tmp_path, launch, program))
        return planes[-1]

    yield make
    for plane in planes:
        plane.owner.kill()
        plane.owner.wait()


def test_it_starts_with_what_is_left_and_gets_the_rest_back_afterwards(made):
    plane = made()

    async def run():
        target, proof = await plane.break_it(keep=0.25)
        by = await plane.mend(target)
        return proof, by, await plane.mend(target)

    proof, by, again = asyncio.run(run())
    kept = len(ROUTES) // 4
    assert (proof["registry_bytes"], proof["were"]) == (kept, len(ROUTES))
    assert plane.seen() == [ROUTES, ROUTES[:kept]]
    assert plane.routes.read_text() == ROUTES
    assert (by, again) == (None, None)
    assert plane.left() == []


def test_what_the_platform_has_written_since_is_its_own(made):
    plane = made(WRITES_ANOTHER)
    plane.routes.write_text(ROUTES)

    async def run():
        target, _ = await plane.break_it()
        await plane.mend(target)

    asyncio.run(run())
    assert plane.seen()[1] == ROUTES[: len(ROUTES) // 2]
    assert plane.routes.read_text() == OTHER
    assert plane.left() == []


def test_with_all_its_owners_dead_the_keeper_puts_it_back(made):
    plane = made()
    asyncio.run(plane.break_it())
    plane.owner.kill()
    plane.owner.wait()
    eventually(lambda: plane.routes.read_text() == ROUTES and plane.left() == [])


def test_with_its_stack_ended_it_is_put_back_all_the_same(made):
    plane = made()
    target, _ = asyncio.run(plane.break_it())
    plane.stack.end()
    with pytest.raises(local.Unreachable):
        asyncio.run(plane.mend(target))
    assert plane.routes.read_text() == ROUTES
    assert plane.left() == []


@pytest.mark.thorough
def test_a_data_plane_that_does_not_start_like_this_gets_it_back_and_starts(made, monkeypatch):
    monkeypatch.setattr(local, "BACK_S", 5.0)
    plane = made(WANTS_ALL)

    async def run():
        target, _ = await plane.break_it()
        await plane.mend(target)

    asyncio.run(run())
    assert plane.seen()[-1] == ROUTES
    assert plane.left() == []


@pytest.mark.parametrize(
    ("routes", "head", "why"),
    [
        (ROUTES, HEAD.replace("registry =", "tenant ="), "sandbox.registry is not set"),
        (ROUTES, HEAD.replace("routes.json", "none/routes.json"), "sandbox.registry lies in no folder"),
        (None, HEAD, "sandbox.registry can't be read"),
        ("{", HEAD, "there is nothing that could be cut off"),
    ],
)
def test_what_can_not_be_cut_is_refused_before_anything_is_touched(made, routes, head, why):
    plane = made()
    plane.routes.unlink()
    if routes is not None:
        plane.routes.write_text(routes)
    (plane.folder / "ours.toml").write_text(head)
    with pytest.raises(NotPossible, match=why):
        asyncio.run(plane.break_it())
    assert len(plane.seen()) == 1
