"""Whoever made a fault is gone, frozen, or has lost the API server, at whatever moment: the object is whole again, once and by its lease.

Faults are made on an API server of our own, without the rest of a run, by processes and pods that hold them (`striking`).
A node is gone when its kubelet and the run's pod are frozen: REPRISE_TEST_KUBELET says which one may be, as NODE:PID of this machine.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import striking
from apiservers import Server
from clusters import IMAGE, NO_IMAGE, Space, written
from kubernetes import client
from linkwire import eventually
from reapers import Reaper

from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.faults import on_pods
from chaosreprise.kubernetes import deployments, marks, reaping
from chaosreprise.kubernetes.api import Api, Conflict
from chaosreprise.kubernetes.where import Where

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
WITHIN_S = 150.0
LONG_S, SHORT_S = 1000.0, 3.0
POD_S, FROZEN_S = 20.0, 60.0
SELECTOR = {"session": "k1"}
OFTEN = ("take_away", "taint_node")
EACH = [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.thorough) for kind in striking.KINDS]
NODES = [kind for kind in striking.KINDS if kind.endswith("node")]
KUBELET = "REPRISE_TEST_KUBELET"


@pytest.fixture
def space(own: Space) -> Iterator[Space]:
    """With all that faults are made on; nothing runs."""
    with furnished(own):
        yield own


@contextlib.contextmanager
def furnished(space: Space) -> Iterator[None]:
    for name in ("k1", "k2"):
        space.make(name, replicas=2)
    body = {"metadata": {"name": "s1"}, "spec": {"selector": SELECTOR, "ports": [{"port": 80}]}}
    space.core.create_namespaced_service(space.name, body)
    for kind in NODES:
        space.core.create_node({"metadata": {"name": striking.node_of(space.name, kind)}})
    yield
    for kind in NODES:
        space.core.delete_node(striking.node_of(space.name, kind))


def speak(space: Space, ask: Callable[[Api], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with await Api.to(Where(namespace=space.name, kubeconfig=str(space.kubeconfig))) as api:
            return await ask(api)

    return asyncio.run(main())


def state(space: Space) -> dict[str, Any]:
    """What of each object a fault may change, and whether it bears a mark."""
    nodes = {one.metadata.name: one for one in space.core.list_node().items}
    policies = client.NetworkingV1Api(space.api).list_namespaced_network_policy(space.name).items
    found = {
        "take_away": (k1 := space.get("k1"), k1.spec.replicas),
        "rollout_restart": (k2 := space.get("k2"), k2.spec.template.metadata.annotations),
        "interpose": (s1 := space.core.read_namespaced_service("s1", space.name), s1.spec.selector),
    } | {
        kind: (one, (one.spec.unschedulable, [each.key for each in one.spec.taints or [] if "reprise" in each.key]))
        for kind in NODES
        if (one := nodes.get(striking.node_of(space.name, kind)))
    }
    told = {kind: (value, marks.ANNOTATION in (one.metadata.annotations or {})) for kind, (one, value) in found.items()}
    return told | {"deny_network": [one.metadata.name for one in policies]}


def versions(space: Space) -> list[str]:
    return [
        *(space.get(name).metadata.resource_version for name in ("k1", "k2")),
        space.core.read_namespaced_service("s1", space.name).metadata.resource_version,
        *(space.core.read_node(striking.node_of(space.name, kind)).metadata.resource_version for kind in NODES),
    ]


class Holder:
    """A process that makes these faults and holds them."""

    def __init__(self, space: Space, lease_s: float, *kinds: str) -> None:
        command = [sys.executable, striking.__file__, space.name, str(space.kubeconfig), str(lease_s), *kinds]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "made\n"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def undo(self) -> list[str | None]:
        """Who had done so already, of each."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: list[str | None] = json.loads(self._line())
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.kill()
        with self._process:
            self._process.wait()


@contextlib.contextmanager
def holding(space: Space, lease_s: float, *kinds: str) -> Iterator[Holder]:
    holder = Holder(space, lease_s, *kinds)
    try:
        yield holder
    finally:
        holder.end()


