"""Runs each planted defect's experiment on a lab of its own, and says what the checks found: docs/detection.md.

A defect is found when its own check is false; a check that is false although the defect does not break what it judges
is a false alarm, and so is anything but `true` on a lab without a defect. Runs are short, one after the other, each with a
seed of its own; nothing is run again because of what it found.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import detection_page

from chaosreprise.lab.defects import DEFECTS as OF_STREAMSPACE
from chaosreprise.lab.defects import VARIABLE, Defect
from chaosreprise.lab.sandbox.defects import DEFECTS as OF_SANDBOXES

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHAOS = pathlib.Path(sys.executable).with_name("chaos")
EMBEDDED = """version = 1
kind = "embedded"
name = "detect"
[lab]
agents = 3
users = 12
heartbeat_s = {heartbeat_s}
reconcile_s = 0.02
"""
# Held for three times as long as the lab takes to miss an agent, so that everything that has to do with it may show.
VARIABLES = {
    "hold_s": 5.0, "quiet_s": 0.2, "baseline_s": 0.5, "exposure": 2, "steps_per_s": 10.0, "reads_per_s": 5.0,
    "reserve": 6, "sessions_hit": 3, "outage_s": 1.0, "create_s": 5.0, "creates": 24,
}  # fmt: skip
# With a defect: what is slow by it misses these limits, and enough waits for an agent to be late if it comes drop by drop.
STRICT = {"answered_s": 4.0, "noticed_s": 3.0}
HELD = {"exposure": 4}
# Of more stops the last is later than the platform's bound.
MORE = {
    "one-at-a-time": {  # few, for a busy machine
        "steps_per_s": 18.0,
        "reads_per_s": 1.0,
        "creates": 6,
        "requests_per_s": 15.0,
    },
    "later-stops": {"exposure": 5},
    "second-connection": {"exposure": 5, "hold_s": 4.0, "noticed_s": 10.0},  # of a lab that takes longer to notice
    "written-off-at-the-end": {"exposure": 2},  # its reserve is shared among three restarts
}
HEARTBEAT_S = 0.5
PLANTED = {name: defect for name, defect in (OF_STREAMSPACE | OF_SANDBOXES).items() if defect.experiment}
LONGER = {
    "sandbox-agent-freeze": {"hold_s": 12.0},  # than one attempt of the data plane
    "capacity": {
        "baseline_s": 4.0,
        "steps_per_s": 15.0,
        "requests_per_s": 5.0,
        "sessions_least": 18,
        "statement_ms": 500.0,
    },
    "latency-slo": {"baseline_s": 4.0, "steps_per_s": 15.0, "reads_per_s": 15.0},  # for the quantiles that it states
}
IN_A_CLUSTER = {
    "sandbox-pods": ("a sandbox with sessions in pods", "tests/kubernetes/test_sandbox_pods.py"),
    "agent-rollout": ("a platform whose agents are pods", "tests/kubernetes/test_replaced_agents.py"),
    "agent-evicted": ("a platform whose agents are pods", "tests/kubernetes/test_replaced_agents.py"),
    "agent-container-killed": ("a platform whose agents are pods", "tests/kubernetes/test_replaced_agents.py"),
}
DEFECTS = {name: defect for name, defect in PLANTED.items() if defect.experiment not in IN_A_CLUSTER}
# Where commands have to get stuck after the proof, and before the control plane gives the agent up.
SLOWER = {"second-connection": 1.0}
LIMIT_S = 180
HEAD = """# Detection

Made by `scripts/detect` from real runs on labs with one planted defect each (`chaos reprise lab defects`). *Found*: in how many of its
runs the defect's own check was false. *Also*: what else was false, and rightly, since the defect breaks that too. *Wrongly
accused*: checks that were false and should not have been. Each run is short, has a seed of its own, and counts: none is run again.

