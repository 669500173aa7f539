"""Kills what makes, undoes and holds faults, at each state of a fault, and counts what is left: the goal is nothing.

Each draw (`torture_draws`) is one run on a kept lab (`torture_lab`, `torture_runs`). What must be mended afterwards is
mended by whoever still lives, by the keeper, or by `heal`, where only the next start can; never by this script. It looks:
components, their processes and limits, processes and locks of the run, the ledger of faults, files. The next draw on the
same lab is the best proof; a whole run that must pass is the last.
"""

import argparse
import collections
import ctypes
import itertools
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from typing import Any

import torture_runs as runs
from torture_draws import KEEPER, STATES, TOOL, WARDEN, Draw, draw
from torture_lab import SESSIONS, Lab, Look, shown
from torture_runs import Run, Wanted

from chaosreprise.errors import BadInput, NotAllowed, RepriseError
from chaosreprise.faults import ledger
from chaosreprise.paths import slug, state_dir
from chaosreprise.procs import Incarnation, is_alive, send_signal
from chaosreprise.run import litter, stopping

ENOUGH = 10
CGROUPS = pathlib.Path("/sys/fs/cgroup")
REACH_S = 60.0  # for a whole run to get to its fault
MEND_S = 45.0  # a real Toxiproxy waits up to 25 s for receivers that a fault has stalled; all else takes 15 at most
ALONE_S = 2.0  # for what the kernel and the keeper do, where nobody else is alive
LAST_WORDS_S = 90.0  # for a whole run that lost a part to say so and end
LOOK_EVERY_S = 0.03
FIRST_EVERY_S = 0.002
WATCH_EVERY_S = 0.0006
ENDED_EACH = 16  # looks
PR_SET_CHILD_SUBREAPER = 36
Line = dict[str, Any]
NOTHING: Line = {"end": None, "healed_by": None, "leaked": [], "settled_by_heal": False, "code": None, "said": ""}


