"""How often is Reprise wrong? Correct platforms that must not be accused, and defects that must be found, by the seed.

*Simulated*: drawn runs of the simulated platform as it should be. False is a false alarm; unknown where all could be known
counts as well. *Defects*: each simulated one over as many seeds. *Lab*: the experiments, each with so many seeds, short, each run on a lab
of its own as it should be: any verdict but true counts. One line a run in the log; the same call goes on at its end, and nothing is run again.
"""

import argparse
import collections
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import detect
import detection_page

from chaosreprise import checker
from chaosreprise.errors import BadInput, RepriseError, RunBroken
from chaosreprise.simulation import DEFECTS, draw, simulate
from chaosreprise.simulation.scenario import plain

ROOT = pathlib.Path(__file__).resolve().parent.parent
VALUES = ("true", "false", "unknown", "broken")
BOUND = 0.05  # of being wrong about the bound: 95 % confidence
FOUND = 0.95  # of the runs with a defect
Line = dict[str, Any]


def main() -> int:
    options = _options()
    lines = _read(options.log)
    done = {(line["what"], line["name"], line["seed"]) for line in lines}
    with options.log.open("a") as log:
        for line in _runs(options, done):
            lines.append(line)
            log.write(json.dumps(line) + "\n")
            log.flush()
            if _is_wrong(line):
                print(f"{line['what']} {line['name']} seed {line['seed']}: {line['value']}: {line['why']}", flush=True)
    text = page(lines)
    print(text)
    if options.page:
        detection_page.write("soak", text)
    return 1 if any(_is_wrong(line) for line in lines if line["what"] != "defect") or _missed(lines) else 0


def _runs(options: argparse.Namespace, done: set[tuple[str, str, int]]) -> Iterator[Line]:
    def seeds(n: int) -> range:
        return range(options.first, options.first + n)

    for seed in seeds(options.simulated):
        if ("simulated", "correct", seed) not in done:
            yield simulated(seed)
    for seed in seeds(options.defects):
        for name in DEFECTS:
            if ("defect", name, seed) not in done:
                yield defective(name, seed)
    for seed in seeds(options.lab):
        for name in options.experiments or _experiments():
            if ("lab", name, seed) not in done:
                yield in_lab(name, seed, options.keep)


def simulated(seed: int) -> Line:
    """One drawn run of a correct platform. `clear`: all that happened could be known."""
    scenario = draw(seed)
    began = time.process_time()
    value, why = "broken", ""
    try:
        verdict = checker.judge(simulate(scenario).history(), "end")
        value, why = verdict.value, "; ".join(verdict.why)
    except RunBroken as error:
        why = str(error)
    line = {"what": "simulated", "name": "correct", "seed": seed, "kind": scenario.kind, "clear": scenario.clear}
    return line | {"value": value, "why": why, "took_s": round(time.process_time() - began, 4)}


def defective(name: str, seed: int) -> Line:
    """One run with a defect: what its check says, and who else is accused."""
    defect = DEFECTS[name]
    began = time.process_time()
    line = {"what": "defect", "name": name, "seed": seed, "check": defect.check, "also": [], "wrongly": []}
    try:
        scenario = plain(seed, defect.kind, all_agents=defect.all_agents)
        verdict = checker.judge(simulate(scenario, defect).history(), "end")
    except RunBroken as error:
        return line | {"value": "broken", "why": str(error), "took_s": round(time.process_time() - began, 4)}
    accused = [check for check, found in verdict.checks.items() if found.value == "false" and check != defect.check]
    line["also"] = [check for check in accused if check in defect.also]
    line["wrongly"] = [check for check in accused if check not in defect.also]
    value, why = verdict.checks[defect.check].value, "; ".join(verdict.why)
    return line | {"value": value, "why": why, "took_s": round(time.process_time() - began, 4)}


def in_lab(name: str, seed: int, keep: pathlib.Path | None) -> Line:
    """One short run of an experiment on a lab of its own. `other`: the checks that were not true."""
    ran = detect.run(name, None, seed, keep)
    other = {check: value for check, value in ran.checks.items() if value != "true"}
    value = ran.verdict if ran.verdict in VALUES else "broken"
    line = {"what": "lab", "name": name, "seed": seed, "value": value, "why": "; ".join(ran.why)}
    return line | {"other": other, "took_s": ran.took_s}


def _experiments() -> list[str]:
    return sorted(path.stem for path in (ROOT / "experiments").glob("*.json"))


def upper_bound(wrong: int, n: int) -> float:
    """The highest rate that `wrong` of `n` leaves possible with 95 % confidence; of none it is about 3 / n."""
    low, high = wrong / n, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if _at_most(wrong, n, rate) > BOUND else (low, rate)
    return high


