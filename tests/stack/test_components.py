"""Components: order, restarts, holds, the end."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import toystack
from toystack import eventually, python

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import BadInput, NotPossible, Unreachable
from chaosreprise.procs import incarnation, is_alive, myself, send_signal, wait_gone
from chaosreprise.stack import spec, starter
from chaosreprise.stack.client import Conflict, Keeper

FAR = 10**9 * SECOND


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One for all tests that leave it whole."""
    port = toystack.free_port()
    folder = tmp_path_factory.mktemp("stacks") / "shared"
    stack = toystack.launch([toystack.agent("a1", port), toystack.server(port)], folder=folder)
    yield stack
    stack.end()


@pytest.fixture
def mortal(launch):
    """One for a test that ends it."""
    port = toystack.free_port()
    return launch([toystack.agent("a1", port), toystack.server(port)])


@pytest.fixture
def keeper(stack):
    with Keeper(stack.address) as keeper:
        yield keeper


def component(keeper, name):
    return next(c for c in keeper.status().components if c.name == name)


def up(keeper, name, other_than=None):
    found = component(keeper, name)
    return found if found.state == "up" and found.inc != other_than else None


def test_a_component_starts_when_those_that_it_names_in_after_are_ready(stack, keeper):
    began = {name: toystack.ledger(stack, name)[0]["t"] for name in ("server", "agents/a1")}
    assert began["server"] < began["agents/a1"]
    assert keeper.status().ready


def test_a_component_that_dies_is_started_again_and_the_ledger_says_crash_and_back(stack, keeper):
    found = component(keeper, "agents/a1")
    before = found.inc
    send_signal(before, signal.SIGKILL)
    after = eventually(lambda: up(keeper, "agents/a1", before))
    assert after.restarts == found.restarts + 1
    lines = toystack.ledger(stack, "agents/a1")[-3:]
    assert [(line["mark"], line["inc"]) for line in lines] == [
        (lines[0]["mark"], list(before)),
        ("crash", list(before)),
        ("back", list(after.inc)),
    ]
    assert lines[2]["t"] - lines[1]["t"] >= 0.1 * SECOND
    assert {line["kind"] for line in lines} == {"component"}


def test_a_dead_server_refuses_connections_until_it_is_back(stack, keeper):
    server = component(keeper, "server")
    keeper.hold("server", server.inc, "f1", owners=[myself()], lease_end=FAR)
    send_signal(server.inc, signal.SIGKILL)
    eventually(lambda: component(keeper, "server").state == "held")
    with pytest.raises(ConnectionRefusedError):
        toystack.ask(server.listen)
    keeper.release("server", "f1")
    eventually(lambda: up(keeper, "server"))


def test_what_is_held_stays_down_until_its_fault_releases_it(keeper):
    agent = component(keeper, "agents/a1")
    assert keeper.hold("agents/a1", agent.inc, "f1", owners=[myself()], lease_end=FAR).component.held_by == "f1"
    assert is_alive(agent.inc), "a hold does not kill"
    send_signal(agent.inc, signal.SIGKILL)
    eventually(lambda: component(keeper, "agents/a1").inc is None)
    time.sleep(0.3)
    assert component(keeper, "agents/a1").state == "held"
    assert keeper.release("agents/a1", "f2").component.state == "held", "another fault's release does nothing"
    assert keeper.release("agents/a1", "f1").component.inc is not None
    assert keeper.release("agents/a1", "f1").last_hold.by == "release"


def test_a_hold_of_another_incarnation_is_a_conflict_that_shows_the_present_one(keeper):
    agent = component(keeper, "agents/a1")
    with pytest.raises(Conflict) as caught:
        keeper.hold("agents/a1", agent.inc._replace(start=1), "f1", owners=[myself()], lease_end=FAR)
    assert caught.value.component.inc == agent.inc
    keeper.hold("agents/a1", agent.inc, "f1", owners=[myself()], lease_end=FAR)
    with pytest.raises(Conflict, match="held by f1"):
        keeper.hold("agents/a1", agent.inc, "f2", owners=[myself()], lease_end=FAR)
    keeper.release("agents/a1", "f1")


