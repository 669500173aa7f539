"""Witnesses in real pods, as a session's Deployment runs them: who they are, what they remember, and what is judged by that."""

import asyncio
import contextlib
import os
import pathlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import yaml
from clusters import BASE, Space, with_python
from kubernetes import client

from chaosreprise import checker, witness
from chaosreprise.clock import SystemClock
from chaosreprise.history import Answer, Contract, Coverage, History, Segment, Sign, Submit, Timed
from chaosreprise.observe.witnesses import WitnessSource

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
TOKEN, SESSION, HOME = "in-the-image", "alice-reprise-witness-3f2a9b1c", "/config"
IMAGE = os.environ.get("REPRISE_WITNESS_IMAGE", "")
NO_IMAGE = "REPRISE_WITNESS_IMAGE is not set: it names an image of k8s/witness that the nodes of the cluster have (docs/witness.md)"


def address(space: Space) -> str:
    """Of this machine, as pods reach it."""
    (node,) = [one for one in space.core.list_node().items[0].status.addresses if one.type == "InternalIP"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((node.address, 9))
        return str(towards.getsockname()[0])


def named(space: Space, port: int) -> str:
    """The service of k8s/witness, by whose name the image finds a run."""
    service, slices = yaml.safe_load_all((BASE.parent / "witness" / "service.yaml").read_text())
    slices["endpoints"][0]["addresses"] = [address(space)]
    slices["ports"][0]["port"] = port
    space.core.create_namespaced_service(space.name, service)
    client.DiscoveryV1Api(space.api).create_namespaced_endpoint_slice(space.name, slices)
    return f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/"


def by_config_map(space: Space, sink: str) -> None:
    """As the platform's agent makes it, but for the script, which stands in a ConfigMap here: no image has to be built."""
    script = {"witness.py": pathlib.Path(witness.__file__).read_text()}
    space.core.create_namespaced_config_map(space.name, {"metadata": {"name": "witness"}, "data": script})
    container = {
        "name": "session",
        "image": with_python(space),
        "imagePullPolicy": "Never",
        "command": ["python3", "-I", "-S", "/opt/reprise/witness.py"],
        "env": [
            {"name": name, "value": value}
            for name, value in ((witness.SINK, sink), (witness.TOKEN, TOKEN), (witness.HOME, HOME))
        ],
        "securityContext": {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 65532, "allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "script", "mountPath": "/opt/reprise"}, {"name": "home", "mountPath": HOME}],
    }  # fmt: skip
    deploy(space, container, [{"name": "script", "configMap": {"name": "witness"}}])


def by_image(space: Space, sink: str) -> None:
    """Of the image of k8s/witness as it is: all that it is told stands in it."""
    assert sink == "http://reprise-witness:9470/", "the default of the image"
    hardened = {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "allowPrivilegeEscalation": False}
    container = {"name": "session", "image": IMAGE, "imagePullPolicy": "Never", "securityContext": hardened}
    deploy(space, container | {"volumeMounts": [{"name": "home", "mountPath": HOME}]}, [])


def deploy(space: Space, container: dict[str, Any], volumes: list[dict[str, Any]]) -> None:
    labels = {"app": "streamspace-session", "session": SESSION}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"session": SESSION}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "containers": [container],
                "volumes": [*volumes, {"name": "home", "emptyDir": {}}],
                "securityContext": {"fsGroup": 65532},
            },
        },
    }
    space.apps.create_namespaced_deployment(space.name, {"metadata": {"name": SESSION, "labels": labels}, "spec": spec})


class Run:
    """A history in which one session was started, and what its processes said meanwhile."""

    def __init__(self) -> None:
        self.began = time.monotonic_ns()
        self.events: list[Timed] = [
            Submit(lo=self.began, hi=self.began, cmd="c1", op="start", intended=self.began, key="k1"),
            Answer(lo=self.began, hi=self.began, cmd="c1", outcome="ok", session=SESSION, id="p1"),
        ]
        for of in ("recorder", "load"):
            self.events.append(Coverage(lo=self.began, hi=self.began, of=of, on=True, why="opened"))

    def signs(self) -> list[Sign]:
        return [event for event in self.events if isinstance(event, Sign)]

    def boots(self) -> list[str]:
        return list(dict.fromkeys(sign.inc[1] for sign in self.signs()))

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():  # the test's own time limit ends it
            await asyncio.sleep(0.05)

    def judged(self, **promises: bool) -> dict[str, checker.verdict.Finding]:
        contract = Contract(
            sha="", seed=1, require=["split-brain", "state-loss"], optional=[], exposure={}, objectives=[], settle_ns=0, promises=promises,
            claims=[], refusals=[], attribution=[], bounds={"start": 10**9}, offline_ns=0, known=[], signs=["witness"],
        )  # fmt: skip
        segment = Segment(v=1, writer="test", run="r", boot="b", host="h", pid=1, mono=self.began, wall=0)
        return checker.judge(
            History([segment], contract, sorted(self.events, key=lambda event: event.hi), []), "during"
        ).checks


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Run, int]]:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    run, stop = Run(), asyncio.Event()
    source = WitnessSource("witness", "0.0.0.0", port, TOKEN, 10)
    task = asyncio.create_task(source.run(SystemClock(), run.events.append, stop))
    try:
        yield run, port
    finally:
        stop.set()
        await task


@pytest.mark.parametrize(
    "deployed", [by_config_map, pytest.param(by_image, marks=[pytest.mark.thorough, pytest.mark.skipif(not IMAGE, reason=NO_IMAGE)])]
)  # fmt: skip
def test_pods_of_a_session_are_told_apart_and_what_they_lose_is_found(
    space: Space, deployed: Callable[[Space, str], None]
) -> None:
    async def live() -> None:
        async with listening() as (run, port):
            deployed(space, named(space, port))
            await run.until(lambda: len(run.signs()) > 5)
            assert {sign.session for sign in run.signs()} == {SESSION}, "known by the name of its pod"
            assert {sign.kept for sign in run.signs()} == {1}
            clean = run.judged(memory=True, files=True)
            assert (clean["split-brain"].count, clean["state-loss"].count) == ((0, 0), (0, 0))

            await asyncio.to_thread(space.scale, SESSION, 0)
            await run.until(lambda: run.signs()[-1].ending)
            await asyncio.to_thread(space.scale, SESSION, 1)
            await run.until(lambda: len(run.boots()) == 2 and run.signs()[-1].number > 5)
            woken = run.judged(memory=True, files=True)
            assert woken["split-brain"].count == (0, 0), "one after the other"
            assert woken["state-loss"].labels == {"memory": 1, "files": 1}, "the home was that of the first pod alone"
            assert run.judged(files=False)["state-loss"].count == (0, 0), "nobody had promised anything"

            await asyncio.to_thread(space.scale, SESSION, 2)
            await run.until(lambda: len(run.boots()) == 3)
            third = [sign for sign in run.signs() if sign.inc[1] == run.boots()[2]]
            await run.until(
                lambda: any(sign.lo > third[0].hi and sign.inc[1] == run.boots()[1] for sign in run.signs())
            )
            await run.until(lambda: sum(sign.inc[1] == run.boots()[2] for sign in run.signs()) > 3)
            found = run.judged(files=False)["split-brain"]
            assert (found.value, found.count) == ("false", (1, 1))

    asyncio.run(live())
