"""Faults that only a cluster has: made with the rights of their own roles, proven on what is there, undone, and refused without a right.

The pods are of an image with Python and `sh` that the nodes have: REPRISE_IMAGE, else any whose name says so. What was called is compared
with the audit log of the API server where REPRISE_TEST_AUDIT_LOG says where that is.
"""

import asyncio
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import linkwire
import pytest
from clusters import ACCOUNT, ON, Rule, Space, rules_of, with_python, written
from kubernetes import client as api
from reapers import Reaper

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotAllowed, NotPossible, NotProven
from chaosreprise.faults import client, ledger, on_pods, registry
from chaosreprise.faults.base import Context
from chaosreprise.kubernetes.marks import ANNOTATION
from chaosreprise.links.client import Toxiproxy

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
Deployment = Callable[[], Any]
WITH, PORT, PLATFORM = 2, 8080, "pods@here"
READY_S = 90.0
eventually = functools.partial(linkwire.eventually, within_s=READY_S)
REVIEW = ("create", "authorization.k8s.io", "selfsubjectaccessreviews")
AUDIT = "REPRISE_TEST_AUDIT_LOG"
SERVES = f"""
import os, signal, socket
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
server = socket.create_server(("", {PORT}))
while True:
    with server.accept()[0] as connection:
        connection.sendall(os.uname().nodename.encode())
"""
PROBE = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
KINDS = ("interpose", "evict", "rollout_restart", "kill_container", "deny_network", "drain_node", "taint_node")
GIVEN = {"interpose": {"service": "s1", "proxy": "session=k2"}}
ROLES: dict[str, str] = {}
"""Of the namespaces in which a fault had just the rights of its roles."""
ADMIN, LATE_S = 8474, 2.0
TOXIPROXY = f"until [ -x /tmp/toxiproxy ]; do sleep 0.1; done; exec /tmp/toxiproxy -host 0.0.0.0 -port {ADMIN}"
TAKEN = "cat > /tmp/taken && chmod +x /tmp/taken && mv /tmp/taken /tmp/toxiproxy"
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
READY = {"type": "Ready", "status": "True", "reason": "Told", "lastHeartbeatTime": None, "lastTransitionTime": None}
STARTING = {f"node.kubernetes.io/not-ready:{effect}" for effect in ("NoSchedule", "NoExecute")}  # its controller's own
UNCALLED = {("create", "", "pods/exec")}  # asked for by newer servers beside the call itself, which is a GET


def serving(space: Space) -> dict[str, Any]:
    """A container that listens, ends on SIGTERM, and is of an image that is there already."""
    command = ["python3", "-c", SERVES]
    return {
        "image": with_python(space),
        "command": command,
        "ports": [{"containerPort": PORT}],
        "readinessProbe": PROBE,
    }


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """One for all of them, since pods take a while."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no Kubernetes: KUBECONFIG is not set")
    found = Space(tmp_path_factory.mktemp("namespace"), os.environ["KUBECONFIG"])
    try:
        found.make("k1", replicas=WITH, **serving(found))
        yield found
    finally:
        found.end()


@pytest.fixture
def space(namespace: Space, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Space]:
    """With a Deployment of two pods that is whole, and nothing else."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert eventually(lambda: ready(namespace) == len(pods(namespace)) == WITH)
    with namespace.as_admin():
        yield namespace
    api.PolicyV1Api(namespace.api).delete_collection_namespaced_pod_disruption_budget(namespace.name)
    for name in {one.metadata.name for one in namespace.apps.list_namespaced_deployment(namespace.name).items} - {"k1"}:
        namespace.delete(name)
        for one in pods(namespace).values():
            if one.metadata.labels["session"] == name:
                namespace.core.delete_namespaced_pod(one.metadata.name, namespace.name, grace_period_seconds=0)


