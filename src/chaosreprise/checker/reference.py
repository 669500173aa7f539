"""The reference of all checks, made from the checks themselves: `chaos reprise checks` and docs/checks.md.

`python -m chaosreprise.checker.reference > docs/checks.md` writes the page. What it says of a check stands in that check's module; its examples are tiny
histories (`examples`), drawn here, and judged here too, so that the page can't say what is not so.
"""

import importlib
import re
import sys
from typing import Any

import msgspec

from chaosreprise.checker import registry
from chaosreprise.checker.check import Check
from chaosreprise.checker.drawing import draw
from chaosreprise.checker.judging import judge
from chaosreprise.checker.tiny import Example
from chaosreprise.checker.verdict import Finding
from chaosreprise.history import History

COMMAND = "python -m chaosreprise.checker.reference > docs/checks.md"
PARTS = ("Definition", "Labels?", "Exempt", "Method", "Promise", "Needs", "Witness", "Limits")
TOP = f"""\
# Checks

Made by `{COMMAND}` from the checks' own modules in `src/chaosreprise/checker/checks/`, one a file; `chaos reprise checks`
prints the same without the drawings. A test fails when this page is not what is made.

A check finds violations, each with a witness, or doubts: why it can't know. It is *false* if anything is surely violated, *true* only if nothing
might be, and *unknown* otherwise; a check that crashes, or that saw nothing that it could judge, is unknown. A violation of a
promise that the platform does not make is told, and makes a required check unknown.

## Reading the drawings
Each is drawn from a small history, and judged as it stands. Time runs to the right, in seconds; a word begins at the end of a line of dashes if
one leads to it, else where it stands: `>ok` is when an answer came, the dashes lead there from the submission. `slots` and `workspaces` are
ledgers of effects, `rows` is what the platform says of its agents, sessions and commands (c1 is its p1), `=` a fault while it is proven,
`~` a time in which something was not read. Each kind of command has a bound of 1 s there, and everything has settled 2 s after it was sent.

"""


def data() -> list[dict[str, Any]]:
    """For machines: one record a check."""
    return [_record(check) for check in registry.checks().values()]


def text() -> str:
    """For a terminal."""
    return "\n\n".join(_block(record) for record in data())


def page() -> str:
    """docs/checks.md."""
    records = data()
    rows = [
        f"| [{r['name']}](#{r['name']}) | {r['finds']} | {_promise(r)} | {'yes' if r['during'] else ''} |"
        for r in records
    ]
    head = "| check | what it finds | promise | during the method too |\n|---|---|---|---|"
    return TOP + "\n".join([head, *rows]) + "\n" + "".join(map(_section, records))


def examples(name: str) -> tuple[Example, Example]:
    """A violation, and a near miss that is legal."""
    module = importlib.import_module(f"{__package__}.examples.{name.replace('-', '_')}")
    return module.VIOLATION, module.LEGAL


def judged(name: str, history: History) -> Finding:
    """What this check alone finds in an example."""
    assert history.contract is not None
    contract = msgspec.structs.replace(history.contract, require=[name])
    return judge(history._replace(contract=contract), "end").checks[name]


def _record(check: Check) -> dict[str, Any]:
    violation, legal = examples(check.name)
    return {
        "name": check.name,
        "finds": check.says[1],
        "about": _about(check),
        "promise": check.promise,
        "stated_in": check.asks or None,
        "ledgers": list(check.ledgers),
        "levels": list(check.levels),
        "during": check.early,
        "baseline": check.baseline,
        "violation": _drawn(check.name, violation),
        "legal": _drawn(check.name, legal),
    }


def _about(check: Check) -> list[str]:
    """The paragraphs of its module's docstring, each on one line, without its name."""
    told = sys.modules[check.judge.__module__].__doc__ or ""
    return [" ".join(part.split()).removeprefix(f"{check.name}: ") for part in told.strip().split("\n\n")]


def _drawn(name: str, example: Example) -> dict[str, Any]:
    found = judged(name, example.history)
    return {
        "says": example.says,
        "drawing": draw(example.history),
        "count": list(found.count),
        "witnesses": [witness.say for witness in found.witnesses],
    }


def _promise(record: dict[str, Any]) -> str:
    if record["stated_in"]:
        return f"stated in `{record['stated_in']}`"
    return f"`{record['promise']}`" if record["promise"] else "always"


def _section(record: dict[str, Any]) -> str:
    title, *rest = record["about"]
    paragraphs = "\n\n".join(re.sub(rf"^({'|'.join(PARTS)})\b", r"**\1**", part) for part in rest)
    facts = [
        f"- **promise** {_promise(record)}",
        f"- **ledgers** {', '.join(f'`{name}`' for name in record['ledgers']) or 'none needed'}",
        f"- **attribution** {', '.join(f'`{level}`' for level in record['levels'])}",
        f"- **judged** {_when(record)}",
    ]
    violation, legal = record["violation"], record["legal"]
    drawings = [
        f"**Violated.** {violation['says']}\n\n```\n{violation['drawing']}\n```\n\nFound: {violation['witnesses'][0]}.",
        f"**Legal.** {legal['says']}\n\n```\n{legal['drawing']}\n```",
    ]
    return (
        f"\n## {record['name']}\n{_sentence(title)}\n\n{paragraphs}\n\n"
        + "\n".join(facts)
        + "\n\n"
        + "\n\n".join(drawings)
        + "\n"
    )


def _sentence(told: str) -> str:
    return told[0].upper() + told[1:]


def _when(record: dict[str, Any]) -> str:
    times = ["in the baseline"] if record["baseline"] else []
    times += ["during the method"] if record["during"] else []
    return ", ".join([*times, "at the end"])


def _block(record: dict[str, Any]) -> str:
    told = {
        "promise": _promise(record).replace("`", ""),
        "ledgers": ", ".join(record["ledgers"]) or "none needed",
        "attribution": ", ".join(record["levels"]),
        "judged": _when(record),
    }
    about = [f"    {part}" for part in record["about"][1:]]
    facts = [f"    {name:<14}{value}" for name, value in told.items()]
    return "\n".join([f"{record['name']}: {record['about'][0]}", *about, *facts])


if __name__ == "__main__":
    sys.stdout.write(page())