def _at_most(k: int, n: int, rate: float) -> float:
    """The chance of at most k of n."""
    term = total = (1 - rate) ** n
    for i in range(k):
        term *= (n - i) / (i + 1) * rate / (1 - rate)
        total += term
    return total


def _is_wrong(line: Line) -> bool:
    if line["what"] == "defect":
        return line["value"] != "false" or bool(line["wrongly"])
    may_not_know = line["value"] == "unknown" and not line.get("clear", True)
    return line["value"] != "true" and not may_not_know


def _missed(lines: list[Line]) -> bool:
    """Whether somebody was accused wrongly, or a check did not find its defect in nearly every run."""
    groups = _by(lines, "defect").values()
    return any(
        sum(line["value"] == "false" for line in some) < FOUND * len(some) or any(line["wrongly"] for line in some)
        for some in groups
    )


def _by(lines: list[Line], what: str, key: str = "name") -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line["what"] == what:
            found.setdefault(line[key], []).append(line)
    return found


def page(lines: list[Line]) -> str:
    """Its part of the page: what was counted, and what that excludes."""
    text = [
        "## How often the verdict was wrong",
        "",
        "Platforms as they should be, by `scripts/soak`. A *false alarm* is a verdict of `false`. `unknown` is wrong as well where all that happened could",
        "be known: always in the lab, in the simulation unless its scenario hides something. Each run counts: none is run again. Bounds are",
        "one-sided, of 95 % confidence.",
        "",
    ]
    text += _correct("fault in the simulation", _by(lines, "simulated", "kind"))
    text += _correct("experiment in the lab", _by(lines, "lab"))
    if defects := _by(lines, "defect"):
        text += [
            "## Defects of the simulated platform",
            "",
            "The check that must find each, what else its runs rightly break, and who was accused besides.",
            "",
        ]
        text += ["| defect | check | found | what is broken besides | accused wrongly |", "|---|---|---|---|---|"]
        text += [_defect(name, some) for name, some in defects.items()]
    return "\n".join(text) + "\n"


def _correct(title: str, groups: dict[str, list[Line]]) -> list[str]:
    if not groups:
        return []
    text = [
        f"| {title} | runs | true | unknown | unknown, though all was to be known | false | broken off |",
        "|---|---|---|---|---|---|---|",
    ]
    every = [line for some in groups.values() for line in some]
    text += [_row(name, groups[name]) for name in sorted(groups)] + [_row("**all**", every)]
    false, wrong = sum(line["value"] == "false" for line in every), sum(map(_is_wrong, every))
    return [*text, "", f"False alarms: {_told(false, len(every))} Wrong in any way: {_told(wrong, len(every))}", ""]


def _told(wrong: int, n: int) -> str:
    return f"{wrong} of {n}, which excludes a rate above {upper_bound(wrong, n):.2%}."


def _row(name: str, some: list[Line]) -> str:
    counts = collections.Counter(line["value"] for line in some)
    known = sum(line["value"] == "unknown" and _is_wrong(line) for line in some)
    return f"| {name} | {len(some)} | {counts['true']} | {counts['unknown']} | {known} | {counts['false']} | {counts['broken']} |"


def _defect(name: str, some: list[Line]) -> str:
    found = sum(line["value"] == "false" for line in some)
    also = ", ".join(sorted({check for line in some for check in line["also"]})) or "-"
    wrongly = ", ".join(sorted({check for line in some for check in line["wrongly"]})) or "-"
    return f"| {name} | {some[0]['check']} | {found} of {len(some)} | {also} | {wrongly} |"


def _read(log: pathlib.Path) -> list[Line]:
    """What an earlier call has written; a torn last line is forgotten."""
    if not log.exists():
        return []
    whole, _, torn = log.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(log, len(whole) + bool(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise BadInput(f"{log}: not a log of scripts/soak ({error}): name another one") from error


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="seeds of the simulated platform")
    parser.add_argument("--defects", type=int, default=0, metavar="N", help="seeds of each simulated defect")
    parser.add_argument("--lab", type=int, default=0, metavar="N", help="seeds of each experiment in labs")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of these seeds")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the directories of the runs in labs")
    parser.add_argument("--experiments", nargs="*", help="which of the experiments; all without it")
    parser.add_argument(
        "--log", type=pathlib.Path, default=pathlib.Path("soak.jsonl"), help="a line a run; goes on at its end"
    )
    parser.add_argument("--page", action="store_true", help="write its part of docs/detection.md")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RepriseError as error:
        sys.exit(f"scripts/soak: {error}")
