"""How soon a fault strikes after its moment, on a lab under its usual load, and what waiting costs the warden.

The fault freezes a session that nobody uses, so that it can be made again and again. *Struck* is when the signal had surely
been sent. Of what the load itself writes, an event is as old as its stamp. A row is younger than the submission of its
command, so that figure holds the platform's own time as well as the delay of looking at rows.
"""

import argparse
import concurrent.futures
import os
import pathlib
import statistics
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
sys.path.append(str(TESTS / "support"))
import runs  # noqa: E402

from chaosreprise import checker  # noqa: E402
from chaosreprise.errors import NotProven  # noqa: E402
from chaosreprise.history import Answer, Fault, Report, Submit, load  # noqa: E402
from chaosreprise.moments import read  # noqa: E402
from chaosreprise.run import contract  # noqa: E402
from chaosreprise.run.method import Batch  # noqa: E402
from chaosreprise.run.run import Run  # noqa: E402

OWN = {
    "a step was sent": {"after": {"submit": "step", "of": "any"}},
    "a step was accepted": {"after": {"accept": "step", "of": "any"}},
}
FRAMES = {"after": {"delivered": "hibernate", "of": "any"}}
ROWS = {"after": {"pending": "hibernate", "of": "any"}}
ARMED_S = 0.5  # by then a fault is armed: what comes before does not count
NEVER = {"after": {"accept": "wake", "n": 1000, "of": "any"}, "within_s": 10}
KIND = "sessions.pause"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench-moments")
    parser.add_argument("--times", type=int, default=40, help="strikes of which the median is shown (default: 40)")
    options = parser.parse_args()
    runs.LAB["heartbeat_s"] = 2.0  # a busy machine is no lost agent
    lab = runs.start_lab()
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"REPRISE_RUNS": folder, "XDG_STATE_HOME": folder}
            bench(str(lab.platform_file), options.times)
    finally:
        lab.end()
    print(f"                   on {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}")


def bench(platform: str, times: int) -> None:
    stated = {"name": "bench", "require": ["lost"], "exposure": {"stop": 1}, "workload": {"seed": 1}}
    frames = Batch(at=read("bench", FRAMES), seconds=0.0)  # for which the recorder reads along
    run = Run(contract.read(stated, checker.known()), [], platform, 1, batches=[frames])
    run.open()
    try:
        victim = "sessions/" + run.load.ask("running", agent="a1", count=1)["sessions"][0]
        for name, at in OWN.items():
            strikes = [strike(run, victim, at) for _ in range(times)]
            show(name, [delays(run, fault, Submit if "submit" in at["after"] else Answer) for fault in strikes])
        for name, at in (("a frame passed", FRAMES), ("a row was there", ROWS)):
            strikes = [beside_a_cycle(run, victim, at) for _ in range(max(5, times // 4))]
            show(name, [delays(run, fault, Report if at is FRAMES else Submit) for fault in strikes])
        rows = [event for event in load(run.directory.history).events if isinstance(event, Report)]
        print(f"  (rows are looked at every {statistics.median((e.hi - e.lo) / 1e6 for e in rows):.0f} ms)")
        show_cost(run, victim)
    finally:
        run.finish({"status": "completed"})


def strike(run: Run, victim: str, at: object, number: list[int] = [0]) -> str:  # noqa: B006 counts on
    number[0] += 1
    fault = f"b{number[0]}"
    moment = read("bench", at)
    run.warden.request("inject", fault=fault, kind=KIND, on=victim, hold_ns=30 * 10**9, at=moment)
    run.warden.request("undo", fault=fault)
    return fault


def beside_a_cycle(run: Run, victim: str, at: object) -> str:
    """A strike while the canaries hibernate and wake once."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        striking = pool.submit(strike, run, victim, at)
        time.sleep(ARMED_S)
        run.load.ask("cycle")
        return striking.result()


def delays(run: Run, fault: str, kind: type[Submit | Answer | Report]) -> tuple[float, float]:
    """From the event to when the warden had decided, and to when the signal surely was sent; in ms."""
    events = load(run.directory.history).events
    injected = next(e for e in events if isinstance(e, Fault) and (e.fault, e.state) == (fault, "injected"))
    ids = [e.id for e in events if isinstance(e, Answer) and e.cmd in injected.moment.cmds]
    about = next(
        e
        for e in events
        if isinstance(e, kind)
        and (e.state == "delivered" and e.id in ids if isinstance(e, Report) else e.cmd in injected.moment.cmds)
    )
    return (injected.lo - about.hi) / 1e6, (injected.hi - about.hi) / 1e6


def show(name: str, found: list[tuple[float, float]]) -> None:
    decided, struck = zip(*found, strict=True)
    print(
        f"{name:<20} decided {statistics.median(decided):5.2f} ms, struck {statistics.median(struck):5.2f} ms later at the "
        f"median, {sorted(struck)[int(0.95 * len(struck))]:5.2f} ms at the 95th percentile ({len(struck)} times)"
    )


def show_cost(run: Run, victim: str) -> None:
    before, began = cpu_s(run.warden.pid), time.monotonic()
    time.sleep(10)
    idle = (cpu_s(run.warden.pid) - before) / (time.monotonic() - began)
    before, began = cpu_s(run.warden.pid), time.monotonic()
    try:
        strike(run, victim, NEVER)
    except NotProven:
        busy = (cpu_s(run.warden.pid) - before) / (time.monotonic() - began)
        print(f"waiting              {(busy - idle) * 100:.1f} % of a processor, beside 45 commands a second")


def cpu_s(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
