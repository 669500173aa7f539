"""Each planted defect breaks its promise in a scene in which a sandbox without one keeps it."""

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import httpx
import psycopg
import pytest
from sandboxes import Beside, marks, until, waiting

from chaosreprise.errors import BadInput
from chaosreprise.lab.sandbox import agent, agents, control, data, defects, guard, hosted, interpreter, registry, rows
from chaosreprise.lab.sandbox.defects.agent import READING_S
from chaosreprise.lab.sandbox.defects.standstill import LONG_S
from chaosreprise.lab.sandbox.prepare import AGENT, CONTROL, DATA, Options
from chaosreprise.lab.sandbox.tokens import sign

LIMIT_S = 2.0
SEAMS = {
    seam.__name__: seam
    for seam in (
        agent.Tokens,
        agents.AgentClient,
        control.Api,
        control.Sessions,
        data.Runner,
        guard.Guard,
        hosted.Hosted,
        hosted.Hosts,
        interpreter.Interpreter,
        registry.Registry,
        rows.Rows,
    )
}


def ran_twice(platform):
    """A step outlives the first attempt at it."""
    session = platform.session()
    step = Beside(platform.data_step, session, waiting("s"))
    platform.begun(session, "s")
    time.sleep(LIMIT_S + 0.5)
    platform.go(session)
    step.status()
    platform.data_step(session, "1")
    return platform.ledger(session).count("s b") > 1


def dropped(platform):
    session = platform.session()
    assert {platform.data_step(session, marks(n)).status_code for n in range(10)} == {202}
    return platform.ledger(session) != [str(n) for n in range(10)]


def swapped(platform):
    session = platform.session()
    return any(platform.printed(session, f"print({n})") != f"{n}\n" for n in range(10))


def mixed(platform):
    first, second = platform.session(), platform.session()
    for n in range(10):
        platform.data_step(first, marks(f"first {n}"))
        platform.data_step(second, marks(f"second {n}"))
    return platform.ledger(first) + platform.ledger(second) != [
        f"{name} {n}" for name in ("first", "second") for n in range(10)
    ]


def silently_restarted(platform):
    session = platform.session()
    platform.data_step(session, "x = 1")
    os.kill(platform.interpreters(session, AGENT)[0], signal.SIGKILL)
    until(lambda: not platform.interpreters(session, AGENT), "it has ended")
    return platform.step(session, "print('x' in globals())").status_code == 202


def no_step_row(platform):
    session = platform.session()
    with unwritable(platform):
        accepted = platform.step(session, "1").status_code == 202
    return accepted and not platform.steps_of(session)


def no_session_row(platform):
    with unwritable(platform):
        answer = platform.create()
    return answer.status_code == 201 and not platform.rows(f"select 1 from sessions where id = '{answer.json()['id']}'")


def shared(platform):
    asked = [answer for _ in range(3) for answer in platform.creates_at_once(3)]
    ids = [answer.json()["id"] for answer in asked if answer.status_code == 201]
    return len(ids) > len(set(ids))


def runs_on(platform):
    session = platform.session()
    assert platform.terminate(session).status_code == 202
    platform.step(session, marks("late"))
    return platform.ledger(session) == ["late"]


def forgotten(platform):
    sessions = [platform.session() for _ in range(5)]
    return {platform.step(session, "1").status_code for session in sessions} != {202}


def open_to_all(platform):
    bare = httpx.post(f"{platform.made.control}/sessions", json={}, trust_env=False)
    return bare.status_code != 401


def forged(platform):
    owner = sign({"tenant_id": "reprise", "agent_id": "reprise"}, "not ours")
    shown = {"Authorization": f"Bearer {owner}"}
    return httpx.post(f"{platform.made.control}/sessions", json={}, headers=shown, trust_env=False).status_code != 401


def anyones(platform):
    session = platform.created()
    signing = platform.made.process("control-plane").env["AUTH_JWT_SECRET"]
    other = {"Authorization": f"Bearer {sign({'tenant_id': 'other', 'agent_id': 'other'}, signing)}"}
    platform.http.post(
        f"{platform.made.control}/sessions/{session}/steps", json={"command": marks("theirs")}, headers=other
    )
    return platform.ledger(session) == ["theirs"]


