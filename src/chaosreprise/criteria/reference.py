"""The list of criteria with what tests each of them: `chaos reprise criteria` and docs/coverage.md.

`python -m chaosreprise.criteria.reference > docs/coverage.md` writes the page. It is put together from what experiments
and checks declare (`coverage`), so nobody can say there that something is tested which nothing tests.
"""

import sys
from collections.abc import Sequence
from typing import Any

from chaosreprise.checker import registry
from chaosreprise.criteria.coverage import Covered, Status, table

COMMAND = "python -m chaosreprise.criteria.reference > docs/coverage.md"
SERIES = {
    "SS": "Sessions on StreamSpace",
    "SI": "StreamSpace, the parts together",
    "RP": "Recovery of the platform",
    "SX": "Steps in a sandbox",
}
TOP = f"""\
# Coverage

Made by `{COMMAND}` from what experiments and checks declare (the data: `src/chaosreprise/criteria/`); `chaos reprise criteria`
prints the same. A test fails when this page is not what is made, when nothing declares a criterion and it does not say
why, and when an experiment declares one that none of its checks proves. The tests run each experiment on the embedded
platform, where each of these checks that it asks for must have had its evidence and found it true.

"""
MEANING = """\

*Tested here*: an experiment of `experiments/` declares it, or a test of ours shows it; a test of ours alone shows it on the
embedded platform only, and says nothing of another one. An experiment runs on any platform whose parts a keeper of Reprise
runs and whose evidence it can read; on Kubernetes these are components that are Deployments, and the Deployments of sessions. What is tested
*in part* says what is missing. *Testable on the real platform*: no experiment or test of ours, but a user can do it today. *Not yet*: what is to be
built for it. Bounds are stated as they were asked for; an experiment may be stricter. Evidence: the ledgers that a check can't do without, else what
the load saw and the platform said.
"""
HEAD = "| id | what it asks, and its bound | status | experiments and tests | checks, and their evidence |\n|---|---|---|---|---|"


def data() -> list[dict[str, Any]]:
    """For machines: one record a criterion."""
    return [_record(entry) for entry in table()]


def text() -> str:
    """For a terminal."""
    entries = table()
    return "\n".join([*map(_block, entries), "", *_counts(entries)])


def page() -> str:
    """docs/coverage.md."""
    entries = table()
    sections = [_section(title, [one for one in entries if _series(one) == name]) for name, title in SERIES.items()]
    return TOP + "\n".join(f"- {line}" for line in _counts(entries)) + "\n" + MEANING + "".join(sections)


def _record(entry: Covered) -> dict[str, Any]:
    stated = entry.criterion
    return {
        "id": stated.id,
        "system": stated.system,
        "text": stated.text,
        "bound": stated.bound,
        "status": entry.status,
        "says": entry.says,
        "missing": stated.missing,
        "experiments": [experiment.name for experiment in entry.experiments],
        "tests": stated.tests,
        "checks": {name: list(registry.checks()[name].ledgers) for name in _asked(entry)},
    }


def _asked(entry: Covered) -> list[str]:
    """Of the checks that prove it those that its experiments ask for; all of them where there is none."""
    asked = {check for experiment in entry.experiments for check in experiment.checks}
    return [name for name in entry.checks if name in asked or not asked]


def _counts(entries: Sequence[Covered]) -> list[str]:
    here = [one for one in entries if one.status == "tested here"]
    alone = [one for one in here if not one.experiments]
    part = [one for one in here if one.criterion.missing]
    lines = [
        f"{len(entries)} criteria, {len(here)} of them tested here: {len(here) - len(alone)} by experiments, "
        f"{len(alone)} by tests of the embedded platform alone ({_ids(alone)})",
        f"{len(part)} of these in part: {_ids(part)}",
    ]
    others: list[Status] = ["testable on the real platform", "not yet", "not testable"]
    for status in others:
        found = [one for one in entries if one.status == status]
        lines.append(f"{len(found)} {status}{f': {_ids(found)}' if found else ''}")
    return lines


def _ids(entries: Sequence[Covered]) -> str:
    return ", ".join(entry.criterion.id for entry in entries) or "none"


def _series(entry: Covered) -> str:
    return entry.criterion.id.partition("-")[0]


def _section(title: str, entries: Sequence[Covered]) -> str:
    return f"\n## {title}\n\n{HEAD}\n" + "\n".join(map(_row, entries)) + "\n"


def _row(entry: Covered) -> str:
    stated = entry.criterion
    shown = [f"`{one.name}`" for one in entry.experiments] + [f"`{name}`" for name in stated.tests]
    cells = [stated.id, f"{stated.text} *{stated.bound}*", entry.says, ", ".join(shown), ", ".join(_proofs(entry))]
    return f"| {' | '.join(cells)} |"


def _proofs(entry: Covered) -> list[str]:
    named = {name: ", ".join(registry.checks()[name].ledgers) for name in _asked(entry)}
    return [f"[{name}](checks.md#{name}){f' ({ledgers})' if ledgers else ''}" for name, ledgers in named.items()]


def _block(entry: Covered) -> str:
    stated = entry.criterion
    told = {
        "bound": stated.bound,
        "status": entry.says,
        "experiments": ", ".join(one.name for one in entry.experiments),
        "tests": ", ".join(stated.tests),
        "checks": ", ".join(_asked(entry)),
    }
    return "\n".join([f"{stated.id}: {stated.text}", *(f"    {name:<14}{said}" for name, said in told.items() if said)])


if __name__ == "__main__":
    sys.stdout.write(page())