"""


class Ran(NamedTuple):
    """One run: the verdict as a whole, and the checks by their values."""

    verdict: str
    checks: dict[str, str]
    labels: list[str]
    took_s: float
    why: tuple[str, ...] = ()

    def false(self) -> set[str]:
        return {name for name, value in self.checks.items() if value == "false"}


class Row(NamedTuple):
    """All runs of one defect, or of an experiment without one."""

    defect: Defect | None
    experiment: str
    runs: list[Ran]

    def name(self) -> str:
        return self.defect.name if self.defect else self.experiment

    def found(self) -> int:
        """In how many runs its own check was false, with its label if it has one."""
        own, label = (self.defect.check, self.defect.label) if self.defect else ("", None)
        return sum(own in ran.false() and (label is None or label in ran.labels) for ran in self.runs)

    def also(self) -> list[str]:
        named = set(self.defect.also) if self.defect else set()
        return sorted(set().union(*(ran.false() for ran in self.runs)) & named)

    def wrongly(self) -> list[str]:
        legal = {self.defect.check, *self.defect.also} if self.defect else set()
        return sorted(set().union(*(ran.false() for ran in self.runs)) - legal)

    def passed(self) -> int:
        return sum(ran.verdict == "true" for ran in self.runs)

    def good(self) -> bool:
        wanted = self.found() if self.defect else self.passed()
        return wanted == len(self.runs) and not self.wrongly()


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether the checks find what is planted in labs.")
    parser.add_argument(
        "names", nargs="*", help="defects, or experiments to run without one; all of both without a name"
    )
    parser.add_argument("--runs", type=int, default=1, help="of each, with the seeds from SEED on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--log", type=pathlib.Path, help="keeps each run as a line; the same again goes on where it ends"
    )
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the runs' directories")
    asked = parser.parse_args()
    log = Log(asked.log)
    rows = []
    for defect, experiment in _wanted(asked.names):
        row = Row(defect, experiment, [])
        for seed in range(asked.seed, asked.seed + asked.runs):
            ran = log.find(row.name(), seed) or run(experiment, defect, seed, asked.keep)
            log.add(row.name(), seed, ran)
            row.runs.append(ran)
        print(told(row), flush=True)
        rows.append(row)
    if not asked.names:
        detection_page.write("detect", page(rows))
    return 0 if all(row.good() for row in rows) else 1


class Log:
    """The runs so far, by name and seed; in a file if there is one."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._known = {(line["name"], line["seed"]): Ran(**line["ran"]) for line in map(json.loads, lines)}

    def find(self, name: str, seed: int) -> Ran | None:
        return self._known.get((name, seed))

    def add(self, name: str, seed: int, ran: Ran) -> None:
        if self._path is not None and (name, seed) not in self._known:
            with self._path.open("a") as file:
                file.write(json.dumps({"name": name, "seed": seed, "ran": ran._asdict()}) + "\n")
        self._known[name, seed] = ran


def _wanted(names: list[str]) -> Iterator[tuple[Defect | None, str]]:
    experiments = sorted({path.stem for path in (ROOT / "experiments").glob("*.json")} - {*IN_A_CLUSTER})
    if unknown := set(names) - DEFECTS.keys() - set(experiments):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such defect or experiment")
    yield from ((defect, defect.experiment) for defect in DEFECTS.values() if not names or defect.name in names)
    yield from ((None, name) for name in experiments if not names or name in names)