@pytest.fixture
def path(space: Space) -> Iterator[pathlib.Path]:
    """A platform file; and where the API server's audit log can be read, what a fault called is what its roles allow, all of it and nothing else."""
    log = pathlib.Path(os.environ.get(AUDIT, os.devnull))
    began = log.stat().st_size
    yield written(space.kubeconfig.parent, space, "session=k1")
    if AUDIT not in os.environ or (verb := ROLES.pop(space.name, None)) is None:
        return
    with log.open() as lines:
        lines.seek(began)
        events = [json.loads(line) for line in lines if f"system:serviceaccount:{space.name}:{ACCOUNT}" in line]
    refused = [event for event in events if event["annotations"]["authorization.k8s.io/decision"] != "allow"]
    assert [(event["verb"], event["requestURI"]) for event in refused] == []
    allowed = {*rules_of(verb), *rules_of(verb, "ClusterRole")}
    assert {_call(event) for event in events} - {REVIEW} == allowed - UNCALLED


def _call(event: dict[str, Any]) -> Rule:
    of = event["objectRef"]
    return event["verb"], of.get("apiGroup", ""), "/".join(filter(None, (of["resource"], of.get("subresource"))))


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


def pods(space: Space) -> dict[str, Any]:
    return {one.metadata.uid: one for one in space.core.list_namespaced_pod(space.name).items}


def inject(warden: client.Warden, verb: str, **args: Any) -> Any:
    return warden.request("inject", fault="f1", kind=f"agents.{verb}", on=ON, hold_ns=30 * SECOND, args=args)["proof"]


def undo(warden: client.Warden) -> str:
    state = warden.request("undo", fault="f1")["state"]
    [record] = [one for one in ledger.read(ledger.path(PLATFORM, "r1")) if one.fault == "f1"]
    return f"{state} by {record.by}"


def plan(path: pathlib.Path, verb: str, **args: Any) -> dict[str, Any]:
    return asyncio.run(registry.get(f"agents.{verb}").plan(Context(None, [], {}, str(path)), ON, args))


def with_its_role(verb: str, space: Space, path: pathlib.Path, **args: Any) -> None:
    """From here on we may do what the roles of that fault in k8s/ allow, and nothing else."""
    space.account(*rules_of(verb), everywhere=rules_of(verb, "ClusterRole"))
    ROLES[space.name] = verb

    def may() -> bool:
        with contextlib.suppress(NotAllowed):
            return bool(plan(path, verb, **args))
        return False

    assert eventually(may)


def budget(space: Space, least: int, of: str = "k1") -> None:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"session": of}}}
    policy = api.PolicyV1Api(space.api)
    policy.create_namespaced_pod_disruption_budget(space.name, {"metadata": {"name": "b1"}, "spec": spec})

    def counted() -> bool:
        status = policy.read_namespaced_pod_disruption_budget("b1", space.name).status
        return bool(status.current_healthy == WITH and status.observed_generation)

    assert eventually(counted)


def test_pods_that_are_evicted_are_gone_and_others_come(
    space: Space, path: pathlib.Path, warden: client.Warden
) -> None:
    with_its_role("evict", space, path)
    before = {*pods(space)}
    assert inject(warden, "evict") == {"pods": "gone", "count": WITH}
    assert not {*pods(space)} & before
    assert (undo(warden), ready(space)) == ("clean by run", WITH)


def test_a_budget_refuses_an_eviction_before_any_pod_has_gone(
    space: Space, path: pathlib.Path, warden: client.Warden
) -> None:
    before = {*pods(space)}
    target = plan(path, "evict")
    budget(space, 1)
    told = r"its 2 pods can't be evicted at once: PodDisruptionBudget b1: 2 healthy, 1 needed, 1 may be disrupted now"
    with pytest.raises(NotPossible, match=told):
        inject(warden, "evict")
    with pytest.raises(NotPossible, match=told):  # one that was made since it was planned
        asyncio.run(registry.get("agents.evict").inject(Context(None, []), "r1/f2", target, 0))
    assert {*pods(space)} == before


def test_a_rollout_restart_makes_every_pod_a_new_one(space: Space, path: pathlib.Path, warden: client.Warden) -> None:
    with_its_role("rollout_restart", space, path)
    before = {*pods(space)}
    assert inject(warden, "rollout_restart")["count"] == WITH
    assert not {*pods(space)} & before
    assert (undo(warden), ready(space)) == ("clean by run", WITH)
    space.apps.patch_namespaced_deployment("k1", space.name, {"spec": {"paused": True}})
    with pytest.raises(NotPossible, match="k1 is paused"):
        plan(path, "rollout_restart")


