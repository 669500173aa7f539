"""The reaper as a process of its own: whoever has died, at whatever moment, what was broken is whole once its lease is over."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from clusters import Space, rules_of, written
from linkwire import eventually
from reapers import Reaper

from chaosreprise.clock import SECOND
from chaosreprise.faults import client
from chaosreprise.kubernetes import marks, reaping
from chaosreprise.kubernetes.marks import ANNOTATION

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
ON, WITH, BACK_S = "agents/k1", 2, 150.0


@pytest.fixture
def path(space: Space, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return written(tmp_path, space, "session=k1")


@pytest.fixture
def reaper(space: Space, path: pathlib.Path, chaos: pathlib.Path) -> Iterator[Reaper]:
    """It may do what its role in k8s/ allows, and nothing else."""
    space.account(*rules_of("reaper"))
    found = Reaper(chaos, path)
    yield found
    assert eventually(lambda: found.said("looks after"), BACK_S)
    assert found.end() == 0, found.lines


def leave(space: Space, lease_s: float) -> None:
    undo = marks.Undo("r1/f1", lease_s, {"spec": {"replicas": 0}}, {"spec": {"replicas": WITH}})
    body = {"metadata": {"annotations": marks.marked(undo)}, "spec": {"replicas": 0}}
    space.apps.patch_namespaced_deployment("k1", space.name, body)


def state(space: Space) -> tuple[int, bool]:
    found = space.get("k1")
    return found.spec.replicas, ANNOTATION in (found.metadata.annotations or {})


def test_what_outlives_its_lease_is_undone_also_when_the_api_server_was_away_meanwhile(
    space: Space, reaper: Reaper
) -> None:
    space.make("k1", replicas=WITH)
    assert eventually(lambda: reaper.said("looks after"), BACK_S)
    space.relay.cut()
    leave(space, 1.0)
    assert eventually(lambda: reaper.said("can't look: "), BACK_S)
    assert state(space) == (0, True)
    space.relay.mend()
    assert eventually(lambda: state(space) == (WITH, False), BACK_S)
    assert eventually(lambda: reaper.said("deployments/k1: fault r1/f1 was left, "))
    assert [line for line in reaper.lines if "look" in line][1:] == [
        next(line for line in reaper.lines if "can't look" in line),
        "can look again\n",
    ]


def test_a_platform_that_is_in_no_cluster_has_no_reaper(chaos: pathlib.Path) -> None:
    done = subprocess.run([chaos, "--no-log-file", "reprise", "reaper", "embedded"], capture_output=True, text=True)
    assert (done.returncode, "[kubernetes] is missing" in done.stderr) == (3, True), done


def test_its_role_is_what_it_asks_for_in_a_namespace() -> None:
    assert {*rules_of("reaper")} == {tuple(right) for right in reaping.RIGHTS if right.resource != "nodes"}
    on_nodes = {tuple(right) for right in reaping.RIGHTS if right.resource == "nodes"}
    assert {*rules_of("reaper-on-nodes", "ClusterRole")} == on_nodes


@pytest.mark.thorough
@pytest.mark.parametrize("stage", ["before it is made", "while it is on", "while it is undone"])
def test_a_warden_that_is_killed_leaves_nothing(
    space: Space, path: pathlib.Path, chaos: pathlib.Path, tmp_path: pathlib.Path, stage: str
) -> None:
    with_pods(space)
    warden = client.Warden.start(
        run="r1",
        platform_id="pods@here",
        keeper=None,
        history=tmp_path / "run" / "history",
        platform_file=str(path),
        guarded=False,
    )

    def ask(do: str, **how: object) -> None:
        with contextlib.suppress(Exception):
            warden.request(do, fault="f1", **how)

    take_away = {"kind": "agents.take_away", "on": ON, "hold_ns": SECOND}
    if stage == "before it is made":
        threading.Timer(0.3, space.relay.freeze).start()
        asked = threading.Thread(target=ask, args=("inject",), kwargs=take_away)
    else:
        assert warden.request("inject", fault="f1", **take_away)["state"] == "proven"
        space.relay.freeze()
        asked = threading.Thread(target=ask, args=("undo",))
    if stage != "while it is on":
        asked.start()
        asked.join(2.0)
    os.kill(warden._process.pid, signal.SIGKILL)
    warden._process.wait()
    space.relay.mend()
    found = Reaper(chaos, path)
    try:
        assert eventually(
            lambda: (space.get("k1").status.ready_replicas or 0, *state(space)) == (WITH, WITH, False), BACK_S
        )
    finally:
        assert eventually(lambda: found.said("looks after"), BACK_S)
        assert found.end() == 0
        with contextlib.suppress(Exception):
            warden.close()
    if stage == "while it is on":
        assert found.said("fault r1/f1 was left, ")


def with_pods(space: Space) -> None:
    nodes = space.core.list_node().items
    pauses = sorted(
        name for node in nodes for image in node.status.images or [] for name in image.names or [] if "pause" in name
    )
    if not pauses:
        pytest.skip("the cluster has no node with the image `pause`: no pod could be run without a registry")
    space.make("k1", replicas=WITH, image=pauses[0])
    assert eventually(lambda: space.get("k1").status.ready_replicas == WITH, BACK_S)
