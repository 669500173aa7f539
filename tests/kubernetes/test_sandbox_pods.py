"""A sandbox whose sessions are pods, written from its contract alone, on a real cluster: watched, read, reached, and killed."""

import asyncio
import os
import pathlib
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import standins
from clusters import Space, with_python
from linkwire import eventually
from runs import ROOT, SHORT, Ran, Running, unproven

from chaosreprise.clock import SystemClock
from chaosreprise.errors import NotPossible
from chaosreprise.faults import registry
from chaosreprise.faults.base import Context
from chaosreprise.history import Coverage, Effect, Observe, Timed
from chaosreprise.platform import adapter, file
from chaosreprise.platform.sandbox_pods import GONE, NEVER
from chaosreprise.platform.steps import step_code

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
NAME = "sandbox-pods"
READY_S = 240.0
RUN = "r1"


@pytest.fixture
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def platform(space: Space, tmp_path: pathlib.Path, state: None) -> pathlib.Path:
    return standins.pods(tmp_path, space.name, space.kubeconfig, with_python(space), ready_s=READY_S)


@pytest.fixture
def data_plane(platform: pathlib.Path) -> Iterator[httpx.Client]:
    """That of the platform file, alone."""
    told = tomllib.loads(platform.read_text())["components"]["data-plane"]
    process = subprocess.Popen(told["command"], env=os.environ | told["env"], cwd=platform.parent)
    client = httpx.Client(base_url=f"http://127.0.0.1:{told['port']}", timeout=READY_S, trust_env=False)
    try:
        assert eventually(lambda: _answers(client), READY_S)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


class Watching(threading.Thread):
    """What the sources of a platform that are about pods tell, while a test goes on."""

    def __init__(self, platform: pathlib.Path) -> None:
        super().__init__(daemon=True)
        self.events: list[Timed] = []
        self._sandbox: Any = adapter.make(file.load(str(platform)), RUN)
        self._loop, self._over = asyncio.new_event_loop(), asyncio.Event()
        self.start()

    def run(self) -> None:
        self._loop.run_until_complete(self._watch())
        self._loop.close()

    async def _watch(self) -> None:
        found = [one for one in self._sandbox.sources() if one.name in ("workspaces", "pods", "readiness")]
        await asyncio.gather(*(one.run(SystemClock(), self.events.append, self._over) for one in found))
        await self._sandbox.close()

    def was_made(self, session: str) -> None:
        """As far as the run's mark says."""
        made = self._sandbox._made
        made._path.parent.mkdir(parents=True)
        made._path.write_text("a run\n")
        made.answered(session)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join()

    def marks(self, ledger: str, session: str) -> list[tuple[str, str | None]]:
        found = [event for event in self.events if isinstance(event, Effect) and event.ledger == ledger]
        return [(one.mark, one.key) for one in found if one.session == session]

    def numbers(self, signal: str) -> list[float]:
        found = [event for event in self.events if isinstance(event, Observe) and event.signal == signal]
        return [number for one in found for number in one.value]

    def gaps(self, of: str) -> list[str]:
        return [event.why for event in self.events if isinstance(event, Coverage) and event.of == of and not event.on]


