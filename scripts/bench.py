"""Figures of one machine, all from the same session: start of the lab, a run's phases, cost of the history, CPU and
memory of every process, error of the recovery times against the lab's own log, and what `chaos --help` pays for us.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from chaosreprise import checker, history
from chaosreprise.clock import MS, SECOND
from chaosreprise.stack import starter

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
sys.path += [str(TESTS / "checker"), str(TESTS / "support")]
import histories  # noqa: E402
from runs import CHAOS, EXPERIMENT, LAB, SHORT  # noqa: E402

EVENTS = 100_000
CHANGES = {"start": "make", "hibernate": "down", "wake": "up", "stop": "gone"}
TOLD = {"noticed": "proven", "elsewhere": "proven", "first_success": "undoing", "drained": "undoing"}  # by the lab too
NAMES = {
    "chaosreprise.workload": "load",
    "chaosreprise.run.recorder": "recorder",
    "chaosreprise.faults.warden": "warden",
    "chaosreprise.stack.keeper": "keeper",
    "chaosreprise.lab prepare": "lab prepare",
    "chaosreprise.lab control-plane": "control plane",
    "chaosreprise.lab agent": "agent",
    "lab/session.py": "session",
    "postgres": "postgres",
    "initdb": "initdb",
    "chaos run": "chaos",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--runs", type=int, default=5, help="runs on a kept lab, for phases and recovery times")
    options = parser.parse_args()
    print(f"history write      {history_cost():.2f} us an event (median of 5 x {EVENTS} events)")
    print(f"judging            {judge_cost():.2f} s for a history of more than {EVENTS} events (median of 3)")
    print(f"chaos --help       +{help_cost():.1f} ms for the plugin of Reprise (median of 9)")
    print(f"lab up             {lab_start():.2f} s until ready (median of 3)")
    whole_run()
    on_a_kept_lab(options.runs)


def history_cost() -> float:
    event = history.Effect(
        lo=1,
        hi=1,
        ledger="slots",
        object="user01-python-0a1b2c3d",
        mark="up",
        gen=3,
        inc=["boot", 4026531836, 4711, 123456],
    )
    costs = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder, history.Writer(pathlib.Path(folder), "bench", "bench") as writer:
            began = time.perf_counter()
            for _ in range(EVENTS):
                writer.write(event)
            writer.flush()
            costs.append((time.perf_counter() - began) / EVENTS * 1e6)
    return statistics.median(costs)


def judge_cost() -> float:
    """Seconds to judge a whole correct run of 40 minutes."""
    recorded = histories.complete(seconds_of_steps=2400, steps_hz=7).history()
    if len(recorded.events) < EVENTS:
        raise SystemExit(f"the history has but {len(recorded.events)} events")
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        checker.judge(recorded, "end")
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def help_cost() -> float:
    """Milliseconds to import our plugin beside what Chaos Toolkit has imported anyway; median of fresh processes."""
    code = "import click, json, pathlib, subprocess, time; t = time.perf_counter(); import chaosreprise.cli; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(9)
    ]
    return statistics.median(times) * 1e3


def lab_start() -> float:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        stack = starter.start(agents=3, users=12, heartbeat_s=1, reconcile_s=0.5, owned=False)
        taken.append(time.perf_counter() - began)
        stack.end()
    return statistics.median(taken)


def whole_run() -> None:
    """The default run, with CPU and memory of every process by name."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [CHAOS, "run", str(EXPERIMENT)],
            cwd=folder,
            env={**os.environ, "REPRISE_SEED": "7", "REPRISE_RUNS": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        used: dict[int, tuple[str, float, float]] = {}
        while process.poll() is None:
            for pid in descendants(process.pid):
                if (found := usage(pid)) is not None:
                    used[pid] = found
            time.sleep(0.1)
        print(
            f"chaos run          {time.perf_counter() - began:.1f} s, exit {process.returncode}: {phases(pathlib.Path(folder, 'latest'))}"
        )
    by_name: dict[str, list[tuple[float, float]]] = {}
    for name, cpu, memory in used.values():
        by_name.setdefault(name, []).append((cpu, memory))
    for name, figures in sorted(by_name.items()):
        cpu, peak = sum(cpu for cpu, _ in figures), max(memory for _, memory in figures)
        print(
            f"  {name:<16} {len(figures):3} processes   {cpu:6.2f} s of CPU in all   {peak:6.1f} MiB the largest (resident)"
        )


def on_a_kept_lab(runs: int) -> None:
    """Short runs on one lab: their wall time, and how far the recovery times are from the lab's own log."""
    stack = starter.start(**LAB, owned=False)
    walls: list[float] = []
    errors: dict[str, list[float]] = {}
    try:
        for number in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                environment = {
                    **os.environ,
                    "REPRISE_SEED": str(number),
                    "REPRISE_RUNS": folder,
                    "REPRISE_PLATFORM": str(stack.platform_file),
                }
                began = time.perf_counter()
                done = subprocess.run(
                    [CHAOS, "run", str(EXPERIMENT), *SHORT], cwd=folder, env=environment, capture_output=True, text=True
                )
                walls.append(time.perf_counter() - began)
                if done.returncode:
                    print(done.stdout, done.stderr)
                log = stack.dir / "logs" / "lab.jsonl"
                for name, found in recovery_errors(pathlib.Path(folder, "latest"), log).items():
                    errors.setdefault(name, []).extend(found)
                if number == 0:
                    print(
                        f"short run          {walls[-1]:.1f} s on a kept lab: {phases(pathlib.Path(folder, 'latest'))}"
                    )
    finally:
        stack.end()
    print(
        f"short runs         {runs} on a kept lab: median {statistics.median(walls):.1f} s, longest {max(walls):.1f} s"
    )
    for name, found in errors.items():
        told = f"median {statistics.median(found):.1f} ms, largest {max(found):.1f} ms" if found else "never measured"
        print(f"recovery error     {name:<14} {told} ({len(found)} times, against the lab's own log)")
    print(f"                   on {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}")


def recovery_errors(run: pathlib.Path, log: pathlib.Path) -> dict[str, list[float]]:
    """By figure, in ms: how far the middle of what a run says is from what the lab itself wrote down."""
    errors: dict[str, list[float]] = {name: [] for name in TOLD}
    warden = [event for event in lines(run / "history" / "warden.jsonl") if event["type"] == "fault"]
    since = lines(run / "history" / "owner.jsonl")[0]["mono"]
    logged = [event for event in lines(log) if event["t"] > since]
    for told in json.loads((run / "verdict.json").read_text())["recovery"]:
        states = {event["state"]: event for event in warden if event["fault"] == told["fault"]}
        truth = true_moments(states, lines(run / "history" / "load.jsonl"), logged)
        for name, began in TOLD.items():
            if told[name] is not None and truth.get(name):
                event = states[began]
                true_s = max(0.0, truth[name] - (event["lo"] + event["hi"]) / 2) / SECOND  # earlier counts as 0
                errors[name].append(abs(sum(told[name]) / 2 - true_s) * SECOND / MS)
    return errors


def true_moments(states: dict[str, dict], load: list[dict], logged: list[dict]) -> dict[str, float | None]:
    """When it happened by the lab's own log: its control plane tells who is away, its agents what they changed."""
    victim, proven, undoing = states["proven"]["component"].partition("/")[2], states["proven"], states["undoing"]
    answers = {event["cmd"]: event for event in load if event["type"] == "answer" and event["outcome"] == "ok"}
    sent = [event for event in load if event["type"] == "submit" and event["cmd"] in answers and event["op"] in CHANGES]
    made = [(submit, changed(submit, answers[submit["cmd"]], logged)) for submit in sent]
    gone = [e["t"] for e in logged if e["event"] == "agent-offline" and e["agent"] == victim]
    starts = [change for submit, change in made if submit["op"] == "start" and submit["lo"] >= proven["hi"] and change]
    met = [change for submit, change in made if change and change["agent"] == victim and submit["lo"] < undoing["lo"]]
    after = [middle(change) for change in met if change["t"] >= undoing["lo"]]
    return {
        "noticed": min((t for t in gone if t >= states["injected"]["lo"]), default=None),
        "elsewhere": next((middle(change) for change in starts if change["agent"] != victim), None),
        "first_success": min(after, default=None),
        "drained": max(after, default=None),
    }


def changed(submit: dict, answer: dict, logged: list[dict]) -> dict | None:
    """The change that an agent logged for a command: the first of its kind on that session since it was sent."""
    wanted = (CHANGES[submit["op"]], submit.get("session") or answer["session"])
    return next((e for e in logged if (e.get("do"), e.get("slot")) == wanted and e["t"] >= submit["lo"]), None)


def middle(change: dict) -> float:
    return (change["asked"] + change["t"]) / 2


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def phases(run: pathlib.Path) -> str:
    told = json.loads((run / "verdict.json").read_text())
    return (
        told["verdict"]
        + " · "
        + " · ".join(
            f"{phase['name']} {phase['end'] - phase['begin']:.1f} s"
            for phase in told["phases"]
            if phase["end"] is not None
        )
    )


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int((entry / "stat").read_text().rpartition(")")[2].split()[1]), []).append(
                    int(entry.name)
                )
            except OSError:
                continue
    found, waiting = {pid}, [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def usage(pid: int) -> tuple[str, float, float] | None:
    """(name, seconds of CPU, peak of resident MiB) of a process."""
    try:
        line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        peak = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    name = next((name for mark, name in NAMES.items() if mark in line), None)
    if name is None or peak is None:
        return None
    return name, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 1024


if __name__ == "__main__":
    main()