def any_token(platform):
    session = platform.session()
    step = {"sessionId": session, "stepId": "1", "code": marks("theirs")}
    platform.post(f"{platform.made.session_agent}/v1/steps", step, headers={"X-Session-Token": "another"})
    return platform.ledger(session) == ["theirs"]


@contextlib.contextmanager
def unwritable(platform):
    with contextlib.closing(platform.reader()) as reader:
        reader.execute("begin")
        reader.execute("select * from session_steps").fetchall()
        yield


def silent_database(platform):
    """Its table takes no row for as long as it is locked."""
    session = platform.session()
    with psycopg.connect(platform.made.database) as holder:
        holder.execute("lock table session_steps in share row exclusive mode")
        accepted = platform.step(session, "1").status_code == 202
        return accepted and not platform.steps_of(session)


def past_print(platform):
    session = platform.session()
    platform.data_step(session, "import os; os.write(1, b'x\\n'); print('a')")
    return platform.printed(session, "print('b')") != "b\n"


def restarted(platform, look):
    """What an agent says at once when it was started again and there is a workspace."""
    platform.session()
    platform.end(AGENT)
    began = time.monotonic()
    platform.start(AGENT)
    return look(time.monotonic() - began)


def open_again(platform):
    step = {"sessionId": "nobody", "stepId": "1", "code": "1"}
    return restarted(
        platform, lambda _: platform.post(f"{platform.made.session_agent}/v1/steps", step).status_code != 401
    )


def late_again(platform):
    return restarted(platform, lambda took: took > READING_S)


def recycled(platform):
    session = platform.session()
    return "False\n" in [platform.printed(session, f"print({n} == 0 or 'x' in globals()); x = 1") for n in range(10)]


def registered_anew(platform):
    session = platform.session()
    platform.data_step(session, "x = 1")
    platform.restart(AGENT)
    return platform.data_step(session, "print('x' in globals())").status_code == 202


def begun_anew(platform):
    session = platform.session()
    platform.data_step(session, "x = 1")
    platform.end(DATA)
    os.truncate(platform.made.registry, 10)
    platform.start(DATA)
    return platform.data_step(session, "print('x' in globals())").status_code == 202


def restored(platform):
    session = platform.session()
    platform.data_step(session, "open('it', 'w').write('mine')")
    platform.restart(DATA)
    return platform.printed(session, "print(open('it').read())") != "mine\n"


def run_again(platform):
    """A client goes away in the middle of its step."""
    session = platform.session()
    with pytest.raises(httpx.ReadTimeout):
        platform.post(f"{platform.made.control}/sessions/{session}/steps", {"command": waiting("s")}, timeout=1)
    platform.go(session)
    until(lambda: platform.steps_of(session), "it has its row all the same")
    for _ in range(3):  # what runs again does so before these
        platform.step(session, "1")
    return platform.ledger(session).count("s b") > 1


def asked_again(platform):
    """The control plane stands still while its step is answered."""
    session = platform.session()
    step = Beside(platform.step, session, waiting("s"))
    platform.begun(session, "s")
    platform.send(CONTROL, signal.SIGSTOP)
    platform.go(session)
    time.sleep(1.5 * LONG_S)
    platform.send(CONTROL, signal.SIGCONT)
    step.status()
    return platform.ledger(session).count("s b") > 1


def begun_anew_awake(platform):
    session = platform.session()
    platform.data_step(session, "x = 5")
    platform.send(DATA, signal.SIGSTOP)
    time.sleep(1.5 * LONG_S)
    platform.send(DATA, signal.SIGCONT)
    answers = [platform.data_step(session, "print(x)").json() for _ in range(3)]  # it has noticed by the second one
    return any("NameError" in answer["stderr"] for answer in answers)


