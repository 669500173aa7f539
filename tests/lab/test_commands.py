"""Commands: stored first, delivered in order, replayed to an agent that comes back, acted on once. Agents come and go."""

import asyncio
import contextlib
import json
import pathlib
import resource
import signal
import time

import aiohttp
import httpx

from chaosreprise.procs import LISTEN, connections_of, send_signal

START = ["made", "up"]


def test_a_life_of_a_session_leaves_one_transition_for_each_command(lab):
    name = lab.running(persistentHome=True)
    lab.step(name, "open('kept', 'w').write('17')")
    pid = lab.slot(name).processes[0].inc.pid
    lab.change(name, "hibernate")
    lab.wait(name, "hibernated")
    assert lab.slot(name).processes == []
    lab.change(name, "wake")
    lab.wait(name, "running")
    assert lab.step(name, "print(open('kept').read())").json()["stdout"] == "17\n"
    assert lab.slot(name).processes[0].inc.pid != pid
    lab.change(name, "stop")
    lab.wait(name, "terminated")
    assert lab.marks(name) == [*START, "down", "up", "down", "gone"]
    assert lab.call("GET", f"/sessions/{name}").json()["status"]["phase"] == "Terminated"


def test_files_of_a_session_without_a_persistent_home_end_with_its_hibernation(lab):
    name = lab.running(persistentHome=False)
    lab.step(name, "open('kept', 'w').write('17')")
    before = lab.slot(name).workspace
    for op, state in (("hibernate", "hibernated"), ("wake", "running")):
        lab.change(name, op)
        lab.wait(name, state)
    assert lab.step(name, "print(__import__('os').listdir())").json()["stdout"] == "[]\n"
    assert lab.slot(name).workspace != before
    assert pathlib.Path(before, "kept").read_text() == "17"


def test_the_log_of_the_lab_tells_when_an_agent_changed_what(lab):
    """Benchmarks hold what a run measures against it; each change stands in the keeper's ledger within what the log says."""
    name = lab.running()
    lab.change(name, "hibernate")
    lab.wait(name, "hibernated")
    logged = [line for line in lab.log() if line["event"] == "slot-changed" and line["slot"] == name]
    assert [line["do"] for line in logged] == ["make", "down"]
    assert {line["agent"] for line in logged} == {lab.agent_of(name)}
    ledger = [json.loads(line) for line in (lab.dir / "slots.jsonl").read_text().splitlines()[1:]]
    times = {line["mark"]: line["t"] for line in ledger if line["object"] == name}
    assert logged[0]["asked"] <= times["made"] <= logged[0]["t"]
    assert logged[1]["asked"] <= times["down"] <= logged[1]["t"]


def test_hibernated_and_even_pending_sessions_can_be_stopped(lab, until):
    hibernated = lab.running()
    lab.change(hibernated, "hibernate")
    lab.wait(hibernated, "hibernated")
    lab.change(hibernated, "stop")
    lab.wait(hibernated, "terminated")
    pending = lab.create().json()["name"]
    lab.change(pending, "stop")
    lab.wait(pending, "terminated")
    assert lab.marks(hibernated) == [*START, "down", "gone"]
    assert lab.marks(pending) == [*START, "down", "gone"]


def test_what_is_accepted_while_an_agent_is_away_waits_and_is_done_once_when_it_comes_back(lab, until):
    name, asleep = [name for name in (lab.running(f"user0{n}") for n in range(1, 7)) if lab.agent_of(name) == "a2"][:2]
    lab.change(asleep, "hibernate")
    lab.wait(asleep, "hibernated")
    with lab.away("agents/a2"):
        until(lambda: lab.call("GET", "/admin/agents/a2").json()["status"] == "offline", "a2 is offline")
        accepted = [lab.change(name, "hibernate"), lab.change(asleep, "wake"), lab.change(name, "stop")]
        time.sleep(0.3)
        assert [lab.command(number)["status"] for number in accepted] == ["pending"] * 3
        assert [lab.command(number)["sent_at"] for number in accepted] == [None] * 3
        assert lab.state(asleep) == "waking"
    until(lambda: all(lab.command(number)["status"] == "completed" for number in accepted), "all completed")
    sent = [lab.command(number)["sent_at"] for number in accepted]
    done = [lab.command(number)["completed_at"] for number in accepted]
    assert sorted(sent) == sent
    assert sorted(done) == done
    assert lab.marks(name) == [*START, "down", "gone"]
    assert lab.marks(asleep) == [*START, "down", "up"]