def test_what_a_killed_process_has_made_is_whole_by_its_lease_whatever_kind_it_is(
    space: Space, server: Server, chaos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    whole = state(space)
    reaper = Reaper(chaos, written(tmp_path, space, "session=k1"))
    try:
        with holding(space, SHORT_S, *striking.KINDS):
            broken = state(space)
        assert {kind for kind in striking.KINDS if broken[kind] != whole[kind]} == {*striking.KINDS}
        server.kill()
        server.start()
        assert eventually(lambda: state(space) == whole, WITHIN_S)
        assert all(eventually(lambda: reaper.said(f"fault r1/{kind} was left, ")) for kind in striking.KINDS)  # noqa: B023
    finally:
        assert eventually(lambda: reaper.said("looks after"), WITHIN_S)
        assert reaper.end() == 0, reaper.lines


@pytest.mark.thorough
def test_heal_alone_does_so_too(
    space: Space, chaos: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("REPRISE_PLATFORM", str(written(tmp_path, space, "session=k1")))
    whole = state(space)
    with holding(space, SHORT_S, *striking.KINDS):
        pass
    said: list[object] = []
    heal = [chaos, "--no-version-check", "--no-log-file", "reprise", "heal"]

    def healed() -> bool:
        said.append(subprocess.run(heal, capture_output=True, text=True, check=False))
        return state(space) == whole

    assert eventually(healed, WITHIN_S), (said[0], said[-1], state(space))


def test_who_wakes_up_after_its_faults_were_undone_touches_nothing_and_says_so(space: Space) -> None:
    """The reaper's clock is fast: what should last for long was undone at once."""
    whole = state(space)
    with holding(space, LONG_S, *striking.KINDS) as holder:
        holder.signal(signal.SIGSTOP)
        first: reaping.First = {}
        speak(space, lambda api: reaping.reap(api, 0.0, first))
        assert len(speak(space, lambda api: reaping.reap(api, LONG_S * 10, first))) == len(striking.KINDS)
        assert state(space) == whole
        before = versions(space)
        holder.signal(signal.SIGCONT)
        assert holder.undo() == [on_pods.SOMEBODY] * len(striking.KINDS)
    assert (state(space), versions(space)) == (whole, before)


def test_what_could_be_made_only_after_its_lease_is_not_made(space: Space) -> None:
    before = versions(space)

    async def late(api: Api) -> None:
        for kind in striking.KINDS:
            with pytest.raises(NotPossible, match=r"its lease ended 1[.\d]* s before it could be made"):
                await striking.strike(api, await striking.planned(api, kind, space.name), -1.0)

    speak(space, late)
    assert (versions(space), state(space)["deny_network"]) == (before, [])


class Cut:
    """The way to the server is lost at a change: before it gets there, or before its answer gets here."""

    def __init__(self, space: Space, monkeypatch: pytest.MonkeyPatch, lose: str) -> None:
        self.lost = 0
        for name in ("patch", "post", "delete"):
            monkeypatch.setattr(Api, name, self._losing(space, getattr(Api, name), lose))

    def _losing(self, space: Space, call: Callable[..., Awaitable[Any]], lose: str) -> Callable[..., Awaitable[Any]]:
        async def losing(*given: Any) -> Any:
            if not self.lost:
                self.lost += 1
                getattr(space.relay, lose)()
            return await call(*given)

        return losing


@pytest.mark.parametrize("lose", ["cut", "deafen"])
@pytest.mark.parametrize("kind", EACH)
def test_a_fault_whose_answer_is_lost_is_undone_by_who_made_it(
    space: Space, monkeypatch: pytest.MonkeyPatch, kind: str, lose: str
) -> None:
    whole = state(space)

    async def alone(api: Api) -> str | None:
        made = await striking.planned(api, kind, space.name)
        with monkeypatch.context() as patched:
            cut = Cut(space, patched, lose)
            with pytest.raises(Unreachable):
                await striking.strike(api, made, LONG_S)
        assert (cut.lost, state(space) == whole) == (1, lose == "cut")
        with pytest.raises(Unreachable):
            await striking.undo(api, made)
        space.relay.mend()
        return await striking.undo(api, made)

    assert speak(space, alone) is None
    assert state(space) == whole


@pytest.mark.parametrize("lose", ["cut", "deafen"])
@pytest.mark.parametrize("kind", EACH)
def test_an_undo_whose_answer_is_lost_was_the_runs_own(
    space: Space, monkeypatch: pytest.MonkeyPatch, kind: str, lose: str
) -> None:
    whole = state(space)

    async def alone(api: Api) -> str | None:
        made = await striking.planned(api, kind, space.name)
        await striking.strike(api, made, LONG_S)
        assert state(space) != whole
        with monkeypatch.context() as patched:
            Cut(space, patched, lose)
            with pytest.raises(Unreachable):
                await striking.undo(api, made)
        assert (state(space) == whole) == (lose == "deafen")
        space.relay.mend()
        return await striking.undo(api, made)

    assert speak(space, alone) is None
    assert state(space) == whole


def test_a_patch_that_is_still_on_its_way_comes_too_late_once_its_fault_was_undone(space: Space) -> None:
    whole = state(space)

    async def alone(api: Api) -> None:
        path = deployments.path(api, "k1")
        undo = marks.Undo("r1/f1", LONG_S, {"spec": {"replicas": 0}}, {"spec": {"replicas": 2}})
        found = await api.get(path)
        assert await marks.end(api, path, lambda: api.get(path), "r1/f1", outrun=True)
        with pytest.raises(Conflict):
            await marks._patch(api, path, found, marks.marked(undo), undo.made)

    speak(space, alone)
    assert state(space) == whole


@pytest.fixture
def pods(tmp_path: pathlib.Path) -> Iterator[Space]:
    """A namespace in which pods run."""
    if "KUBECONFIG" not in os.environ or IMAGE is None:
        pytest.skip(NO_IMAGE)
    found = Space(tmp_path, os.environ["KUBECONFIG"])
    try:
        with furnished(found):
            yield found
    finally:
        found.core.delete_collection_namespaced_pod(found.name, grace_period_seconds=0)
        found.end()


@pytest.fixture
def reaper(pods: Space, chaos: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Reaper]:
    found = Reaper(chaos, written(tmp_path, pods, "session=k1"))
    yield found
    assert eventually(lambda: found.said("looks after"), WITHIN_S)
    assert found.end() == 0, found.lines


def start(space: Space, *kinds: str, **spec: Any) -> None:
    """A pod that makes faults and holds them, and is not started again."""
    kubeconfig = space.kubeconfig.read_text()
    rules = [
        (verb, group, of) for verb in ("get", "patch") for group, of in (("apps", "deployments"), ("", "services"))
    ]
    rules += [(verb, "networking.k8s.io", "networkpolicies") for verb in ("get", "create", "delete")]
    rules += [("list", "", "pods")]
    space.account(*rules, everywhere=[("get", "", "nodes"), ("patch", "", "nodes")])
    space.kubeconfig.write_text(kubeconfig)
    command = ["python3", "-c", pathlib.Path(striking.__file__).read_text(), space.name, "", str(POD_S), *kinds]
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": command,
        "stdin": True,
        "resources": {"limits": {"memory": "160Mi"}, "requests": {"cpu": "1m"}},
    }
    spec |= {"restartPolicy": "Never", "serviceAccountName": "reprise", "containers": [container]}
    space.core.create_namespaced_pod(space.name, {"metadata": {"name": "run"}, "spec": spec})


def evict(space: Space) -> None:
    space.core.create_namespaced_pod_eviction("run", space.name, {"metadata": {"name": "run"}})


def kill(space: Space) -> None:
    space.core.delete_namespaced_pod("run", space.name, grace_period_seconds=0)


def ended(space: Space) -> str:
    """Why its container ended, "gone" without a pod."""
    with contextlib.suppress(client.ApiException):
        found = space.core.read_namespaced_pod("run", space.name).status.container_statuses or []
        return "".join(one.state.terminated.reason for one in found if one.state.terminated)
    return "gone"


def differing(space: Space, whole: dict[str, Any]) -> set[str]:
    found = state(space)
    return {kind for kind in striking.KINDS if found[kind] != whole[kind]}


@pytest.mark.thorough
@pytest.mark.parametrize(("how", "says"), [(kill, "gone"), (evict, "gone"), ("eat", "OOMKilled")])
def test_the_pod_that_made_it_is_killed_evicted_or_out_of_memory_and_it_is_whole_by_its_lease(
    pods: Space, reaper: Reaper, how: Any, says: str
) -> None:
    whole = state(pods)
    start(pods, *striking.KINDS, *(["eat"] if how == "eat" else []))
    assert eventually(lambda: differing(pods, whole) == {*striking.KINDS}, WITHIN_S), ended(pods)
    if how != "eat":
        how(pods)
    assert eventually(lambda: ended(pods) == says, WITHIN_S), ended(pods)
    assert eventually(lambda: state(pods) == whole, WITHIN_S)
    assert all(eventually(lambda: reaper.said(f"fault r1/{kind} was left, ")) for kind in striking.KINDS)  # noqa: B023


def processes_of(space: Space) -> list[int]:
    """Of its pods, those that are named after it."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if space.name.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def renewed(space: Space, node: str) -> Any:
    """When its kubelet last said that it lives."""
    return client.CoordinationV1Api(space.api).read_namespaced_lease(node, "kube-node-lease").spec.renew_time


@pytest.mark.thorough
@pytest.mark.parametrize("node_too", [False, True], ids=["pod", "node"])
def test_a_run_whose_pod_or_node_is_frozen_has_left_nothing_by_its_lease_and_undoes_nothing_when_it_wakes_up(
    pods: Space, reaper: Reaper, node_too: bool
) -> None:
    if node_too and KUBELET not in os.environ:
        pytest.skip(f"no node may be frozen: {KUBELET} is not set to NODE:PID of a kubelet of this machine")
    node, _, kubelet = os.environ.get(KUBELET, "").partition(":")
    whole = state(pods)
    start(pods, *striking.KINDS, "late", **({"nodeName": node} if node_too else {}))
    assert eventually(lambda: differing(pods, whole) == {*striking.KINDS}, WITHIN_S), ended(pods)
    if not (frozen := processes_of(pods)):
        pytest.skip("the processes of pods are not of this machine")
    frozen += [int(kubelet)] if node_too else []
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        said = renewed(pods, node) if node_too else None
        assert eventually(lambda: state(pods) == whole, FROZEN_S)
        assert not node_too or renewed(pods, node) == said
        generation = pods.get("k1").metadata.generation
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert all(eventually(lambda: reaper.said(f"fault r1/{kind} was left, ")) for kind in striking.KINDS)  # noqa: B023

    def told() -> list[str]:
        return str(pods.core.read_namespaced_pod_log("run", pods.name)).splitlines()

    assert eventually(lambda: len(told()) > 1, WITHIN_S), told()
    assert told()[0] == "made", told()
    assert json.loads(told()[1]) == [on_pods.SOMEBODY] * len(striking.KINDS)
    assert (state(pods), pods.get("k1").metadata.generation) == (whole, generation)