CONFIG = {"metadata": {"name": "c1"}, "data": {"a": "b"}}


@pytest.fixture
def configured(space: Space, path: pathlib.Path) -> Deployment:
    """`k2`, the pods of which start as long as there is a ConfigMap."""
    space.core.create_namespaced_config_map(space.name, CONFIG)
    space.make("k2", replicas=WITH, envFrom=[{"configMapRef": {"name": "c1"}}], **serving(space))
    assert eventually(lambda: space.get("k2").status.ready_replicas == WITH)
    written(path.parent, space, "session=k2")
    return lambda: space.get("k2")


@pytest.mark.thorough
def test_a_restart_of_which_no_new_pod_becomes_ready_is_rolled_back_and_said_not_to_be_proven(
    space: Space, configured: Deployment, warden: client.Warden
) -> None:
    space.core.delete_namespaced_config_map("c1", space.name)
    before, whole = {*pods(space)}, configured()
    with pytest.raises(
        NotProven, match=r"does a new one become ready\? Its Deployment is rolled back .* undone \(clean\)"
    ):
        inject(warden, "rollout_restart")
    after = configured()
    assert (after.spec.template, after.metadata.annotations.keys()) == (
        whole.spec.template,
        whole.metadata.annotations.keys(),
    )
    assert before <= {*pods(space)}
    assert eventually(lambda: {*pods(space)} == before)


@pytest.mark.thorough
def test_a_restart_that_is_stuck_once_its_old_pods_have_gone_is_rolled_back_too(
    space: Space, configured: Deployment, warden: client.Warden
) -> None:
    strategy = {"type": "Recreate", "rollingUpdate": None}
    space.apps.patch_namespaced_deployment("k2", space.name, {"spec": {"strategy": strategy}})
    space.core.delete_namespaced_config_map("c1", space.name)
    assert inject(warden, "rollout_restart")["count"] == WITH
    restarted = configured().spec.template.metadata.annotations

    def mend() -> None:
        assert eventually(lambda: configured().spec.template.metadata.annotations != restarted)
        space.core.create_namespaced_config_map(space.name, CONFIG)

    mending = threading.Thread(target=mend)
    mending.start()
    assert undo(warden) == "clean by rollback"
    mending.join()
    assert ANNOTATION not in configured().metadata.annotations
    space.core.delete_namespaced_config_map("c1", space.name)


def test_a_container_is_killed_in_a_pod_that_stays(space: Space, path: pathlib.Path, warden: client.Warden) -> None:
    with_its_role("kill_container", space, path)
    before = pods(space)
    assert inject(warden, "kill_container") == {"container": "main", "killed": WITH}
    assert undo(warden) == "clean by run"
    after = pods(space)
    assert {*after} == {*before}
    assert [one.status.container_statuses[0].restart_count for one in after.values()] == [1] * WITH
    with pytest.raises(NotPossible, match=r"has no container 'other': it has main"):
        plan(path, "kill_container", container="other")


@pytest.mark.thorough
def test_a_container_that_no_signal_from_inside_can_end_is_refused(space: Space, path: pathlib.Path) -> None:
    spec = serving(space) | {"command": ["sleep", "1000"], "readinessProbe": None}
    space.make("k2", **spec)
    assert eventually(lambda: space.get("k2").status.ready_replicas == 1)
    written(path.parent, space, "session=k2")
    with pytest.raises(NotPossible, match="process 1 of main handles none of TERM, INT, QUIT"):
        plan(path, "kill_container")


def policies(space: Space) -> list[Any]:
    found: list[Any] = api.NetworkingV1Api(space.api).list_namespaced_network_policy(space.name).items
    return found