def test_each_process_of_a_session_gets_the_memory_that_was_asked_for_and_no_more(lab, until):
    def tries(name):
        return lab.step(name, "held = bytearray(200 << 20); print(len(held)); del held").json()

    def limits(name):
        return [resource.prlimit(one.inc.pid, resource.RLIMIT_DATA) for one in lab.slot(name).processes]

    asked = {"small": "134217999", "large": "512Mi"}
    small, large = [lab.running(resources={"memory": memory, "cpu": "100m"}) for memory in asked.values()]
    assert tries(large)["stdout"] == f"{200 << 20}\n"
    assert "MemoryError" in tries(small)["stderr"]
    assert (limits(small), limits(large)) == ([(134217999, 134217999)], [(512 << 20, 512 << 20)])
    lab.change(small, "hibernate")
    lab.wait(small, "hibernated")
    lab.change(small, "wake")
    lab.wait(small, "running")
    assert limits(small) == [(134217999, 134217999)], "also after a wake"
    crashed = lab.slot(small).processes[0].inc
    send_signal(crashed, signal.SIGKILL)
    until(lambda: [one.inc for one in lab.slot(small).processes] not in ([], [crashed]), "it is back")
    assert limits(small) == [(134217999, 134217999)], "and after a crash"


def test_a_session_outlives_its_agent(lab):
    name = lab.running()
    lab.step(name, "x = 1")
    agent = f"agents/{lab.agent_of(name)}"
    with lab.away(agent):
        assert lab.step(name, "x += 1; print(x)").json()["stdout"] == "2\n"
    assert lab.step(name, "x += 1; print(x)").json()["stdout"] == "3\n"
    assert lab.marks(name) == START


def test_starts_go_elsewhere_while_an_agent_is_away(lab, until):
    with lab.away("agents/a1"):
        until(lambda: lab.call("GET", "/admin/agents/a1").json()["status"] == "offline", "a1 is offline")
        names = [lab.create(f"user0{n}").json()["name"] for n in range(1, 5)]
        assert sorted(lab.agent_of(name) for name in names) == ["a2", "a2", "a3", "a3"]


def test_a_closed_socket_is_an_agent_offline_at_once(lab, until):
    inc = lab.component("agents/a3").inc
    begin = time.monotonic_ns()
    with lab.away("agents/a3"):
        until(lambda: lab.call("GET", "/admin/agents/a3").json()["status"] == "offline", "a3 is offline")
        noticed = next(line for line in lab.log() if line["event"] == "agent-offline" and line["t"] > begin)
    assert noticed["why"] == "socket closed"
    assert noticed["t"] - begin < 0.5e9
    assert lab.component("agents/a3").inc != inc


