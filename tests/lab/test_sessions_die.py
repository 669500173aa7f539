"""Interpreters that crash or freeze: what they held is lost and said to be, what they were told is done once or not at all."""

import concurrent.futures
import contextlib
import pathlib
import signal
import threading
import time

import httpx
import pytest

from chaosreprise.procs import send_signal
from chaosreprise.stack.client import Keeper

pytestmark = pytest.mark.long
WRITE = "open('ledger', 'a').write('{0}\\n'); {1}; print('{0}')"


def interpreter(lab, name):
    return lab.slot(name).processes[0]


def crash(lab, name):
    inc = interpreter(lab, name).inc
    assert send_signal(inc, signal.SIGKILL)
    return inc


def ran(lab, name):
    return pathlib.Path(lab.slot(name).workspace, "ledger").read_text().split()


def transitions(lab, name):
    return [mark for mark in lab.marks(name) if mark not in ("crash", "back")]


def test_a_crash_between_steps_is_said_once_and_the_next_steps_run_where_it_was(lab, until):
    name = lab.running()
    assert lab.step(name, "x = 1").status_code == 202
    port, was = interpreter(lab, name).port, crash(lab, name)
    until(lambda: (now := lab.slot(name).processes) and now[0].inc != was, "it is back")
    said = lab.step(name, WRITE.format("first", "x"))
    assert (said.status_code, said.json()["error"]) == (500, "Session restarted")
    assert lab.step(name, WRITE.format("second", "x = 2")).json()["stdout"] == "second\n"
    assert ran(lab, name) == ["second"]
    assert lab.sql("select count(*) from session_steps where session_id = %s", name)[0]["count"] == 2
    assert interpreter(lab, name).port == port
    assert lab.marks(name) == ["made", "up", "crash", "back"]
    assert lab.state(name) == "running"


def test_steps_at_once_after_a_crash_each_run_once_or_say_that_they_have_not(lab, until):
    name = lab.running()
    crash(lab, name)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: (f"s{n}", step_until_lost_or_done(lab, name, f"s{n}")), range(8)))
    assert sorted(ran(lab, name) if any(ok for _, ok in answers) else []) == sorted(key for key, ok in answers if ok)
    assert lab.step(name, WRITE.format("last", "1")).status_code == 202


def step_until_lost_or_done(lab, name, key):
    """Whether it ran; while there is no process it can't be reached, and has not run either."""
    while (answer := lab.step(name, WRITE.format(key, "1"))).status_code != 202:
        if answer.json()["error"] == "Session restarted":
            return False
        assert answer.json()["error"] == "Session not reachable"
    assert answer.json()["stdout"] == f"{key}\n"
    return True


def test_a_step_in_flight_ends_with_an_error_at_once_and_is_not_run_again(lab, until):
    name = lab.running()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        slow = WRITE.format("slow", "import time; time.sleep(30)")
        steps = [pool.submit(lab.step, name, slow)]
        until(lambda: pathlib.Path(lab.slot(name).workspace, "ledger").exists() and ran(lab, name), "it runs")
        steps += [pool.submit(lab.step, name, WRITE.format(f"queued{n}", "1")) for n in range(2)]
        until(lambda: waiting_at(interpreter(lab, name).port) == 2, "the others wait for it")
        begin = time.monotonic()
        crash(lab, name)
        assert [step.result().status_code for step in steps] == [500] * 3
    assert time.monotonic() - begin < 5
    until(lambda: lab.step(name, WRITE.format("next", "1")).status_code == 202, "it works again")
    assert ran(lab, name) == ["slow", "next"]
    assert len(lab.sql("select 1 from session_steps where session_id = %s", name)) == 1


def waiting_at(port):
    """Connections that a listening socket has not accepted yet (proc_net_tcp(5): rx_queue of a listener)."""
    listening = f"0100007F:{port:04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next(int(row[4].partition(":")[2], 16) for row in rows if row[1] == listening and row[3] == "0A")


def test_interpreters_that_crash_while_commands_for_them_are_worked_on_change_nothing(lab):
    names = lab.running_on("a1", 8)
    asleep, awake = names[:2], names[2:]
    for name in asleep:
        lab.change(name, "hibernate")
        lab.wait(name, "hibernated")
    with lab.away("agents/a1"):
        ending = [lab.change(name, "hibernate" if n % 2 else "stop") for n, name in enumerate(awake)]
        waking = [lab.change(name, "wake") for name in asleep]
        ended = threading.Event()
        killer = threading.Thread(target=keep_killing, args=(lab, names, ended))
        killer.start()
    lab.wait_done(ending)
    time.sleep(0.5)  # the first wake's interpreter is killed each time before it can answer
    ended.set()
    killer.join()
    lab.wait_done(waking)
    for n, name in enumerate(awake):
        assert transitions(lab, name) == ["made", "up", "down", *([] if n % 2 else ["gone"])]
        assert lab.slot(name).processes == []
    for name in asleep:
        assert transitions(lab, name) == ["made", "up", "down", "up"]
        assert lab.step(name, "print(1)").json()["stdout"] == "1\n"
    assert sum(lab.marks(name).count("crash") for name in awake) >= 6
    assert lab.marks(asleep[0]).count("crash") >= 2


def keep_killing(lab, names, ended):
    """Every interpreter of these sessions as soon as it is there."""
    with Keeper(lab.stack.address) as keeper:
        while not ended.wait(0.005):
            for slot in keeper.status().slots:
                for process in slot.processes if slot.slot in names else []:
                    send_signal(process.inc, signal.SIGKILL)


def test_a_step_reaches_a_frozen_session_when_it_goes_on_and_runs_once(lab):
    name = lab.running()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with frozen(lab, name):
            waiting = pool.submit(lab.step, name, WRITE.format("waits", "1"))
            with pytest.raises(httpx.ReadTimeout):
                lab.http.post(f"/sessions/{name}/steps", json={"command": WRITE.format("given up", "1")}, timeout=0.3)
            assert not waiting.done()
        assert waiting.result().json()["stdout"] == "waits\n"
    assert lab.step(name, WRITE.format("next", "1")).json()["stdout"] == "next\n"
    assert sorted(ran(lab, name)) == ["given", "next", "up", "waits"]


def test_a_frozen_session_is_hibernated_woken_and_stopped_all_the_same(lab):
    name = lab.running()
    with frozen(lab, name):
        lab.change(name, "hibernate")
        lab.wait(name, "hibernated")
    lab.change(name, "wake")
    lab.wait(name, "running")
    assert lab.step(name, "print(1)").json()["stdout"] == "1\n"
    with frozen(lab, name):
        lab.change(name, "stop")
        lab.wait(name, "terminated")
    assert lab.marks(name) == ["made", "up", "down", "up", "down", "gone"]


def test_a_session_that_freezes_while_it_starts_is_running_when_it_goes_on(lab, until):
    name = lab.create("user01").json()["name"]
    until(lambda: lab.slot(name) and lab.slot(name).processes, "its interpreter starts")
    with frozen(lab, name):
        time.sleep(0.5)
    lab.wait(name, "running")
    assert lab.step(name, "print(1)").json()["stdout"] == "1\n"
    assert lab.marks(name) == ["made", "up"]


@contextlib.contextmanager
def frozen(lab, name):
    inc = interpreter(lab, name).inc
    assert send_signal(inc, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(inc, signal.SIGCONT)