GUARDED = {"authentication": True}
SCENES = {
    "step-run-twice": (ran_twice, {"limit_s": LIMIT_S}),
    "step-dropped": (dropped, {}),
    "answer-of-another-step": (swapped, {}),
    "wrong-session": (mixed, {}),
    "silent-restart": (silently_restarted, {}),
    "recycles": (recycled, {}),
    "registers-anew": (registered_anew, {}),
    "registry-lost-begun-anew": (begun_anew, {"registry": "file"}),
    "restores-workspaces": (restored, {"registry": "file"}),
    "runs-for-who-has-gone": (run_again, {}),
    "asks-again-when-it-wakes": (asked_again, {}),
    "begins-anew-when-it-wakes": (begun_anew_awake, {}),
    "no-step-row": (no_step_row, {}),
    "no-session-row": (no_session_row, {}),
    "silence-is-yes": (silent_database, {"database": "postgres"}),
    "shares-its-output": (past_print, {}),
    "shared-id": (shared, {}),
    "runs-after-terminate": (runs_on, {}),
    "registry-forgets": (forgotten, {}),
    "open-door": (open_to_all, GUARDED),
    "any-signature": (forged, GUARDED),
    "any-owner": (anyones, GUARDED),
    "open-after-restart": (open_again, GUARDED),
    "slow-to-return": (late_again, {}),
    "agent-any-token": (any_token, GUARDED),
}
SLOW = {"asks-again-when-it-wakes", "begins-anew-when-it-wakes", "silence-is-yes", "slow-to-return"}
NAMES = [pytest.param(name, marks=[pytest.mark.thorough] if name in SLOW else []) for name in SCENES]


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_breaks_its_promise(new_platform, name):
    broken, options = SCENES[name]
    assert broken(new_platform(**options, defect=name))


@pytest.mark.parametrize("name", NAMES)
def test_without_it_the_promise_is_kept(plain, name):
    broken, options = SCENES[name]
    assert not broken(plain(**options))


def test_each_defect_has_a_scene_and_a_name_of_its_own():
    assert len(defects.ALL) == len(defects.DEFECTS) >= 11
    assert defects.DEFECTS.keys() == SCENES.keys()


def test_each_class_replaces_the_seam_that_it_is_made_for_and_each_is_used():
    used = {defect.of(SEAMS[name]) for defect in defects.ALL for name in defect.parts}
    modules = [
        importlib.import_module(f"{defects.__name__}.{path.stem}")
        for path in pathlib.Path(defects.__file__).parent.glob("*.py")
    ]
    made = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, tuple(SEAMS.values())) and found not in SEAMS.values()
    }
    assert made == used


def test_a_name_that_is_not_known_is_refused_with_the_nearest_one():
    with pytest.raises(BadInput, match=r"did you mean shared-id\?.*--platform sandbox"):
        defects.named("shared-ids")
    assert defects.named("").parts == {}


@pytest.mark.parametrize("command", [["-m", "chaosreprise.lab"], ["-m", "chaosreprise.cli"]])
def test_they_are_listed_with_their_platform(command, chaos):
    start = [sys.executable, *command] if command[1] == "chaosreprise.lab" else [str(chaos), "reprise", "lab"]

    def listed(*how):
        return subprocess.run([*start, "defects", *how], capture_output=True, text=True, check=True).stdout

    told = json.loads(listed("--platform", "sandbox", "--json"))
    assert [(entry["platform"], entry["name"], entry["check"]) for entry in told] == [
        ("sandbox", defect.name, defect.check) for defect in defects.ALL
    ]
    assert listed("--platform", "sandbox", "--names").split() == list(defects.DEFECTS)
    assert len(listed("--platform", "sandbox").splitlines()) == len(defects.ALL)
    assert not set(listed("--names").split()) & defects.DEFECTS.keys()
    assert {entry["platform"] for entry in json.loads(listed("--json"))} == {"streamspace"}


def test_without_a_defect_each_part_is_its_own(tmp_path):
    assert [defects.named(None).of(seam) for seam in SEAMS.values()] == list(SEAMS.values())
    assert Options().defect is None