def test_a_silent_agent_is_offline_after_three_heartbeats_and_comes_back(lab, until):
    inc = lab.component("agents/a2").inc
    send_signal(inc, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        until(lambda: lab.call("GET", "/admin/agents/a2").json()["status"] == "offline", "a2 is offline")
        assert 0.3 < time.monotonic() - begin < 3
    finally:
        send_signal(inc, signal.SIGCONT)
    until(lambda: lab.call("GET", "/admin/agents/a2").json()["status"] == "online", "a2 is online")
    assert lab.component("agents/a2").inc == inc


def test_the_newer_connection_of_an_agent_wins(lab, until):
    """And the end of the older one does not make the agent offline."""

    async def connect(http):
        return await http.ws_connect(
            f"{lab.url}/api/v1/agents/connect?agent_id=a1", headers={"X-Agent-API-Key": lab.secret("agents/a1")}
        )

    async def scene():
        async with aiohttp.ClientSession() as http:
            older = await connect(http)
            newer = await connect(http)
            with contextlib.suppress(aiohttp.ClientConnectionResetError):  # a ping may still wait for its answer
                ended = await older.receive(timeout=5)
                assert ended.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
            await asyncio.sleep(0.2)
            shown = await asyncio.to_thread(lambda: lab.call("GET", "/admin/agents/a1").json()["status"])
            with_a1 = await asyncio.to_thread(on_a1)
            message = json.loads((await newer.receive(timeout=5)).data)
            await older.close()
            await newer.close()
            return shown, with_a1, message

    def on_a1():
        for user in ("user01", "user02", "user03"):
            name = lab.create(user).json()["name"]
            if lab.agent_of(name) == "a1":
                return name
        return None

    with lab.away("agents/a1"):
        shown, name, message = asyncio.run(scene())
    assert shown == "online"
    assert (message["type"], message["payload"]["action"]) == ("command", "start_session")
    assert message["payload"]["payload"]["sessionId"] == name
    lab.wait(name, "running")
    assert lab.marks(name) == START


def test_tokens_sessions_and_commands_survive_a_restart_of_the_control_plane(lab, until):
    name, other = lab.running("user01"), lab.running("user02")
    lab.step(name, "x = 'kept'")
    before = lab.component("control-plane").inc
    lab.take_away("control-plane")
    try:
        lab.call("GET", "/sessions")
    except httpx.ConnectError:
        pass
    else:
        raise AssertionError("the control plane is away and answers")
    lab.bring_back("control-plane")
    assert lab.component("control-plane").inc != before
    until(lambda: lab.state(name) == "running", "the old token is valid")
    assert lab.step(name, "print(x)").json()["stdout"] == "kept\n"
    lab.change(other, "hibernate")
    lab.wait(other, "hibernated")
    until(lambda: lab.call("GET", "/admin/agents?status=online").json()["total"] == 3, "the agents are back")


def test_commands_that_wait_survive_the_control_plane_too(lab, until):
    name = lab.running()
    agent = f"agents/{lab.agent_of(name)}"
    with lab.away(agent):
        number = lab.change(name, "hibernate")
        lab.kill("control-plane")
        until(lambda: lab.component("control-plane").state == "up", "the control plane is back")
        assert lab.command(number)["status"] == "pending"
    until(lambda: lab.command(number)["status"] == "completed", "the command is done")
    assert lab.marks(name) == [*START, "down"]


def test_a_late_message_does_not_overwrite_a_final_status(lab):
    name = lab.running()
    start = lab.sql("select command_id from agent_commands where session_id = %s", name)[0]["command_id"]
    agent = lab.agent_of(name)
    lab.change(name, "hibernate")
    lab.wait(name, "hibernated")

    async def say_late():
        async with aiohttp.ClientSession() as http:
            link = await http.ws_connect(
                f"{lab.url}/api/v1/agents/connect?agent_id={agent}",
                headers={"X-Agent-API-Key": lab.secret(f"agents/{agent}")},
            )
            for kind, more in (
                ("ack", {}),
                ("status", {"state": "running"}),
                ("failed", {"error": "late"}),
                ("complete", {}),
            ):
                await link.send_json({"type": kind, "payload": {"commandId": start, "sessionId": name} | more})
            await asyncio.sleep(0.2)
            await link.close()

    before = lab.command(start)
    with lab.away(f"agents/{agent}"):
        asyncio.run(say_late())
        assert lab.command(start) == before
        assert lab.state(name) == "hibernated"


def test_everything_listens_on_loopback_only(lab):
    lab.running()
    listening = [c.local for pid in family(lab.stack.keeper.pid) for c in connections_of(pid) if c.state == LISTEN]
    assert len(set(listening)) > 3  # PostgreSQL, the control plane, a session, and the links to them
    assert {local.partition(":")[0] for local in listening} == {"0100007F"}


def family(pid):
    """A process and all below it."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in family(int(child)))]
