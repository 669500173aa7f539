"""The torture: 100 kills drawn from a seed leave nothing behind, and what is left behind is seen."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from linkwire import eventually
from runs import start_lab

from chaosreprise.clock import SECOND, boottime
from chaosreprise.procs import myself
from chaosreprise.stack.client import Keeper

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "scripts"
sys.path.append(str(SCRIPTS))
import torture  # noqa: E402
import torture_draws  # noqa: E402
import torture_lab  # noqa: E402

SEED = 7
SEEN_S = 10.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[torture_lab.Lab]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        stack = start_lab()
        try:
            yield torture_lab.Lab(stack)
        finally:
            stack.end()


def until_whole(lab: torture_lab.Lab) -> None:
    deadline = time.monotonic() + SEEN_S
    while wrong := lab.wrong():
        assert time.monotonic() < deadline, wrong
        time.sleep(0.05)


def test_a_draw_follows_from_the_seed_and_its_number():
    first = [torture_draws.draw(SEED, n, 25) for n in range(200)]
    assert first == [torture_draws.draw(SEED, n, 25) for n in range(200)]
    assert first != [torture_draws.draw(SEED + 1, n, 25) for n in range(200)]
    assert [what.n for what in first if what.whole] == list(range(24, 200, 25))


def test_everybody_is_killed_at_each_state():
    kills = {
        (frozenset(what.who), what.state) for what in (torture_draws.draw(SEED, n, 0) for n in range(300)) if what.who
    }
    groups = [*torture_draws.WITHOUT_KEEPER, *torture_draws.WITH_KEEPER]
    assert kills == {(frozenset(who), state) for who in groups for state in torture_draws.STATES}


@pytest.mark.long
def test_what_is_left_on_the_lab_is_seen(lab: torture_lab.Lab):
    until_whole(lab)
    inc = lab.process_of("agents/a1")
    assert inc is not None
    with Keeper(lab.stack.address) as keeper:
        keeper.hold("agents/a1", inc, "r1/f1", owners=[myself()], lease_end=boottime() + 60 * SECOND)
        assert lab.wrong() == ["agents/a1 is held by r1/f1"]
        keeper.release("agents/a1", "r1/f1")
    until_whole(lab)
    os.kill(inc.pid, signal.SIGSTOP)
    assert eventually(lambda: [line.partition(":")[0] for line in lab.wrong()][:1] == ["stopped"]), (
        "a signal takes a moment"
    )
    os.kill(inc.pid, signal.SIGCONT)
    until_whole(lab)
    files = resource.prlimit(inc.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(inc.pid, resource.RLIMIT_NOFILE, (files[0] - 1, files[1]))
    assert f"agents/a1: pid {inc.pid} has other limits" in lab.wrong()[0]
    resource.prlimit(inc.pid, resource.RLIMIT_NOFILE, files)
    until_whole(lab)
    assert torture.files(lab.stack.id) == []
    (torture.state_dir() / "left").touch()
    assert torture.files(lab.stack.id) == [f"file: {torture.state_dir() / 'left'}"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_kills_leave_nothing_and_the_log_is_gone_on_with(tmp_path: pathlib.Path):
    log = tmp_path / "torture.jsonl"
    command = [sys.executable, str(SCRIPTS / "torture.py"), "--seed", str(SEED), "--log", str(log)]
    subprocess.run([*command, "--kills", "1", "--whole-every", "0"], check=True, capture_output=True, cwd=tmp_path)
    with log.open("a") as torn:
        torn.write('{"n": 1, "seed"')
    done = subprocess.run(
        [*command, "--kills", "100", "--whole-every", "50"], capture_output=True, text=True, cwd=tmp_path
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (done.returncode, [line["residues"] for line in lines]) == (0, [[]] * 100), done.stdout + done.stderr
    assert [line["n"] for line in lines] == list(range(100))
    assert "100 draws" in done.stdout
    assert "0 residues" in done.stdout
    leaked = [line["leaked"] for line in lines if line["leaked"] and line["trouble"] != "broken"]
    assert leaked == [], "only what somebody else had frozen can't be seen whole again, and is said"