def test_a_session_is_watched_in_its_pod_and_what_goes_with_that_is_a_gap(
    platform: pathlib.Path, data_plane: httpx.Client
) -> None:
    watching = Watching(platform)
    watching.was_made("s2")
    try:
        assert eventually(lambda: sum(isinstance(e, Coverage) and e.on for e in watching.events) == 3, READY_S)
        made = data_plane.post("/sessions", json={"sessionId": "s1", "runtime": "python"})
        assert made.json() == {"id": "s1", "runtimeId": "session-s1", "status": "running"}
        stepped = data_plane.post("/sessions/s1/steps", json={"command": step_code(f"{RUN}.step.1")})
        assert stepped.json()["stdout"].startswith(f"{RUN}.step.1 ")
        both = [("b", f"{RUN}.step.1"), ("e", f"{RUN}.step.1")]
        assert eventually(lambda: watching.marks("workspaces", "s1") == both, READY_S)
        assert eventually(lambda: watching.marks("pods", "s1") == [("up", None)], READY_S)
        assert eventually(lambda: watching.numbers("reached_s") != [], READY_S)
        assert (watching.gaps("workspaces/s1"), watching.gaps("workspaces/s2")) == ([], [NEVER])
        asyncio.run(kill(platform, "sessions/s1"))
        assert eventually(lambda: GONE in watching.gaps("workspaces/s1"), READY_S)
        again = {"command": "1"}  # its container may live on for a moment
        assert eventually(lambda: data_plane.post("/sessions/s1/steps", json=again).status_code == 503, READY_S)
        with pytest.raises(NotPossible, match="0 of 0 pods"):
            asyncio.run(kill(platform, "sessions/s1"))
    finally:
        watching.end()
    assert watching.marks("workspaces", "s1") == both


async def kill(platform: pathlib.Path, on: str) -> None:
    fault, context = registry.get("sessions.crash"), Context(None, [], platform_file=str(platform))
    target = await fault.plan(context, on, {})
    await fault.inject(context, "r1/f1", target, 0)
    assert await fault.prove(context, "r1/f1", target) == {"pods": "gone", "count": 1}
    assert await fault.undo(context, "r1/f1", target) is None
    await fault.verify(context, "r1/f1", target)


def run(platform: pathlib.Path) -> Ran:
    experiment = ROOT / "experiments" / f"{NAME}.json"
    return Running(platform, platform.parent, experiment, SHORT, {}).finish(500)


def test_pods_that_are_killed_are_told_and_the_flow_reaches_a_pod(platform: pathlib.Path) -> None:
    flow = standins.chaos(platform.parent, "reprise", "flow", str(platform))
    assert (flow.returncode, flow.stdout.count(" ok ")) == (0, 8), flow.stdout + flow.stderr
    assert "its pod is reached       ok" in flow.stdout
    doctor = standins.chaos(platform.parent, "reprise", "doctor", str(platform))
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "read in them by exec" in doctor.stdout
    ran = run(platform)
    assert ran.code == 0, ran.told()
    verdict = ran.verdict()
    assert verdict["verdict"] == "true", ran.told()
    assert unproven(NAME, verdict) == set(), ran.told()
    assert [one["kind"] for one in verdict["faults"]] == ["sessions.crash"] * 2
    assert "its ledger with it" in str(verdict["checks"]["duplicate"]["scope"]), (
        "its second effect may have gone with the pod"
    )


@pytest.mark.thorough
def test_flow_and_run_say_what_a_pod_of_a_wrong_image_waits_for(
    space: Space, state: None, tmp_path: pathlib.Path
) -> None:
    platform = standins.pods(tmp_path, space.name, space.kubeconfig, "no-such-image:1", ready_s=5.0)
    flow = standins.chaos(tmp_path, "reprise", "flow", str(platform))
    said = [line for line in flow.stdout.splitlines() if line.startswith("a session")]
    assert (flow.returncode, len(said)) == (1, 1), flow.stdout
    assert "answered with 500" in said[0]
    assert "of its pods 1 wait for what does not come, such as session-session-" in said[0]
    assert "ErrImageNeverPull" in said[0]
    ran = run(platform)
    assert ran.code == 1, ran.told()
    assert "sessions could be made" in ran.told()
    assert "ErrImageNeverPull" in ran.told()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("defect", "check", "says"),
    [
        ("mixed-pods", "isolation", "ran in the workspace of session"),
        ("silent-loss", "state-loss", "memory"),
    ],
)
def test_a_defect_is_found(
    defect: str, check: str, says: str, space: Space, state: None, tmp_path: pathlib.Path
) -> None:
    ran = run(standins.pods(tmp_path, space.name, space.kubeconfig, with_python(space), defect))
    assert ran.code == 1, ran.told()
    found = ran.verdict()["checks"][check]
    assert found["verdict"] == "false", ran.told()
    assert says in str(found["witnesses"]), ran.told()
