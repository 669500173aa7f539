"""Faults on pods, with real pods: made and undone on the object itself, proven, and never left behind."""

import asyncio
import contextlib
import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest
from clusters import ON, Space, pause, rules_of, written
from kubernetes import client as kubernetes
from linkwire import eventually

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import BadInput, NotAllowed, NotPossible, NotProven
from chaosreprise.faults import client, ledger, registry
from chaosreprise.faults.base import Context
from chaosreprise.kubernetes import marks, reaping
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.marks import ANNOTATION
from chaosreprise.kubernetes.where import Where
from chaosreprise.platform import adapter, file

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
WITH, PLATFORM = 2, "pods@here"
READY_S = 90.0


@pytest.fixture
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def space(space: Space, state: None) -> Space:
    """With a Deployment of two pods, which any of its nodes can run: of an image that is there already."""
    space.make("k1", replicas=WITH, image=pause(space))
    assert eventually(lambda: ready(space) == WITH, READY_S)
    return space


@pytest.fixture
def path(space: Space, tmp_path: pathlib.Path) -> pathlib.Path:
    return written(tmp_path, space, "session=k1")


@pytest.fixture
def warden(path: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[client.Warden]:
    found = client.Warden.start(
        run="r1",
        platform_id=PLATFORM,
        keeper=None,
        history=tmp_path / "run" / "history",
        platform_file=str(path),
        guarded=False,
    )
    yield found
    with contextlib.suppress(Exception):
        found.close()


def ready(space: Space) -> int:
    return space.get("k1").status.ready_replicas or 0


def pods(space: Space) -> set[str]:
    return {one.metadata.uid for one in space.core.list_namespaced_pod(space.name).items}


def undo(space: Space) -> str | None:
    return (space.get("k1").metadata.annotations or {}).get(ANNOTATION)


def inject(warden: client.Warden, verb: str) -> dict[str, object]:
    return warden.request("inject", fault="f1", kind=f"agents.{verb}", on=ON, hold_ns=30 * SECOND)


def last() -> ledger.Record:
    return next(record for record in ledger.read(ledger.path(PLATFORM, "r1")) if record.fault == "f1")


def with_the_role_of(verb: str, space: Space, path: pathlib.Path) -> None:
    """From here on we may do what that role in k8s/ allows, and nothing else."""
    space.account(*rules_of(verb))
    fault, context = registry.get(f"agents.{verb}"), Context(None, [], {}, str(path))

    def may() -> bool:
        with contextlib.suppress(NotAllowed):
            return bool(asyncio.run(fault.plan(context, ON, {})))
        return False

    assert eventually(may)


class Controller(threading.Thread):
    """What an autoscaler, or GitOps, does: there are always to be so many."""

    def __init__(self, space: Space) -> None:
        super().__init__(daemon=True)
        self._space, self._over = space, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.2):
            if self._space.get("k1").spec.replicas == 0:
                self._space.scale("k1", WITH)

    def end(self) -> None:
        self._over.set()
        self.join()


def test_what_is_taken_away_stays_away_with_its_undo_on_the_object_and_comes_back_as_it_was(
    space: Space, warden: client.Warden
) -> None:
    before = pods(space)
    answer = inject(warden, "take_away")
    assert (answer["state"], answer["proof"]) == ("proven", {"replicas": 0, "pods": "gone", "count": WITH})
    assert (pods(space), space.get("k1").spec.replicas) == (set(), 0)
    left = marks.of({"metadata": {"name": "k1", "annotations": {ANNOTATION: undo(space)}}})
    assert left is not None
    assert (left.mark, left.made, left.before) == ("r1/f1", {"spec": {"replicas": 0}}, {"spec": {"replicas": WITH}})
    assert 30 < left.lease_s < 120
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert (undo(space), ready(space), last().by) == (None, WITH, "run")
    assert not pods(space) & before


def test_what_a_dead_warden_left_is_undone_from_what_stands_on_the_object(
    space: Space, warden: client.Warden, tmp_path: pathlib.Path
) -> None:
    inject(warden, "take_away")
    os.kill(warden._process.pid, signal.SIGKILL)
    warden._process.wait()
    assert undo(space) is not None
    [healed] = client.heal_all()
    assert (healed.state, healed.kind, undo(space), ready(space)) == ("clean", "agents.take_away", None, WITH)
    assert client.heal_all() == []


def test_somebody_who_scales_it_back_leaves_it_unproven_and_nothing_of_ours_stays(
    space: Space, warden: client.Warden
) -> None:
    controller = Controller(space)
    try:
        with pytest.raises(NotProven, match=f"somebody has scaled its Deployment k1 back to {WITH}"):
            inject(warden, "take_away")
    finally:
        controller.end()
    assert (undo(space), space.get("k1").spec.replicas, last().state) == (None, WITH, "clean")


def test_a_dead_run_and_a_dead_warden_leave_a_fault_to_who_undoes_it_by_its_lease(
    space: Space, warden: client.Warden
) -> None:
    inject(warden, "take_away")
    os.kill(warden._process.pid, signal.SIGKILL)
    warden._process.wait()
    first: reaping.First = {}

    def reap(now: float) -> list[str]:
        async def look() -> list[str]:
            async with await Api.to(Where(namespace=space.name, kubeconfig=str(space.kubeconfig))) as api:
                return [f"{one.what} {one.mark}: {one.say}" for one in await reaping.reap(api, now, first)]

        return asyncio.run(look())

    assert (reap(0.0), space.get("k1").spec.replicas) == ([], 0)
    assert reap(120.0) == ["deployments/k1 r1/f1: undone"]
    assert eventually(lambda: ready(space) == WITH, READY_S)
    [healed] = client.heal_all()
    assert (healed.state, undo(space)) == ("clean", None)