def test_a_hold_ends_by_its_lease(keeper):
    agent = component(keeper, "agents/a1")
    keeper.hold("agents/a1", agent.inc, "f1", owners=[myself()], lease_end=boottime() + SECOND // 5)
    send_signal(agent.inc, signal.SIGKILL)
    assert eventually(lambda: up(keeper, "agents/a1", agent.inc)).last_hold.by == "lease"


def test_a_hold_ends_when_all_its_owners_are_dead(keeper):
    agent = component(keeper, "agents/a1")
    with subprocess.Popen(["sleep", "60"]) as first, subprocess.Popen(["sleep", "60"]) as second:
        keeper.hold(
            "agents/a1", agent.inc, "f1", owners=[incarnation(first.pid), incarnation(second.pid)], lease_end=FAR
        )
        send_signal(agent.inc, signal.SIGKILL)
        first.kill()
        first.wait()
        time.sleep(0.4)
        assert component(keeper, "agents/a1").state == "held", "one owner is left"
        second.kill()
    assert eventually(lambda: up(keeper, "agents/a1", agent.inc), 1.0).last_hold.by == "owners"


def test_a_component_that_is_not_there_is_named_with_those_that_are(keeper):
    with pytest.raises(BadInput, match=r"'agents/a9' is no component of this stack: expected one of agents/a1, server"):
        keeper.release("agents/a9", "f1")


def test_what_a_dead_component_left_behind_is_killed_before_it_starts_again(launch):
    program = (
        "import subprocess, sys, time; subprocess.Popen(['sleep', '987'], start_new_session=True); time.sleep(1000)"
    )
    stack = launch([spec.ComponentSpec(name="parent", command=python(program), backoff_s=0.05)])

    def sleepers():
        found = subprocess.run(["pgrep", "-f", "-x", "sleep 987"], stdout=subprocess.PIPE, text=True)
        return {int(pid) for pid in found.stdout.split()}

    with Keeper(stack.address) as keeper:
        left = incarnation(eventually(sleepers).pop())
        send_signal(component(keeper, "parent").inc, signal.SIGKILL)
        assert wait_gone(left, 2)


def test_the_end_of_a_stack_leaves_nothing(mortal):
    keeper = Keeper(mortal.address)
    for number in range(5):
        keeper.make(f"s{number}", 0)
    status = keeper.status()
    processes = [c.inc for c in status.components] + [p.inc for s in status.slots for p in s.processes]
    mortal.end()
    assert not mortal.dir.exists()
    assert not any(map(is_alive, [*processes, mortal.keeper]))
    with pytest.raises(Unreachable):
        Keeper(mortal.address)
    keeper.close()


def test_sigterm_ends_a_stack_while_sigint_and_sighup_do_not(mortal):
    keeper = Keeper(mortal.address)
    for number in (signal.SIGINT, signal.SIGHUP):
        send_signal(mortal.keeper, number)
    assert keeper.status().ready
    send_signal(mortal.keeper, signal.SIGTERM)
    assert wait_gone(mortal.keeper, 2)
    assert not mortal.dir.exists()
    keeper.close()


def test_a_component_that_ignores_its_stop_signal_or_is_paused_is_killed(launch):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    stack = launch(
        [
            spec.ComponentSpec(name="deaf", command=python(deaf)),
            spec.ComponentSpec(name="paused", command=["sleep", "100"]),
        ]
    )
    eventually(lambda: "deaf" in (stack.dir / "logs" / "deaf.log").read_text())
    with Keeper(stack.address) as keeper:
        found = [component(keeper, name).inc for name in ("deaf", "paused")]
    send_signal(found[1], signal.SIGSTOP)
    stack.end()
    assert not any(map(is_alive, found))


def test_a_killed_keeper_takes_everything_with_it(mortal):
    keeper = Keeper(mortal.address)
    keeper.make("s1", 0)
    status = keeper.status()
    processes = [c.inc for c in status.components] + [status.slots[0].processes[0].inc]
    send_signal(mortal.keeper, signal.SIGKILL)
    assert all(wait_gone(inc, 2) for inc in processes)
    keeper.close()


def test_a_component_in_namespaces_of_its_own_is_no_root_there_and_dies_with_its_keeper(launch):
    program = "echo $(id -u) $(readlink /proc/self/ns/ipc); exec sleep 1000"
    stack = launch([spec.ComponentSpec(name="db", command=["/bin/sh", "-c", program], userns=True)])
    uid, ipc = eventually((stack.dir / "logs" / "db.log").read_text).split()
    assert int(uid) == (os.getuid() or 65534)
    if os.getuid() == 0:
        assert ipc != str(pathlib.Path("/proc/self/ns/ipc").readlink())
    with Keeper(stack.address) as keeper:
        inc = component(keeper, "db").inc
    send_signal(stack.keeper, signal.SIGKILL)
    assert wait_gone(inc, 2)


def test_an_owned_stack_ends_when_the_last_holder_of_its_pipe_is_dead(launch):
    stack = launch([spec.ComponentSpec(name="one", command=["sleep", "100"])], owned=True)
    with subprocess.Popen(["sleep", "100"], pass_fds=[stack.owner_write_fd]) as holder:
        os.close(stack.owner_write_fd)
        stack.owner_write_fd = None
        time.sleep(0.1)
        assert is_alive(stack.keeper)
        holder.kill()
    assert wait_gone(stack.keeper, 2)
    assert not stack.dir.exists()


def test_an_owned_stack_ends_with_a_starter_that_is_killed(state):
    program = f"import sys, time; sys.path.append({str(pathlib.Path(toystack.__file__).parent)!r})\n"
    program += "import toystack; print(*toystack.launch([toystack.server(toystack.free_port())], owned=True).keeper, flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        keeper = incarnation(int(process.stdout.readline().split()[2]))
        process.kill()
    assert wait_gone(keeper, 2)
    assert list((state / "stacks").iterdir()) == []


def test_a_stack_that_is_not_owned_outlives_its_starter_and_is_found():
    program = f"import sys; sys.path.append({str(pathlib.Path(toystack.__file__).parent)!r})\n"
    program += "import toystack; toystack.launch([toystack.server(toystack.free_port())])"
    subprocess.run([sys.executable, "-c", program], check=True)
    (found,) = starter.find()
    assert is_alive(found.keeper)
    assert starter.sweep() == []
    found.end()
    assert starter.find() == []


def test_a_sweep_removes_only_what_dead_keepers_and_dead_makers_left(launch):
    dead, alive, being_made = launch([]), launch([]), starter.new_folder()
    (dead.dir / starter.MAKER_FILE).write_text(json.dumps(myself()._replace(start=1)))
    (alive.dir / starter.MAKER_FILE).write_text(json.dumps(myself()._replace(start=1)))
    send_signal(dead.keeper, signal.SIGKILL)
    wait_gone(dead.keeper, 2)
    assert starter.sweep() == [dead.dir]
    assert alive.dir.exists()
    assert being_made.exists()


def test_a_stack_that_does_not_come_up_says_why_and_leaves_nothing(state):
    failing = spec.ComponentSpec(
        name="agents/a1", command=python("raise SystemExit('no such database')"), ready=spec.Ready(tcp=1), backoff_s=0
    )
    with pytest.raises(NotPossible, match=r"agents/a1 of the stack does not stay up: .*no such database"):
        toystack.launch([failing])
    assert list((state / "stacks").iterdir()) == []


def test_a_stack_that_does_not_answer_in_time_names_the_component_and_leaves_nothing(state):
    folder = starter.new_folder()
    toystack.write(
        folder,
        [spec.ComponentSpec(name="slow", command=["sleep", "100"], ready=spec.Ready(http="http://127.0.0.1:1/"))],
    )
    with pytest.raises(NotPossible, match="not ready in time: slow does not answer: its log is empty"):
        starter.launch(folder, owned=True, timeout_s=1.5)
    assert list((state / "stacks").iterdir()) == []


def test_a_program_that_is_not_there_is_said_in_the_failure():
    with pytest.raises(NotPossible, match="/no/such/program: can't be started: no such program"):
        toystack.launch(
            [spec.ComponentSpec(name="typo", command=["/no/such/program"], ready=spec.Ready(tcp=1), backoff_s=0)]
        )


def test_an_http_component_is_ready_when_it_answers_200(launch):
    program = """
import http.server, socket, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.monotonic() - began > 0.3 and self.path == "/health?full=1" else 503)
        self.end_headers()
began = time.monotonic()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
"""
    port = toystack.free_port()
    began = time.monotonic()
    launch(
        [
            spec.ComponentSpec(
                name="api",
                command=python(program),
                listen=port,
                ready=spec.Ready(http=f"http://127.0.0.1:{port}/health?full=1"),
            )
        ]
    )
    assert time.monotonic() - began > 0.3


def test_what_is_started_under_a_hold_with_an_environment_is_killed_with_it_and_its_files_are_removed(
    stack, keeper, tmp_path
):
    was = component(keeper, "agents/a1").inc
    (tmp_path / "other").touch()
    left = str(tmp_path / "{pid}")
    env = {"REPRISE_SAID": "so"}
    keeper.hold("agents/a1", was, "f1", owners=[myself()], lease_end=FAR, down=False, env=env, left=[left])
    send_signal(was, signal.SIGKILL)
    changed = eventually(lambda: up(keeper, "agents/a1", was)).inc
    assert b"REPRISE_SAID=so" in pathlib.Path(f"/proc/{changed.pid}/environ").read_bytes()
    (tmp_path / str(changed.pid)).touch()
    keeper.release("agents/a1", "f1")
    whole = eventually(lambda: up(keeper, "agents/a1", changed)).inc
    assert not is_alive(changed)
    assert b"REPRISE_SAID" not in pathlib.Path(f"/proc/{whole.pid}/environ").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_hold_with_an_environment_is_over_when_nobody_is_left_to_end_it(stack, keeper):
    was = component(keeper, "agents/a1").inc
    owner = subprocess.Popen(["sleep", "60"])
    owners = [incarnation(owner.pid)]
    keeper.hold("agents/a1", was, "f1", owners=owners, lease_end=FAR, down=False, env={"REPRISE_SAID": "so"})
    send_signal(was, signal.SIGKILL)
    changed = eventually(lambda: up(keeper, "agents/a1", was)).inc
    owner.kill()
    owner.wait()
    whole = eventually(lambda: up(keeper, "agents/a1", changed)).inc
    assert b"REPRISE_SAID" not in pathlib.Path(f"/proc/{whole.pid}/environ").read_bytes()
    assert component(keeper, "agents/a1").last_hold.by == "owners"


def test_one_that_is_held_down_starts_when_the_same_fault_lets_it(stack, keeper):
    was = component(keeper, "agents/a1").inc
    keeper.hold("agents/a1", was, "f1", owners=[myself()], lease_end=FAR, down=True)
    send_signal(was, signal.SIGKILL)
    eventually(lambda: component(keeper, "agents/a1").state == "held")
    keeper.hold("agents/a1", was, "f1", owners=[myself()], lease_end=FAR, down=False)
    found = eventually(lambda: up(keeper, "agents/a1", was))
    assert found.held_by == "f1"
    keeper.release("agents/a1", "f1")
    assert component(keeper, "agents/a1").inc == found.inc
