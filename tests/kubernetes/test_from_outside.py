"""Whole runs from outside of a cluster, as docs/kubernetes.md shows them: the lab's control plane and database are reached by ports that lead to pods."""

import pathlib
import time
from collections.abc import Iterator

import pytest
import yaml
from clusters import Space
from inpods import Lab, lab_in, shown
from runs import EXPERIMENT, SHORTEST, Ran, Running
from toystack import free_port

from chaosreprise.history import load
from chaosreprise.history.events import POD_ENDED, WAY, Coverage

pytestmark = [pytest.mark.kubernetes, pytest.mark.thorough, pytest.mark.timeout(1200)]
RATES = {"steps_per_s": 2.0, "reads_per_s": 5.0, "lists_per_s": 1.0}
VARIABLES = SHORTEST | RATES | {"hold_s": 6.0}
SHORT = [text for name, value in VARIABLES.items() for text in ("--var", f"{name}:{type(value).__name__}={value}")]
RUN_S, AWAY_S = 900.0, 3.0
LOCAL = ("18000", "15432")
REQUIRED = ("lost", "duplicate", "phantom", "residue", "split-brain")


class Outside:
    """A machine beside the cluster: a folder like the checkout, and who types there what the page shows."""

    def __init__(self, folder: pathlib.Path, lab: Lab) -> None:
        self.lab, self._folder = lab, folder
        (folder / "experiments").symlink_to(EXPERIMENT.parent)
        self._ports = {stated: str(free_port()) for stated in LOCAL}
        *preparing, self._doctor, self._run = shown("From outside")
        for line in preparing:
            self._typed(line)
        self.kubeconfig, file = folder / "outside" / "kubeconfig", folder / "outside" / "platform.toml"
        file.write_text(self._here(file.read_text()))

    def _here(self, text: str) -> str:
        for stated, free in self._ports.items():
            text = text.replace(stated, free)
        return text

    def _typed(self, line: str) -> str:
        return self.lab.shell(self._here(line), self._folder)

    def doctor(self) -> str:
        return self._typed(self._doctor)

    def running(self, experiment: str = "", relayed: bool = False, short: bool = False) -> Running:
        """What the page shows last. `relayed`: the API server is reached by a way that the test can break."""
        if relayed:
            to = f"--server=https://127.0.0.1:{self.lab.space.relay.port}"
            name = yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["name"]
            self.lab.shell(f"kubectl --kubeconfig {self.kubeconfig} config unset clusters")
            self.lab.shell(
                f"kubectl --kubeconfig {self.kubeconfig} config set-cluster {name} {to} --insecure-skip-tls-verify"
            )
        assignment, _, _, shown = self._run.split()
        file = self._folder / (experiment or shown)
        return Running(self._folder / assignment.partition("=")[2], self._folder, file, SHORT if short else [], {})


@pytest.fixture
def lab(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield from lab_in(space, tmp_path_factory.mktemp("lab"))


@pytest.fixture
def outside(lab: Lab, tmp_path: pathlib.Path) -> Outside:
    return Outside(tmp_path, lab)


def closed(ran: Ran) -> list[Coverage]:
    """When a way was not open."""
    found = [event for event in load(ran.directory / "history").events if isinstance(event, Coverage)]
    return [one for one in found if one.of.startswith(WAY) and not one.on and one.why != "done"]


def ended(ran: Ran) -> list[Coverage]:
    """... since its pod was ended."""
    return [one for one in closed(ran) if one.why.startswith(POD_ENDED)]


def judged(ran: Ran, *checks: str) -> dict[str, str]:
    return {name: ran.verdict()["checks"][name]["verdict"] for name in checks or ran.verdict()["checks"]}


def test_what_the_page_shows_is_agent_failover_unchanged_and_true(outside: Outside) -> None:
    assert "not ok" not in outside.doctor()
    ran = outside.running().finish(RUN_S)
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran
    assert judged(ran, *REQUIRED) == dict.fromkeys(REQUIRED, "true")


def test_the_control_planes_pod_is_ended_by_somebody_else_and_the_platform_is_not_blamed(outside: Outside) -> None:
    running = outside.running(short=True)
    running.until_fault("proven", RUN_S)
    outside.lab("delete", "pod", "--selector=app=lab-control-plane", "--grace-period=0", "--wait=false")
    ran = running.finish(RUN_S)
    [gap] = ended(ran)
    assert gap.of == "forward/api"
    assert [one for one in ran.verdict()["not_tested"] if one["what"] == "calls by forward/api"], ran
    assert ran.verdict()["verdict"] in ("true", "unknown"), ran
    assert "false" not in judged(ran).values(), ran


def test_an_experiment_that_ends_the_control_planes_pod_is_true(outside: Outside) -> None:
    ran = outside.running("experiments/control-plane-crash-queued.json", short=True).finish(RUN_S)
    assert (ran.code, ran.verdict()["verdict"]) == (0, "true"), ran
    assert {gap.of for gap in ended(ran)} == {"forward/api"}
    assert not [one for one in ran.verdict()["not_tested"] if POD_ENDED in one["why"]], "it is that fault's"


def test_a_way_that_breaks_for_seconds_is_a_gap_and_nobodys_fault(outside: Outside) -> None:
    running = outside.running(relayed=True, short=True)
    running.until_fault("proven", RUN_S)
    outside.lab.space.relay.cut()
    time.sleep(AWAY_S)
    outside.lab.space.relay.mend()
    ran = running.finish(RUN_S)
    assert {gap.of for gap in closed(ran) if "the API server" in gap.why} == {"forward/api", "forward/database"}, ran
    assert ran.verdict()["verdict"] in ("true", "unknown"), ran
    assert "false" not in judged(ran).values(), ran


@pytest.mark.parametrize("breaks", [False, True])
def test_a_lab_that_loses_commands_is_found_out_from_there_and_never_true(outside: Outside, breaks: bool) -> None:
    outside.lab.set({"REPRISE_LAB_DEFECT": "drop-queue"})
    outside.lab.ready()
    running = outside.running(relayed=breaks)
    if breaks:
        running.until_fault("proven", RUN_S)
        outside.lab.space.relay.cut()
        time.sleep(AWAY_S)
        outside.lab.space.relay.mend()
    ran = running.finish(RUN_S)
    lost = judged(ran, "lost")["lost"]
    assert (ran.verdict()["verdict"] != "true", lost) == (True, "false") or (breaks and lost == "unknown"), ran