@pytest.mark.thorough
def test_an_autoscaler_leaves_alone_what_is_scaled_to_nothing(space: Space, warden: client.Warden) -> None:
    """`horizontal`, of Kubernetes itself: zero replicas mean to it that it is switched off."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "k1"}
    spec = {"scaleTargetRef": reference, "minReplicas": WITH, "maxReplicas": WITH + 2}
    autoscaler = kubernetes.AutoscalingV2Api(space.api)
    autoscaler.create_namespaced_horizontal_pod_autoscaler(space.name, {"metadata": {"name": "a1"}, "spec": spec})
    assert inject(warden, "take_away")["state"] == "proven"

    def is_off() -> bool:
        status = autoscaler.read_namespaced_horizontal_pod_autoscaler("a1", space.name).status
        return any(one.reason == "ScalingDisabled" for one in status.conditions or [])

    assert eventually(is_off, READY_S)
    assert space.get("k1").spec.replicas == 0
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert (ready(space), last().by) == (WITH, "run")


@pytest.mark.thorough
def test_somebody_who_scales_it_back_later_is_who_has_undone_it(space: Space, warden: client.Warden) -> None:
    inject(warden, "take_away")
    space.scale("k1", 1)
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert (last().by, undo(space), space.get("k1").spec.replicas) == ("somebody else", None, 1)


@pytest.mark.thorough
def test_an_undo_waits_for_an_api_server_that_is_away(space: Space, path: pathlib.Path, warden: client.Warden) -> None:
    with_the_role_of("take_away", space, path)
    inject(warden, "take_away")
    space.relay.cut()
    mend = threading.Timer(2.0, space.relay.mend)
    mend.start()
    assert warden.request("undo", fault="f1")["state"] == "clean"
    mend.join()
    assert (undo(space), ready(space), last().by) == (None, WITH, "run")


@pytest.mark.thorough
def test_what_is_gone_meanwhile_needs_no_undo(space: Space, warden: client.Warden) -> None:
    inject(warden, "take_away")
    space.delete("k1")
    assert eventually(lambda: not space.apps.list_namespaced_deployment(space.name).items)
    assert warden.request("undo", fault="f1")["state"] == "moot"


@pytest.mark.parametrize("verb", ["crash", pytest.param("restart", marks=pytest.mark.thorough)])
def test_pods_that_are_deleted_are_gone_and_others_come(
    space: Space, path: pathlib.Path, warden: client.Warden, verb: str
) -> None:
    with_the_role_of("crash", space, path)
    before = pods(space)
    assert inject(warden, verb)["proof"] == {"pods": "gone", "count": WITH}
    assert not pods(space) & before
    assert warden.request("undo", fault="f1")["state"] == "clean"
    assert ready(space) == WITH


def test_what_can_not_be_done_is_refused_before_anything_is_touched(
    space: Space, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    fault, context = registry.get("agents.take_away"), Context(None, [], {}, str(path))
    target = asyncio.run(fault.plan(context, ON, {}))
    assert target["replicas"] == WITH
    with pytest.raises(BadInput, match="takes no arguments"):
        asyncio.run(fault.plan(context, ON, {"x": 1}))
    asyncio.run(fault.undo(context, "r1/f1", target))  # it was never made: nothing is done
    assert (undo(space), ready(space)) == (None, WITH)

    for selector, why in (("session=k9", "matches no Deployment"), ("app=streamspace-session", r"matches 2 .*k1, k2")):
        space.make("k2", replicas=0) if "app" in selector else None
        written(tmp_path, space, selector)
        with pytest.raises(NotPossible, match=f"components.{ON}.selector: .*{why}"):
            asyncio.run(fault.plan(context, ON, {}))
        [component] = adapter.make(file.load(str(path)), "r1").components()
        assert component.reason is not None
    written(tmp_path, space, "session=k1")
    [component] = adapter.make(file.load(str(path)), "r1").components()
    assert (component.name, component.state, component.reason) == (ON, "up", None)
    assert component.inc is not None
    assert component.inc[0] in pods(space)

    space.scale("k1", WITH + 1)
    with pytest.raises(NotPossible, match="changed after it was planned"):
        asyncio.run(fault.inject(context, "r1/f1", target, boottime() + 60 * SECOND))
    with pytest.raises(NotPossible, match="has no keeper"):
        asyncio.run(registry.get("agents.pause").plan(context, ON, {}))
    assert undo(space) is None


def test_a_right_that_is_missing_is_named_before_anything_is_touched(space: Space, path: pathlib.Path) -> None:
    needed = {verb: rules_of(verb) for verb in ("take_away", "crash")}
    space.account()
    for verb, rights in needed.items():
        fault, context = registry.get(f"agents.{verb}"), Context(None, [], {}, str(path))
        for missing in rights:
            space.allow(*(one for one in rights if one != missing))
            does, group, resource = missing
            name = f"the account may not {does} {resource}{group and '.'}{group} in the namespace {space.name}"

            def refused() -> bool:
                try:
                    asyncio.run(fault.plan(context, ON, {}))  # noqa: B023
                except NotAllowed as error:
                    return str(error).startswith(name)  # noqa: B023
                return False

            assert eventually(refused), missing
    assert undo(space) is None