class Network(threading.Thread):
    """What a network that knows policies does, for pods that are reached from this machine: it drops what is denied."""

    def __init__(self, space: Space) -> None:
        super().__init__(daemon=True)
        self._space, self._over = space, threading.Event()
        self._addresses = [one.status.pod_ip for one in pods(space).values()]
        self._dropped = False
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            self._drop(bool(policies(self._space)))

    def end(self) -> None:
        self._over.set()
        self.join()
        self._drop(False)

    def _drop(self, wanted: bool) -> None:
        for address in self._addresses if wanted is not self._dropped else ():
            way = ["-I" if wanted else "-D", "OUTPUT", "-d", address, "-j", "DROP"]
            subprocess.run(["iptables", "-w", *way], check=True)
        self._dropped = wanted


def test_a_network_that_ignores_policies_leaves_a_denial_unproven_and_nothing_stays(
    space: Space, path: pathlib.Path, warden: client.Warden
) -> None:
    with_its_role("deny_network", space, path)
    with pytest.raises(
        NotProven, match=f"{PORT} still accepts connections .* does this cluster's network know policies"
    ):
        inject(warden, "deny_network")
    assert policies(space) == []


def test_a_denial_that_bites_is_proven_and_its_policy_bears_its_undo(
    space: Space, path: pathlib.Path, warden: client.Warden
) -> None:
    if shutil.which("iptables") is None or os.geteuid() != 0:
        pytest.skip("no iptables, or no root: nothing here could drop what a policy denies")
    with_its_role("deny_network", space, path)
    network = Network(space)
    try:
        assert inject(warden, "deny_network") == {"connections": "denied", "port": PORT, "count": WITH}
        [policy] = policies(space)
        assert (policy.spec.pod_selector.match_labels, policy.spec.ingress) == ({"session": "k1"}, None)
        assert json.loads(policy.metadata.annotations[ANNOTATION])["mark"] == "r1/f1"
        assert undo(warden) == "clean by run"
        assert policies(space) == []
    finally:
        network.end()


@pytest.mark.thorough
def test_a_denial_that_could_not_be_tried_is_refused(space: Space, path: pathlib.Path) -> None:
    with pytest.raises(NotPossible, match=r":1 can't be reached from here"):
        plan(path, "deny_network", port=1)
    space.make("k2", image=serving(space)["image"], command=["sleep", "1000"])
    assert eventually(lambda: space.get("k2").status.ready_replicas == 1)
    written(path.parent, space, "session=k2")
    with pytest.raises(NotPossible, match="its pods state no port"):
        plan(path, "deny_network")


def service(space: Space) -> Any:
    ports = [{"port": PORT}]
    body = {"metadata": {"name": "s1"}, "spec": {"selector": {"session": "k1"}, "ports": ports}}
    return space.core.create_namespaced_service(space.name, body).spec.cluster_ip


def who(address: str) -> str:
    """Which Deployment answers there."""
    with contextlib.suppress(OSError), socket.create_connection((address, PORT), timeout=1) as connection:
        return connection.recv(100).decode().partition("-")[0]
    return ""


@pytest.fixture
def s1(space: Space) -> Iterator[str]:
    """Where a Service leads to our pods; the proxy beside them is `k2`."""
    space.make("k2", **serving(space))
    address = service(space)
    assert eventually(lambda: space.get("k2").status.ready_replicas == 1 and who(address) == "k1")
    yield address
    space.core.delete_namespaced_service("s1", space.name)


def test_a_service_leads_to_a_proxy_and_back(space: Space, path: pathlib.Path, warden: client.Warden, s1: str) -> None:
    with_its_role("interpose", space, path, **GIVEN["interpose"])
    [ip] = [one.status.pod_ip for one in pods(space).values() if one.metadata.labels["session"] == "k2"]
    assert inject(warden, "interpose", **GIVEN["interpose"]) == {"service": "s1", "leads_to": [ip]}
    assert eventually(lambda: who(s1) == "k2")
    left = json.loads(space.core.read_namespaced_service("s1", space.name).metadata.annotations[ANNOTATION])
    assert left["before"] == {"spec": {"selector": {"session": "k1"}}}
    assert undo(warden) == "clean by run"
    assert eventually(lambda: who(s1) == "k1")
    assert space.core.read_namespaced_service("s1", space.name).spec.selector == {"session": "k1"}