def main() -> int:
    options = _options()
    lines = _read(options.log, options.seed)
    work = pathlib.Path(tempfile.mkdtemp(prefix="reprise-torture-"))
    _prepare_environment(work)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    began = time.monotonic()
    new: list[Line] = []
    last: list[str] = []
    torture = Torture(work, options.only)
    try:
        with options.log.open("a") as log:
            for n in range(len(lines), options.kills):
                new.append(torture.strike(draw(options.seed, n, options.whole_every)))
                log.write(json.dumps(new[-1]) + "\n")
                log.flush()
                print(_one(new[-1]), flush=True)
                if sum(bool(line["residues"]) for line in new) >= ENOUGH:
                    break
        last += torture.last_run() if options.whole_every and new else []
    finally:
        torture.end()
        if last or any(line["residues"] for line in new):
            print(f"what these runs have said is in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    lines += new
    print(summary(lines, options.log, time.monotonic() - began, len(new), torture.refused))
    for left in last:
        print(f"  left at the end: {left}")
    return 1 if last or any(line["residues"] for line in lines) else 0


class Torture:
    """One lab after the other, one run after the other; what is left is told, and then removed so that it is told once."""

    def __init__(self, work: pathlib.Path, only: list[str]) -> None:
        self._work = work
        self._count = 0
        self.lab = Lab()
        self._possible, self.refused = self.lab.possible(only)
        if not self._possible:
            raise BadInput(
                f"--only {' '.join(only)}: no kind of fault that can be made here: `chaos reprise faults` lists all"
            )

    def end(self) -> None:
        self.lab.stack.end()

    def strike(self, what: Draw) -> Line:
        self._count += 1
        name = f"k{what.n:04d}-{self._count}"
        wanted = self._pick(what)
        line: Line = {"n": what.n, "seed": what.seed, "kind": wanted[0][0], "on": wanted[0][1], "also": wanted[1:]}
        line |= {"state": what.state, "who": list(what.who), "whole": what.whole, "trouble": what.trouble}
        began, on_session = time.monotonic(), wanted[0][1] == SESSIONS
        try:
            if on_session:
                wanted[0] = (wanted[0][0], self.lab.new_session(name))
            line |= self._strike(what, name, wanted)
        except RepriseError as error:
            line |= NOTHING | {"found": None, "healed_s": 0.0, "residues": [f"the lab is of no use: {error}"]}
        if on_session and KEEPER not in what.who:
            line["residues"] += self.lab.tidy(name)
        if KEEPER in what.who or line["residues"]:
            self.lab.stack.end()
            self.lab = Lab()
        return line | {"took_s": round(time.monotonic() - began, 3)}

    def _strike(self, what: Draw, name: str, wanted: Wanted) -> Line:
        run = self._start(what, name, wanted)
        members = self.lab.members() if KEEPER in what.who else []
        try:
            line = self._kill(what, run, wanted[0][1])
            if line["found"] is None:
                what = what._replace(who=())
            line |= self._mended(what, run, members)
            line |= self._settled(what, run)
            line["residues"] += self._residues(what, run, line["found"])
        finally:
            run.end()
        Look().reap(self.lab.stack.keeper.pid)
        return line

    def last_run(self) -> list[str]:
        """What a whole run on the lab, after all that, has to complain of."""
        run = runs.Whole(self._work / "last", self.lab, 1)
        try:
            if not _until(run.ended, LAST_WORDS_S):
                return ["the last run does not end"]
            left = [] if run.code == 0 else [f"the last run ended with {run.code}: {run.said()}"]
            left += [f"announced: {path}" for path in state_dir("faults").glob(f"*/{stopping.FILE}")]
            left += [f"litter: {path.name}" for path in litter.left(self.lab.platform.id)]
            return left + files(self.lab.stack.id)
        finally:
            run.end()

    def _pick(self, what: Draw) -> Wanted:
        """The fault, and perhaps another one that hits another component."""
        if what.whole:
            return [("agents.take_away", "")]
        first = _picked(self._possible, what.kind_pick, what.on_pick)
        if what.second is None or first[1] == SESSIONS:
            return [first]
        others = {
            kind: [name for name in on if name not in (first[1], SESSIONS)] for kind, on in self._possible.items()
        }
        return [first, _picked({kind: on for kind, on in others.items() if on}, *what.second)]

    def _start(self, what: Draw, name: str, wanted: Wanted) -> Run:
        folder = self._work / name
        if what.whole:
            return runs.Whole(folder, self.lab, what.n)
        if what.trouble == "broken":
            self._signal_target(wanted[0][1], signal.SIGSTOP)
        return runs.small(folder, self.lab, what, wanted)

    def _signal_target(self, on: str, number: signal.Signals) -> None:
        inc = self.lab.process_of(on)
        if inc is not None:
            send_signal(inc, number)

    def _kill(self, what: Draw, run: Run, on: str) -> Line:
        """Wait for the state, then strike. `found` is the state on record just after, None when the run ended before."""
        if what.trouble in STATES and _reached(run, what.trouble):
            self._signal_target(on, signal.SIGKILL)
        if not _reached(run, what.state):
            return {"found": None}
        warden = run.warden()
        targets = {TOOL: run.tool, WARDEN: warden, KEEPER: self.lab.stack.keeper}
        time.sleep(what.delay_s)
        for one in what.who:
            time.sleep(what.gap_s if one is not what.who[0] else 0.0)
            if (inc := targets[one]) is not None:
                send_signal(inc, signal.SIGKILL)
        records = run.records()
        if not what.who:
            _freeze([run.tool, *([warden] if warden else [])], what.freeze_s)
        return {"found": records[0].state}

    def _mended(self, what: Draw, run: Run, members: list[Incarnation]) -> Line:
        """Wait until it is whole and nobody of the run is left, or say what is not."""
        began = time.monotonic()
        if what.trouble == "broken":
            _until(run.ended, MEND_S)
            for inc in self.lab.members():
                send_signal(inc, signal.SIGCONT)  # that was us
        wrong: list[str] = []

        warden = run.warden()

        def whole() -> bool:
            if not run.ended() or (warden is not None and is_alive(warden)):
                wrong[:] = ["the tool or the warden still runs"]
            else:
                left = [f"left running: {shown(pid)}" for pid in run.processes()]
                wrong[:] = left or self._wrong(what, members)
            return not wrong

        survivor_s = 0 if TOOL in what.who else LAST_WORDS_S if what.whole else what.hold_s
        nobody = set(what.who) == {TOOL, WARDEN, KEEPER}
        if nobody and not _until(whole, ALONE_S):
            runs.heal(what.heal_killed_s)  # what is left to it: nobody else is alive
        mended = _until(whole, MEND_S + survivor_s)
        return {"healed_s": round(time.monotonic() - began, 3), "residues": [] if mended else list(wrong)}

    def _wrong(self, what: Draw, members: list[Incarnation]) -> list[str]:
        if KEEPER in what.who:
            return [f"left of the stack: {shown(inc.pid)}" for inc in members if is_alive(inc)]
        return self.lab.wrong()

    def _settled(self, what: Draw, run: Run) -> Line:
        """The ledger: who undid it, if need be `heal`."""
        left = ledger.leftovers(self.lab.platform.id)
        if left or KEEPER in what.who:
            runs.heal(what.heal_killed_s)
        records = run.records()
        again = ledger.leftovers(self.lab.platform.id)
        leaked = {f"{r.kind} on {r.on}": r.say for r in [*left, *again] if r.state == "leaked"}
        line = NOTHING | {"leaked": [f"{fault}: {say}" for fault, say in leaked.items()]}
        if records:
            line |= {"on": records[0].on, "end": records[0].state, "healed_by": records[0].by}
        return line | {"settled_by_heal": bool(left), "code": run.code, "said": "" if what.whole else run.said()[-300:]}

    def _residues(self, what: Draw, run: Run, found: str | None) -> list[str]:
        platform = self.lab.platform.id
        left = [
            f"on record: {r.kind} on {r.on} is {r.state}" for r in ledger.leftovers(platform) if r.state != "leaked"
        ]
        for lock in (ledger.lock(platform), ledger.warden_lock(platform, 0)):
            try:
                with lock:
                    pass
            except NotAllowed as error:
                left.append(f"locked: {error}")
        left += [f"cgroup: {path}" for path in _groups(run.folder.name)]
        left += files(None if KEEPER in what.who else self.lab.stack.id)
        if found is not None and (why := run.unreadable()) is not None:
            left.append(f"history: {why}")
        return left + _complaints(what, run, found)


def files(stack: str | None) -> list[str]:
    """Files of the state directory that are no ledger, no lock, and not the running stack's; marks of runs go with the next."""
    faults_, stacks, litter_ = (state_dir(name) for name in ("faults", "stacks", "litter"))
    known = (ledger.LOCK, ledger.WARDEN_LOCK, stopping.FILE)
    left = [file for file in faults_.glob("*/*") if file.suffix != ".jsonl" and file.name not in known]
    left += [folder for folder in stacks.iterdir() if folder.name != stack]
    left += [file for file in state_dir().iterdir() if file not in (faults_, stacks, litter_)]
    return [f"file: {file}" for file in left]


def _complaints(what: Draw, run: Run, found: str | None) -> list[str]:
    """What the tool should not have said, or not have ended with."""
    said = run.said()
    if what.whole:
        passed = run.code == 0 and what.who
        return [f"`chaos run` ended with 0 although its {' and '.join(what.who)} was killed"] if passed else []
    if run.code == runs.CRASHED:
        return [f"the tool crashed: {said}"]
    if "healed" in said:
        return [f"left by the draw before: {said}"]
    undisturbed = what.trouble is None and what.second is None
    if found is None and undisturbed:
        return [f"{what.state} was never reached: {said or 'it said nothing'}"]
    return []


def _picked(possible: dict[str, list[str]], kind_pick: float, on_pick: float) -> tuple[str, str]:
    kinds = sorted(possible)
    kind = kinds[int(kind_pick * len(kinds))]
    return kind, possible[kind][int(on_pick * len(possible[kind]))]


def _groups(run: str) -> list[pathlib.Path]:
    """Control groups that carry the mark of a fault of this run."""
    return [path for path in CGROUPS.rglob(f"reprise-{slug(run)}*") if path.is_dir()]


def _reached(run: Run, state: str) -> bool:
    """Wait until the ledger shows this state, or a later one. False when the run ends before."""
    deadline, size, path = time.monotonic() + REACH_S, 0, None
    for looks in itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count()):
        ended = looks % ENDED_EACH == 0 and run.ended()
        path = path or run.file()
        try:
            now = path.stat().st_size if path is not None else 0
        except FileNotFoundError:
            now = 0
        if now != size or ended:
            size, records = now, run.records()
            if records and _rank(records[0].state) >= _rank(state):
                return True
        if ended:
            return False
        time.sleep(WATCH_EVERY_S if size else FIRST_EVERY_S)
    return False


