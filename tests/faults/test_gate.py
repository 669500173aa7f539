"""The warden's gate on a real stack: fresh facts decide each injection, and whoever halts a run undoes it first."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import toyhttp
import toystack
from toystack import eventually

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotAllowed, Unreachable
from chaosreprise.faults import facts, ledger
from chaosreprise.history import Fault, Observe, load
from chaosreprise.platform import file
from chaosreprise.procs import send_signal

KIND = "agents.take_away"
FILE = """\
version = 1
kind = "streamspace"
name = "toy"
[identity]
stack = "{stack}"
{identity}
[control]
url = "{url}"
user = "u"
password = {{ file = "password" }}
template = "t"
[components.agents]
how = "process"
keeper = "keeper.json"
[allow]
faults = ["agents.take_away", "agents.crash"]
share = 1.0
{allow}
[guard]
{guard}
[budget]
users = ["a"]
[timing]
settle = {{ backoff_s = 1, reconcile_s = 1, slowest_s = 1 }}
"""


@pytest.fixture
def toy():
    with toyhttp.serve() as toy:
        yield toy


@pytest.fixture
def platform(stack, toy):
    """Writes the platform file of the lasting stack, beside its keeper.json."""

    def write(identity="", allow="", guard=""):
        (stack.dir / "password").write_text("word")
        path = stack.dir / "platform.toml"
        path.write_text(FILE.format(stack=stack.id, url=toy.url, identity=identity, allow=allow, guard=guard))
        return str(path)

    return write


@pytest.fixture
def warden(stack, start_warden, platform):
    """Starts a warden that keeps to a platform file."""
    return lambda **tables: start_warden(stack, platform_file=platform(**tables))


def take_away(warden, agent="a1", fault="f1", hold_s=30.0):
    return warden.request("inject", fault=fault, kind=KIND, on=f"agents/{agent}", hold_ns=int(hold_s * SECOND))


def states(warden):
    return [fault["state"] for fault in warden.request("status")["faults"]]


def test_what_may_be_broken_is_broken_and_a_second_one_at_the_same_time_is_refused(warden):
    started = warden()
    assert take_away(started)["state"] == "proven"
    with pytest.raises(
        NotAllowed, match=r"allow.at_once = 1: 2 faults would be on at the same time \(agents/a1 broken"
    ):
        take_away(started, "a2", "f2")
    started.request("undo", fault="f1")
    assert take_away(started, "a2", "f2")["state"] == "proven"


def test_a_limit_holds_for_injections_that_come_together(warden, stack):
    started = warden(allow="count = 2\nat_once = 1")
    requests = [
        {"id": 70 + n, "do": "inject", "fault": f"f{n}", "kind": KIND, "on": f"agents/a{n}", "hold_ns": SECOND}
        for n in (1, 2)
    ]
    program = "import json, socket, sys\nconnection = socket.socket(socket.AF_UNIX)\nconnection.connect('\\0' + sys.argv[1][1:])\n"
    program += "connection.sendall(sys.argv[2].encode() + b'\\n')\nprint(connection.makefile().readline())"
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", program, started.address, json.dumps(one)], stdout=subprocess.PIPE, text=True
        )
        for one in requests
    ]
    answers = [json.loads(one.communicate()[0]) for one in asking]
    assert sorted(answer["ok"] for answer in answers) == [False, True]
    assert next(answer for answer in answers if not answer["ok"])["say"].endswith("broken already)")


def test_a_session_of_somebody_else_that_comes_between_plan_and_injection_refuses_it(warden, toy):
    started = warden()
    toy.add("ours", tags=["reprise", "reprise-r1"])
    toy.add("over", state="terminated")
    assert started.request("plan", fault="f1", kind=KIND, on="agents/a1")["state"] == "planned"
    toy.add("theirs", tags=["reprise", "reprise-r0"])
    with pytest.raises(NotAllowed, match="foreign_sessions = 0: agents/a1 has 1 session of somebody else: wait until"):
        take_away(started)
    assert states(started) == ["planned"]
    toy.sessions.pop()
    assert take_away(started)["state"] == "proven"


def test_sessions_that_can_not_be_counted_in_full_refuse(warden, toy):
    started = warden(allow="foreign_sessions = 100")
    toy.role = "user"
    with pytest.raises(NotAllowed, match="can't be counted: the role 'user' may not see the sessions of all users"):
        take_away(started)
    toy.role, toy.total = "admin", 5
    with pytest.raises(NotAllowed, match="can't be counted: the control plane does not list its sessions"):
        take_away(started)
    assert states(started) == []


def test_another_platform_than_the_file_was_written_for_is_not_touched(warden):
    started = warden(identity='host = "elsewhere"')
    with pytest.raises(NotAllowed, match=r'identity.host = "elsewhere", but this is ".+": another platform'):
        take_away(started)
    assert states(started) == []


def test_an_identity_that_changed_after_the_start_is_seen_at_the_injection(warden, stack, launch):
    port = toystack.free_port()
    other = launch([toystack.server(port), toystack.agent("a1", port)])
    started = warden()
    mine = (stack.dir / "keeper.json").read_bytes()
    (stack.dir / "keeper.json").write_bytes((other.dir / "keeper.json").read_bytes())
    try:
        with pytest.raises(NotAllowed, match=f'identity.stack = "{stack.id}", but this is "{other.id}"'):
            take_away(started)
        (stack.dir / "keeper.json").unlink()
        with pytest.raises(Unreachable, match=r"keeper\.json: no keeper has written there"):
            take_away(started)
    finally:
        (stack.dir / "keeper.json").write_bytes(mine)


def test_a_named_permission_opens_production_and_a_window_only_what_ends_within_it(warden, monkeypatch):
    now = datetime.now(UTC)
    window = f"daily {now - timedelta(minutes=5):%H:%M}-{now + timedelta(minutes=5):%H:%M} UTC"
    monkeypatch.setenv("REPRISE_PRODUCTION", "game-day")
    started = warden(identity="production = true", allow=f'production = "game-day"\nwindows = ["{window}"]')
    with pytest.raises(
        NotAllowed, match=r"allow.windows = .* agents.take_away would last from .* with its undo: the next"
    ):
        take_away(started, hold_s=300)
    assert take_away(started)["state"] == "proven"


def test_an_agent_that_is_down_by_itself_counts_as_broken(warden, launch, start_warden, toy):
    port = toystack.free_port()
    dying = toystack.spec.ComponentSpec(name="agents/a2", command=["sleep", "0.01"], backoff_s=5.0)
    stack = launch([toystack.server(port), toystack.agent("a1", port), dying])
    (stack.dir / "password").write_text("word")
    path = stack.dir / "platform.toml"
    path.write_text(FILE.format(stack=stack.id, url=toy.url, identity="", allow="", guard="").replace("1.0", "0.5"))
    started = start_warden(stack, run="r2", platform_file=str(path), log=stack.dir / "warden.log")
    with pytest.raises(NotAllowed, match=r"share = 0.5: 2 of 2 agents would be broken \(agents/a2 is not whole now\)"):
        take_away(started)


def test_who_only_observes_breaks_nothing_whatever_is_asked(stack, start_warden, platform):
    started = start_warden(stack, platform_file=platform(), observe=True)
    with pytest.raises(NotAllowed, match="this run only observes"):
        take_away(started)


def test_a_stop_undoes_everything_says_by_whom_and_nothing_is_injected_any_more(warden, history):
    started = warden()
    take_away(started)
    answer = started.request("halt", by="stop")
    assert [(fault["state"], fault["by"]) for fault in answer["faults"]] == [("clean", "stop")]
    assert answer["halted"] == {"by": "stop", "why": ""}
    with pytest.raises(NotAllowed, match="the run was halted by `chaos reprise stop`: nothing is injected any more"):
        take_away(started, fault="f2")
    started.close()
    told = [event for event in load(history).events if isinstance(event, Observe) and event.signal == "halt"]
    assert [(event.source, event.value["by"]) for event in told] == [("warden", "stop")]


def test_a_guard_that_sees_nothing_good_at_the_start_lets_nothing_begin(owned, toy):
    toy.health = 500
    with owned(guard=f'url = "{toy.url}/health"') as (process, history):
        assert process.wait(10) == -signal.SIGTERM
    assert [event for event in load(history).events if isinstance(event, Fault)] == []


OWNER = """
import pathlib, signal, sys, time
from chaosreprise.errors import RepriseError
from chaosreprise.faults import client as faults
file, keeper, history = sys.argv[1:]
warden = faults.Warden.start(
    run="r1", platform_id="toy@here", keeper=keeper, history=pathlib.Path(history), platform_file=file
)
try:
    warden.request("inject", fault="f1", kind="agents.take_away", on="agents/a1", hold_ns=30 * 10**9)