def run(experiment: str, defect: Defect | None, seed: int, keep: pathlib.Path | None = None) -> Ran:
    """One run on a lab of its own, which ends with it."""
    path, began = ROOT / "experiments" / f"{experiment}.json", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reprise-detect-") as folder:
        (pathlib.Path(folder) / "lab.toml").write_text(
            EMBEDDED.format(heartbeat_s=SLOWER.get(defect.name if defect else "", HEARTBEAT_S))
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REPRISE_")}
        environment |= {"REPRISE_PLATFORM": f"{folder}/lab.toml", "REPRISE_RUNS": f"{folder}/runs"}
        environment |= {"REPRISE_SEED": str(seed), VARIABLE: defect.name if defect else ""}
        done = subprocess.run(
            [CHAOS, "--no-version-check", "run", *_variables(path, defect), str(path)],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        found = pathlib.Path(folder) / "runs" / "latest" / "verdict.json"
        if not found.exists():
            print(done.stdout[-3000:], file=sys.stderr)
            return Ran("no verdict", {}, [], time.monotonic() - began, tuple(done.stdout.splitlines()[-3:]))
        if keep is not None:
            shutil.copytree(found.parent, keep / f"{defect.name if defect else experiment}-{seed}", dirs_exist_ok=True)
        verdict = json.loads(found.read_text())
    checks: dict[str, Any] = verdict["checks"]
    values = {name: one["verdict"] for name, one in checks.items()}
    labels = sorted({label for one in checks.values() for label in one.get("labels", {})})
    return Ran(verdict["verdict"], values, labels, round(time.monotonic() - began, 1), tuple(verdict["why"]))


def _variables(experiment: pathlib.Path, defect: Defect | None) -> list[str]:
    known = json.loads(experiment.read_text())["configuration"]
    values: dict[str, float] = VARIABLES | (STRICT if defect else {}) | LONGER.get(experiment.stem, {})
    if (
        defect and "reserve" not in known and defect.name in OF_STREAMSPACE
    ):  # a crash catches what is under way: that is never so many
        values |= HELD
    if defect:
        values |= MORE.get(defect.name, {})
    return [
        text
        for name, value in values.items()
        if name in known
        for text in ("--var", f"{name}:{type(value).__name__}={value}")
    ]


def told(row: Row) -> str:
    """One line for who waits for it."""
    took = sum(ran.took_s for ran in row.runs) / len(row.runs)
    values = "; ".join(
        f"{ran.verdict}: " + " ".join(f"{name}={value}" for name, value in ran.checks.items() if value != "true")
        for ran in row.runs
    )
    check = f" ({row.defect.check})" if row.defect else ""
    return f"{'ok ' if row.good() else 'BAD'} {row.name()}{check}: {took:.0f} s: {values}"


def page(rows: list[Row]) -> str:
    """The whole page, without a date or a time: made again from the same findings it is the same."""
    planted, clean = [row for row in rows if row.defect], [row for row in rows if not row.defect]
    lines = ["| defect | check | experiment | found | also | wrongly accused |", "|---|---|---|---|---|---|"]
    for row in planted:
        assert row.defect is not None
        own = f"{row.defect.check} ({row.defect.label})" if row.defect.label else row.defect.check
        cells = [row.defect.name, own, row.experiment, f"{row.found()} of {len(row.runs)}"]
        lines.append(f"| {' | '.join([*cells, ', '.join(row.also()), ', '.join(row.wrongly())])} |")
    runs, found = sum(len(row.runs) for row in planted), sum(row.found() for row in planted)
    lines += ["", f"{len(planted)} defects, {runs} runs: {found} found.", "", "## Without a defect", ""]
    lines += ["| experiment | passed | wrongly accused | unknown |", "|---|---|---|---|"]
    for row in clean:
        unknown = sorted({name for ran in row.runs for name, value in ran.checks.items() if value == "unknown"})
        lines.append(
            f"| {row.experiment} | {row.passed()} of {len(row.runs)} | {', '.join(row.wrongly())} | {', '.join(unknown)} |"
        )
    lines += [
        "",
        *(
            f"No lab of this machine can be {what}: {by} runs `{name}`, {_planted_for(name)}."
            for name, (what, by) in IN_A_CLUSTER.items()
        ),
    ]
    return HEAD + "\n".join(lines) + "\n"


def _planted_for(experiment: str) -> str:
    names = [f"`{name}`" for name, defect in PLANTED.items() if defect.experiment == experiment]
    if experiment == "sandbox-pods":  # whose defects are those of a stand-in
        return "with and without defects"
    return " and with ".join(["without a defect", *names])


if __name__ == "__main__":
    sys.exit(main())