def _rank(state: str) -> int:
    return STATES.index(state) if state in STATES else len(STATES)


def _freeze(frozen: list[Incarnation], seconds: float) -> None:
    for inc in frozen:
        send_signal(inc, signal.SIGSTOP)
    time.sleep(seconds)
    for inc in frozen:
        send_signal(inc, signal.SIGCONT)


def _until(holds: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    return held


def _prepare_environment(work: pathlib.Path) -> None:
    for name in [name for name in os.environ if name.startswith("REPRISE_")]:
        del os.environ[name]
    os.environ["XDG_STATE_HOME"] = str(work / "state")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="draws in all, those in the log included")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--log", type=pathlib.Path, default=pathlib.Path("torture.jsonl"), help="a line a draw; goes on at its end"
    )
    parser.add_argument(
        "--whole-every", type=int, default=25, help="every Nth draw kills a whole `chaos run`; 0: none does"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=["*"],
        metavar="PATTERN",
        help="kinds of faults, such as 'links.*': all of them without",
    )
    return parser.parse_args()


def _read(log: pathlib.Path, seed: int) -> list[Line]:
    """What an earlier call has written; a torn last line is forgotten."""
    if not log.exists():
        return []
    whole, _, torn = log.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(log, len(whole) + bool(whole))
    lines: list[Line] = [json.loads(line) for line in whole.splitlines()]
    if any(line["seed"] != seed for line in lines):
        raise BadInput(f"{log}: of seed {lines[0]['seed']}, not {seed}: name another log, or that seed")
    return lines