@pytest.fixture
def toxiproxy(space: Space, s1: str) -> Iterator[Toxiproxy]:
    """A real one in a pod of `k3`, which carries on to `k1` by a Service of its own."""
    server, kubectl = shutil.which("toxiproxy-server"), shutil.which("kubectl")
    if server is None or kubectl is None:
        pytest.skip("no toxiproxy-server or no kubectl on the PATH")
    probe = {"tcpSocket": {"port": ADMIN}, "periodSeconds": 1}
    space.make("k3", image=with_python(space), command=["sh", "-c", TOXIPROXY], readinessProbe=probe)
    body = {"metadata": {"name": "past"}, "spec": {"selector": {"session": "k1"}, "ports": [{"port": PORT}]}}
    past = space.core.create_namespaced_service(space.name, body).spec.cluster_ip

    def pod() -> Any:
        return next((one for one in pods(space).values() if one.metadata.labels["session"] == "k3"), None)

    assert eventually(lambda: pod() is not None and pod().status.phase == "Running")
    command = [kubectl, "--kubeconfig", os.environ["KUBECONFIG"], "--namespace", space.name, "exec", "--stdin"]
    with open(server, "rb") as binary:
        subprocess.run(
            [*command, pod().metadata.name, "--", "sh", "-c", TAKEN], stdin=binary, check=True, timeout=READY_S
        )
    assert eventually(lambda: space.get("k3").status.ready_replicas == 1)
    found = Toxiproxy(f"http://{pod().status.pod_ip}:{ADMIN}")
    found.create(f"{past}:{PORT}", "k1", f"0.0.0.0:{PORT}")
    yield found
    space.core.delete_namespaced_service("past", space.name)


def late_s(address: str) -> float:
    """After what time `k1` has answered there."""
    began = time.monotonic()
    with socket.create_connection((address, PORT), timeout=READY_S) as connection:
        return time.monotonic() - began if connection.recv(100).startswith(b"k1-") else 0.0


@pytest.mark.thorough
@pytest.mark.parametrize("killed", [False, True])
def test_what_a_real_toxiproxy_in_between_holds_up_comes_late_and_nothing_once_it_is_taken_out(
    killed: bool,
    space: Space,
    path: pathlib.Path,
    warden: client.Warden,
    s1: str,
    toxiproxy: Toxiproxy,
    chaos: pathlib.Path,
) -> None:
    before = space.core.read_namespaced_service("s1", space.name)
    inject(warden, "interpose", service="s1", proxy="session=k3")
    assert eventually(lambda: who(s1) == "k1")
    toxiproxy.proxy_named("k1").add_toxic(name="late", type="latency", attributes={"latency": int(1000 * LATE_S)})
    assert eventually(lambda: late_s(s1) >= LATE_S)
    if killed:
        os.kill(warden.pid, signal.SIGKILL)
        reaper = Reaper(chaos, path)
        assert eventually(lambda: reaper.said("fault r1/f1 was left, "), within_s=2 * READY_S)
        assert reaper.end() == 0
    else:
        assert undo(warden) == "clean by run"
    assert eventually(lambda: 0 < late_s(s1) < LATE_S), (
        "it still holds up what passes it, which is nothing of the Service"
    )
    after = space.core.read_namespaced_service("s1", space.name)
    assert (after.spec, after.metadata.annotations) == (before.spec, before.metadata.annotations)


@pytest.mark.thorough
@pytest.mark.usefixtures("s1")
def test_a_proxy_that_is_not_one_deployment_or_a_service_of_others_is_refused(space: Space, path: pathlib.Path) -> None:
    for proxy, why in (("session=k9", "matches no Deployment"), ("app=streamspace-session", "matches 2 Deployments")):
        with pytest.raises(NotPossible, match=f"proxy = .*{why}"):
            plan(path, "interpose", service="s1", proxy=proxy)
    space.core.patch_namespaced_service("s1", space.name, {"spec": {"selector": {"session": "k2"}}})
    with pytest.raises(NotPossible, match="the Service s1 does not lead to agents/k1"):
        plan(path, "interpose", service="s1", proxy="session=k2")


def node(space: Space) -> Any:
    [name] = {one.spec.node_name for one in pods(space).values()}
    return space.core.read_node(name)


