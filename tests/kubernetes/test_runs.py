"""Whole runs whose effects are known from Kubernetes alone.

The lab acts on slots of its keeper; what happens to one is done to a Deployment of its name, as the agents of StreamSpace do
it, so that the evidence is a real cluster's and the faults are the lab's.
"""

import json
import pathlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Space
from runs import EXPERIMENT, SHORT, Ran, Running, start_lab

from chaosreprise.stack import starter

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(300)]
TOGETHER_S = 0.05  # within which the lines of one change are written
SETTLE = "settle = { backoff_s = 4, reconcile_s = 1, slowest_s = 0.1 }"
FOUND = {"drop-queue": "lost", None: None}


class Mirror(threading.Thread):
    """Does to Deployments what is done to slots."""

    def __init__(self, lab: starter.Stack, space: Space) -> None:
        super().__init__(daemon=True)
        self._path, self._space, self._over = lab.dir / "slots.jsonl", space, threading.Event()
        self.failed: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._path.open() as file:
                while not self._over.wait(TOGETHER_S):
                    first = file.readlines()
                    time.sleep(TOGETHER_S if first else 0)
                    self._do([json.loads(line) for line in first + file.readlines()])
        except Exception as error:  # noqa: BLE001 - whatever it was, `end` says it
            self.failed = error

    def end(self) -> None:
        self._over.set()
        self.join()
        assert self.failed is None

    def _do(self, lines: list[dict[str, Any]]) -> None:
        """One generation is one change: an end comes with that of each process, a beginning with the first."""
        changes: dict[tuple[str, int], set[str]] = {}
        specs = {line["object"]: line["spec"] for line in lines if line.get("mark") == "made"}
        for line in lines:
            if line.get("kind") == "slot" and line["mark"] not in ("crash", "back"):
                changes.setdefault((line["object"], line["gen"]), set()).add(line["mark"])
        for (name, _), marks in changes.items():
            if "made" in marks:
                self._space.make(name, str(specs[name]["memory"]))
            elif "gone" in marks:
                self._space.delete(name)
            else:
                self._space.scale(name, 1 if "up" in marks else 0)


@pytest.fixture(params=FOUND, ids=str, scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[tuple[starter.Stack, str | None]]:
    stack = start_lab(request.param)
    try:
        yield stack, FOUND[request.param]
    finally:
        stack.end()


def test_a_run_is_judged_by_what_a_watch_of_deployments_has_shown(
    lab: tuple[starter.Stack, str | None], own: Space, tmp_path: pathlib.Path
) -> None:
    stack, violated = lab
    experiment = tmp_path / "experiment.json"
    experiment.write_text(json.dumps(requiring("lost", "phantom", "residue")))
    mirror = Mirror(stack, own)
    try:
        ran = Running(platform_of(stack, own), tmp_path, experiment, SHORT, {}).finish()
    finally:
        mirror.end()
    checks = ran.verdict()["checks"]
    assert effects(ran) >= {"made", "down", "up", "gone"}
    if violated is None:
        assert ran.verdict()["verdict"] == "true", ran
    else:
        assert checks[violated]["verdict"] == "false", ran


@pytest.mark.parametrize("lab", [None], indirect=True)
def test_what_a_deployment_can_not_show_is_refused_when_it_is_required(
    lab: tuple[starter.Stack, str | None], own: Space, tmp_path: pathlib.Path
) -> None:
    ran = Running(platform_of(lab[0], own), tmp_path, EXPERIMENT, SHORT, {}).finish()
    assert ran.code != 0
    assert "split-brain" in ran.output
    assert "evidence.slots names no process" in ran.output


def requiring(*checks: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXPERIMENT.read_text())
    arguments = found["controls"][0]["provider"]["arguments"]
    others = {*arguments["require"], *arguments["optional"]} - {*checks}
    arguments["require"], arguments["optional"] = [*checks], sorted(others)
    return found


def platform_of(stack: starter.Stack, space: Space) -> pathlib.Path:
    text = stack.platform_file.read_text()
    text = re.sub(r'\[evidence\.slots\]\nkind = "files"\npath = .*\n', '[evidence.slots]\nkind = "kubernetes"\n', text)
    text = re.sub(r"settle = .*", SETTLE, text).replace("hz = 25", "hz = 10")
    path = stack.dir / "on-kubernetes.toml"
    path.write_text(f'{text}\n[kubernetes]\nnamespace = "{space.name}"\nkubeconfig = "{space.kubeconfig}"\n')
    return path


def effects(ran: Ran) -> set[str]:
    """Which there were in the ledger of slots, each with an interval: no look at a slot of the keeper has one."""
    lines = (ran.directory / "history" / "recorder.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, lines) if line["type"] == "effect" and line["ledger"] == "slots"]
    assert all("inc" not in line for line in found)
    return {line["mark"] for line in found}