def _one(line: Line) -> str:
    who = " ".join(line["who"]) or "(frozen)"
    ends = f"{line['found'] or 'refused'} -> {line['end'] or 'nothing'}"
    return (
        f"{line['n']:5} {line['kind']:<18} {line['on']:<14} {who:<19} at {line['state']:<8} {ends:<18} "
        f"{line['healed_by'] or '-':<7} {line['healed_s']:6.2f} s {'; '.join(line['residues'] + line['leaked'])}"
    )


def summary(lines: list[Line], log: pathlib.Path, took_s: float, new: int, refused: dict[str, str]) -> str:
    residues = sum(len(line["residues"]) for line in lines)
    leaked = sum(len(line["leaked"]) for line in lines)
    killed = sum(bool(line["who"]) and line["found"] is not None for line in lines)
    text = [
        f"{len(lines)} draws, {killed} of them kills: {residues} residues, {leaked} leaked   ({log}; {new} now, {took_s / max(1, new):.2f} s each)"
    ]
    text.append(f"  {'killed':<22} {'draws':>5}  whole again after (median, longest)   undone by")
    for who, some in _grouped(lines, _who):
        times = [line["healed_s"] for line in some]
        by = collections.Counter(line["healed_by"] or "-" for line in some)
        undone = ", ".join(f"{name} {count}" for name, count in by.most_common())
        text.append(f"  {who:<22} {len(some):5}  {statistics.median(times):6.2f} s {max(times):6.2f} s   {undone}")
    for title, key in (("state", "found"), ("ended as", "end"), ("kind", "kind")):
        counts = collections.Counter(str(line[key]) for line in lines)
        told = "   ".join(f"{name} {count}" for name, count in counts.most_common())
        text.append(textwrap.fill(f"  {title:<9}{told}", 120, subsequent_indent=" " * 11, break_on_hyphens=False))
    text += [f"  not possible here: {kind}: {why}" for kind, why in refused.items()]
    for line in lines:
        text += [f"  residue of {line['n']}: {residue}" for residue in line["residues"]]
        text += [f"  leaked by {line['n']}: {leak}" for leak in line["leaked"]]
    return "\n".join(text)


def _who(line: Line) -> str:
    return " ".join(one for one in (TOOL, WARDEN, KEEPER) if one in line["who"]) or "nobody, frozen"


def _grouped(lines: list[Line], key: Callable[[Line], str]) -> list[tuple[str, list[Line]]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return sorted(groups.items())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RepriseError as error:
        sys.exit(f"scripts/torture: {error}")
