"""What steps can do in both runtimes, and that each answer is that of its own step."""

import concurrent.futures
import shutil

import pytest
from sandboxes import WAIT, marks, until

from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL

NODE = pytest.mark.skipif(shutil.which("node") is None, reason="no Node here: node is not on the PATH")
BOTH = pytest.mark.parametrize("runtime", ["python", pytest.param("node", marks=NODE)])
JS_MARK = "require('fs').appendFileSync('ledger', {!r});"


@pytest.mark.parametrize(
    ("runtime", "probe"),
    [
        *[(name, ("x=5*10", "print(x)")) for name in ("python", "python3", "Python")],
        *[pytest.param(name, ("var x=5*10", "console.log(x)"), marks=NODE) for name in ("node", "javascript", "NODE")],
    ],
)
def test_a_session_keeps_its_variables_under_each_name_of_its_runtime(sandbox, runtime, probe):
    session = sandbox.session(runtime)
    assert [sandbox.printed(session, code) for code in probe] == ["", "50\n"]


@NODE
def test_a_node_session_has_one_context_with_require_process_and_timers(sandbox):
    session = sandbox.session("node")
    assert sandbox.printed(session, "const a = 1; let b = 'ü\u2028'; a + 1") == ""
    assert sandbox.printed(session, "console.log(a, b, {}, [1, 2], null)") == "1 ü\u2028 [object Object] 1,2 null\n"
    assert sandbox.printed(session, "console.log(JSON.stringify({pid: process.pid > 1}), typeof setTimeout)") == (
        '{"pid":true} function\n'
    )
    for code in ("null.x", "const a = 2", "if", "throw 3"):
        said = sandbox.step(session, code)
        assert (said.status_code, said.json()["stdout"]) == (202, "")
        assert said.json()["stderr"].strip()
    sandbox.printed(session, "setTimeout(() => console.log('later'), 1)")
    sandbox.printed(session, f"{JS_MARK.format('n')} for (const end = Date.now() + 50; Date.now() < end;);")
    assert sandbox.ledger(session) == ["n"]
    assert "later" not in sandbox.printed(session, "console.log('now')")


@NODE
def test_a_node_session_has_an_interpreter_below_the_agent_and_ends_with_it(sandbox):
    session = sandbox.session("node")
    (works,) = sandbox.interpreters(session, AGENT)
    assert sandbox.printed(session, "console.log(process.pid)") == f"{works}\n"
    sandbox.terminate(session)
    until(lambda: not sandbox.interpreters(session), "both interpreters have ended")


def test_a_node_session_needs_node(new_platform, tmp_path):
    platform = new_platform(AGENT, "data-plane", CONTROL, env={"PATH": str(tmp_path)})
    assert platform.create(runtime="node").status_code == 500
    assert platform.create(runtime="python").status_code == 500
    assert "is not on the PATH" in platform.log("data-plane")


@BOTH
def test_no_size_is_too_large(sandbox, runtime):
    session = sandbox.session(runtime)
    large, long = {
        "python": ("print('x' * 20_000_000)", f"print(len('{'y' * 5_000_000}'))"),
        "node": ("console.log('x'.repeat(20_000_000))", f"console.log('{'y' * 5_000_000}'.length)"),
    }[runtime]
    assert len(sandbox.printed(session, large)) == 20_000_001
    assert sandbox.printed(session, long) == "5000000\n"


def test_what_is_printed_past_print_disturbs_no_answer(sandbox):
    """By file descriptor, by a child process, after the step, and what looks like an answer."""
    session = sandbox.session()
    stray = '{"id": 3, "stdout": "forged", "stderr": ""}'
    noise = f"import os, subprocess, sys, threading, time\nfor fd in (1, 2): os.write(fd, b'{stray}\\n{{')\n"
    noise += f"subprocess.run(['echo', '{stray}'])\n"
    noise += f"threading.Timer(0.05, lambda: print('{stray}', file=sys.__stdout__, flush=True)).start()\n"
    for number in range(5):
        assert sandbox.printed(session, f"{noise}print({number})") == f"{number}\n"
    assert sandbox.step(session, "input()").json()["stderr"].strip().startswith("Traceback")
    assert sandbox.printed(session, "print('still here')") == "still here\n"


def test_a_step_cannot_speak_half_characters(sandbox):
    assert sandbox.printed(sandbox.session(), "print('\\ud800 \\N{SNOWMAN}')") == "? \N{SNOWMAN}\n"


def test_a_step_that_closes_everything_loses_its_session_and_says_so(sandbox):
    session = sandbox.session()
    assert sandbox.step(session, "import os; os.closerange(0, 100)").status_code == 500
    assert sandbox.data_step(session, "print(1)").json()["status"] == "failed"


def test_steps_of_one_session_run_one_at_a_time_and_sessions_side_by_side(sandbox):
    first, second = sandbox.session(), sandbox.session()
    step = marks("b") + "import time\ntime.sleep(0.02)\n" + marks("e")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = pool.submit(sandbox.data_step, second, marks("s b") + WAIT + marks("s e"))
        sandbox.begun(second, "s")
        answers = list(pool.map(lambda n: sandbox.step(first, f"{step}print({n})"), range(6)))
        assert not slow.done()
        sandbox.go(second)
        assert slow.result().status_code == 202
    assert [answer.json()["stdout"] for answer in answers] == [f"{n}\n" for n in range(6)]
    assert sandbox.ledger(first) == ["b", "e"] * 6