@pytest.fixture
def one_node(space: Space) -> Iterator[None]:
    """With pods of ours on one node, which is as it was afterwards."""
    if len({one.spec.node_name for one in pods(space).values()}) != 1:
        pytest.skip("the pods were placed on several nodes")
    before = node(space)
    yield
    after = space.core.read_node(before.metadata.name)
    assert (after.spec.unschedulable, after.spec.taints) == (before.spec.unschedulable, before.spec.taints)
    assert after.metadata.annotations == before.metadata.annotations


@pytest.mark.thorough
@pytest.mark.usefixtures("one_node")
def test_a_drain_is_refused_by_a_budget_and_where_others_would_be_hit(space: Space, path: pathlib.Path) -> None:
    budget(space, WITH)
    with pytest.raises(NotPossible, match=r"can't be drained: PodDisruptionBudget b1: 2 healthy, 2 needed, 0 may be"):
        plan(path, "drain_node")
    space.make("k2", **serving(space))
    assert eventually(lambda: space.get("k2").status.ready_replicas == 1)
    with pytest.raises(NotAllowed, match=rf"has pods of others as well: .*{space.name}/k2-.*: allow `others`"):
        plan(path, "drain_node")
    with pytest.raises(NotPossible, match=r"its pods run on .*: say which `node` it is to be"):
        plan(path, "drain_node", node="another")


class Kubelet(threading.Thread):
    """Tells the API what a node's kubelet would of pods that are bound to a node of its own, where nothing really runs."""

    def __init__(self, space: Space) -> None:
        super().__init__(daemon=True)
        self._space, self._over = space, threading.Event()
        self.node = space.name
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            for one in self._space.core.list_namespaced_pod(self._space.name).items:
                if one.spec.node_name == self.node:
                    with contextlib.suppress(api.ApiException):  # it is gone by now
                        self._tell(one)

    def end(self) -> None:
        self._over.set()
        self.join()

    def _tell(self, pod: Any) -> None:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None:
            self._space.core.delete_namespaced_pod(name, self._space.name, grace_period_seconds=0)
        elif not pod.status.container_statuses:
            running = {
                "name": "main",
                "ready": True,
                "restartCount": 0,
                "image": "none",
                "imageID": "",
                "state": RUNNING,
            }
            status = {"phase": "Running", "conditions": [READY], "containerStatuses": [running]}
            self._space.core.patch_namespaced_pod_status(name, self._space.name, {"status": status})


@pytest.fixture
def kubelet(space: Space) -> Iterator[Kubelet]:
    """A node on which the scheduler places nothing, with two pods of `k2`."""
    taint = {"key": "reprise.test", "effect": "NoSchedule"}
    space.core.create_node({"metadata": {"name": space.name}, "spec": {"taints": [taint]}})
    space.core.patch_node_status(space.name, {"status": {"conditions": [READY]}})
    kubelet = Kubelet(space)
    try:
        space.make("k2", replicas=0)
        bound = {"nodeName": kubelet.node}
        space.apps.patch_namespaced_deployment("k2", space.name, {"spec": {"template": {"spec": bound}}})
        space.scale("k2", WITH)
        assert eventually(lambda: space.get("k2").status.ready_replicas == WITH)
        yield kubelet
        space.delete("k2")
        assert eventually(lambda: not [one for one in pods(space).values() if one.spec.node_name == kubelet.node])
    finally:
        kubelet.end()
        space.core.delete_node(space.name)


def on(node: str, space: Space) -> set[str]:
    return {uid for uid, one in pods(space).items() if one.spec.node_name == node}


def drain(space: Space, path: pathlib.Path, warden: client.Warden, component: str, node: str) -> None:
    """The node, which has the pods of this component and no others."""
    with_its_role("drain_node", space, path)
    budget(space, 0, component)
    before = on(node, space)
    proof = inject(warden, "drain_node")
    assert (proof["node"], proof["count"], len(proof["budgets"])) == (node, WITH, 1)
    assert "PodDisruptionBudget b1: " in proof["budgets"][0]
    assert not {*pods(space)} & before
    broken = space.core.read_node(node)
    assert broken.spec.unschedulable
    assert json.loads(broken.metadata.annotations[ANNOTATION])["before"] == {"spec": {"unschedulable": None}}
    assert (undo(warden), space.get(component).status.ready_replicas) == ("clean by run", WITH)
    assert not space.core.read_node(node).spec.unschedulable