except RepriseError:
    pass
print("tried", flush=True)
time.sleep(100)
"""


@pytest.fixture
def owned(stack, platform, tmp_path):
    """A process that owns a warden and has tried to take agents/a1 away; its warden interrupts it when the guard halts."""

    @contextlib.contextmanager
    def start(**tables):
        history = tmp_path / "owned" / "history"
        command = [sys.executable, "-c", OWNER, platform(**tables), stack.address, str(history)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process, history
            finally:
                process.kill()

    return start


def test_when_the_guard_sees_the_platform_suffer_everything_is_undone_and_the_run_is_ended(owned, toy):
    toy.health = 200
    with owned(guard=f'url = "{toy.url}/health"') as (process, history):
        assert process.stdout.readline() == "tried\n"
        assert [r.state for r in ledger.read(ledger.path("toy@here", "r1"))] == ["proven"]
        began = time.monotonic()
        toy.health = 500
        assert process.wait(10) == -signal.SIGTERM
        took = time.monotonic() - began
        assert [(r.state, r.by) for r in ledger.read(ledger.path("toy@here", "r1"))] == [("clean", "guard")]
    assert took < 5
    eventually(lambda: (history / "warden.jsonl").read_text().count('"clean"'))
    seen = [(event.signal, event.value) for event in load(history).events if isinstance(event, Observe)]
    assert ("url", 200) in seen
    assert seen[-1] == ("halt", {"by": "guard", "why": f"{toy.url}/health answered 500 (guard.status = 200)"})


def test_a_platform_that_can_not_be_seen_in_time_is_not_touched(stack, platform, monkeypatch):
    monkeypatch.setattr(facts, "LOOK_S", 0.2)
    lookout = facts.Lookout(file.load(platform()), "r1")

    async def look():
        send_signal(stack.keeper, signal.SIGSTOP)
        try:
            await lookout.look(["agents/a1"])
        finally:
            send_signal(stack.keeper, signal.SIGCONT)
            await lookout.close()

    with pytest.raises(Unreachable, match=r"could not be seen within 0.2 s: nothing is broken unseen"):
        asyncio.run(look())


def test_while_its_own_run_has_the_store_away_what_was_counted_just_before_still_holds(platform, toy):
    lookout = facts.Lookout(file.load(platform()), "r1")
    toy.add("foreign")

    async def scene():
        try:
            await lookout.look(["agents/a1"])
            alone = await lookout.look(["agents/a2"], store_away=True)
            before = await lookout.look(["database"])
            toy.add("a lie: nobody can make one now")
            meanwhile = await lookout.look(["agents/a2", "sessions/s1"], store_away=True)
            after = await lookout.look(["agents/a2"])
        finally:
            await lookout.close()
        return alone.foreign, before.foreign, meanwhile.foreign, after.foreign

    alone, before, meanwhile, after = asyncio.run(scene())
    assert (before, after) == ({"database": 1}, {"agents/a2": 2})
    assert meanwhile["agents/a2"] == 1
    assert alone["agents/a2"] == meanwhile["sessions/s1"] == "they were not counted before its store went away"
