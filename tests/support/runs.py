"""Real runs of real experiments, by the same command line as everybody's, and a look at them while they go on."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from chaosreprise import criteria, procs
from chaosreprise.criteria.experiments import experiments
from chaosreprise.stack import starter

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHAOS = str(pathlib.Path(sys.executable).with_name("chaos"))
EXPERIMENT = ROOT / "experiments" / "agent-failover.json"
# Short, so that many runs fit: reserve of 2 and 2 an agent, held for 0.9 s; the lab below settles in about a second.
VARIABLES = {"hold_s": 0.9, "quiet_s": 0.2, "baseline_s": 0.5, "exposure": 1, "steps_per_s": 5.0, "reads_per_s": 10.0}
SHORT = [text for name, value in VARIABLES.items() for text in ("--var", f"{name}:{type(value).__name__}={value}")]
SHORTEST = {"hold_s": 0.3, "quiet_s": 0.1, "baseline_s": 0.1, "exposure": 1, "steps_per_s": 5.0, "reads_per_s": 2.0}
LAB = {
    "agents": 2,
    "users": 12,
    "heartbeat_s": 0.2,
    "reconcile_s": 0.1,
}  # on which a run settles within a second; more looks a second cost more than they save
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("REPRISE_")}
JUDGE = """
import json, pathlib, sys
from chaosreprise import checker, history
print(json.dumps(checker.judge(history.load(pathlib.Path(sys.argv[1])), "end").to_json()))
"""


def start_lab(defect: str | None = None, **more: Any) -> starter.Stack:
    """A lab with short timers, so that a run on it settles within a second, and watched half as often as others."""
    before = dict(os.environ)
    os.environ.pop("REPRISE_LAB_DEFECT", None)
    try:
        if defect:
            os.environ["REPRISE_LAB_DEFECT"] = defect
        lab = starter.start(**{**LAB, **more}, owned=False)
    finally:
        os.environ.clear()
        os.environ.update(before)
    lab.platform_file.write_text(lab.platform_file.read_text().replace("hz = 50", "hz = 25"))
    return lab


class Ran:
    """A finished run: exit code, what it printed, its directory."""

    def __init__(self, code: int, output: str, directory: pathlib.Path) -> None:
        self.code, self.output, self.directory = code, output, directory

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "verdict.json").read_text())
        return found

    def __repr__(self) -> str:
        return self.told()

    def told(self) -> str:
        """What a failing test says of it: first each check that is not true, in full. A string, which pytest does not cut."""
        path = self.directory / "verdict.json"
        checks = self.verdict()["checks"] if path.exists() else {}
        told = [f"{name}: {found['verdict']}" for name, found in checks.items() if found["verdict"] != "true"]
        for name, found in checks.items():
            told += [f"{name}: {witness['say']}" for witness in found.get("witnesses", ())]
            told += [f"{name}: {doubt['what']}: {doubt['why']}" for doubt in found.get("scope", ())]
        return "\n".join([*told, f"exit {self.code}, {self.directory}", self.output])


class Running:
    """An experiment under way, of which a test waits for a moment, to break something then."""

    def __init__(
        self,
        platform: pathlib.Path | str,
        folder: pathlib.Path,
        experiment: pathlib.Path,
        arguments: list[str],
        env: dict[str, str],
    ) -> None:
        self.folder = folder
        environment = {
            **os.environ,
            "REPRISE_PLATFORM": str(platform),
            "REPRISE_RUNS": str(folder / "runs"),
            "REPRISE_SEED": "7",
            **env,
        }
        self.process = subprocess.Popen(
            [CHAOS, "--no-version-check", "run", *arguments, str(experiment)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def events(self, writer: str) -> list[dict[str, Any]]:
        path = self.folder / "runs" / "latest" / "history" / f"{writer}.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def until(self, writer: str, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        """Wait for an event in the growing history."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.process.poll() is None:
            for event in self.events(writer):
                if holds(event):
                    return event
            time.sleep(0.01)
        raise AssertionError(f"no such event in {writer}: {self.finish()!r}")

    def until_fault(self, state: str, timeout_s: float = 60) -> dict[str, Any]:
        return self.until("warden", lambda event: event.get("state") == state, timeout_s)

    def pid_of(self, writer: str) -> int:
        return int(self.until(writer, lambda event: event["type"] == "segment")["pid"])

    def finish(self, within_s: float = 120.0) -> Ran:
        output, _ = self.process.communicate(timeout=within_s)
        return Ran(self.process.returncode, output, (self.folder / "runs" / "latest").resolve())


Begin = Callable[..., Running]


def unproven(name: str, verdict: dict[str, Any]) -> set[str]:
    """What of the criteria that an experiment declares its run did not prove: each with a check that was to, and is not true."""
    checks = {check: found["verdict"] for check, found in verdict["checks"].items()}
    proving = {one: checks.keys() & {*criteria.covered(one).checks} for one in experiments()[name].criteria}
    lacks = {f"{one}: no check" for one, names in proving.items() if not names}
    return lacks | {f"{one}: {check}" for one, names in proving.items() for check in names if checks[check] != "true"}


def recheck(history: pathlib.Path, to: pathlib.Path) -> tuple[int, str, dict[str, Any]]:
    """`chaos reprise recheck` of a copy, without REPRISE_* and with no lab to look at: exit code, text, verdict."""
    shutil.copytree(history, to / "history")
    done = subprocess.run([CHAOS, "reprise", "recheck", str(to)], env=CLEAN, capture_output=True, text=True)
    judged = subprocess.run(
        [sys.executable, "-c", JUDGE, str(to / "history")], env=CLEAN, capture_output=True, text=True, check=True
    )
    return done.returncode, done.stdout + done.stderr, json.loads(judged.stdout)


def processes_of(folder: pathlib.Path) -> dict[int, str]:
    """Every process that mentions the folder of the run in its command line or environment."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in text and procs.incarnation(int(entry.name)):
            found[int(entry.name)] = text.replace(b"\0", b" ").decode(errors="replace")[:200]
    return found