def test_a_node_is_drained_as_budgets_allow_and_uncordoned(
    space: Space, path: pathlib.Path, kubelet: Kubelet, warden: client.Warden
) -> None:
    written(path.parent, space, "session=k2")
    drain(space, path, warden, "k2", kubelet.node)


@pytest.mark.thorough
@pytest.mark.usefixtures("one_node")
def test_a_real_node_is_drained(space: Space, path: pathlib.Path, warden: client.Warden) -> None:
    drain(space, path, warden, "k1", node(space).metadata.name)


def test_a_taint_ends_the_pods_on_a_node_and_leaves_its_other_taints(
    space: Space, path: pathlib.Path, kubelet: Kubelet, warden: client.Warden
) -> None:
    written(path.parent, space, "session=k2")

    def taints() -> set[str]:
        return {f"{one.key}:{one.effect}" for one in space.core.read_node(kubelet.node).spec.taints} - STARTING

    with_its_role("taint_node", space, path)
    before = on(kubelet.node, space)
    assert inject(warden, "taint_node") == {"node": kubelet.node, "pods": "gone", "count": WITH}
    assert not on(kubelet.node, space) & before
    assert taints() == {"reprise.test:NoSchedule", "chaosreprise/cut-off:NoExecute"}
    assert undo(warden) == "clean by run"
    assert taints() == {"reprise.test:NoSchedule"}
    assert space.get("k2").status.ready_replicas == WITH


@pytest.mark.thorough
@pytest.mark.usefixtures("one_node")
def test_a_tainted_node_loses_its_pods_and_gets_them_back(
    space: Space, path: pathlib.Path, warden: client.Warden
) -> None:
    name = node(space).metadata.name
    others = space.core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={name}").items
    if strangers := [one for one in others if one.metadata.namespace != space.name]:
        with pytest.raises(NotAllowed, match=r"has pods of others as well: .*: allow `others`"):
            plan(path, "taint_node")
        pytest.skip(f"the node {name} has {len(strangers)} pods of others, which it would end: they were named")
    with_its_role("taint_node", space, path)
    before = {*pods(space)}
    assert inject(warden, "taint_node") == {"node": name, "pods": "gone", "count": WITH}
    assert not {*pods(space)} & before
    assert (undo(warden), ready(space)) == ("clean by run", WITH)


@pytest.mark.parametrize("verb", KINDS)
def test_a_role_is_what_its_fault_asks_for(verb: str) -> None:
    fault = registry.get(f"agents.{verb}")
    assert isinstance(fault, on_pods.OnPods)
    assert {*rules_of(verb)} == {tuple(right) for right in fault.needed}
    assert {*rules_of(verb, "ClusterRole")} == {tuple(right) for right in fault.everywhere}


def test_a_right_that_is_missing_is_named_before_anything_is_touched(space: Space, path: pathlib.Path) -> None:
    before = {*pods(space)}
    space.account()
    for verb in KINDS:
        here, everywhere = rules_of(verb), rules_of(verb, "ClusterRole")
        for missing in (one for one in here if one not in everywhere):
            space.allow(*(one for one in here if one != missing), everywhere=everywhere)
            assert eventually(lambda: refused(path, verb, missing, f"namespace {space.name}")), missing  # noqa: B023
        for missing in everywhere:
            space.allow(*here, everywhere=[one for one in everywhere if one != missing])
            assert eventually(lambda: refused(path, verb, missing, "cluster")), missing  # noqa: B023
    assert {*pods(space)} == before


def refused(path: pathlib.Path, verb: str, missing: Rule, where: str) -> bool:
    does, group, resource = missing
    try:
        plan(path, verb, **GIVEN.get(verb, {}))
    except NotAllowed as error:
        return str(error).startswith(f"the account may not {does} {resource}{group and '.'}{group} in the {where}: ")
    except NotPossible:
        pass
    return False
