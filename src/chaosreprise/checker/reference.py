"""The reference of all checks, made from the checks themselves: `chaos reprise checks` and docs/checks.md.

`python -m chaosreprise.checker.reference > docs/checks.md` writes the page. What it says of a check stands in that check's module; its examples are tiny
histories (`examples`), drawn here, and judged here too, so that the page can't say what is not so.
"""

import importlib
import re
import sys
import textwrap
from typing import Any

import msgspec

from chaosreprise.checker import registry
from chaosreprise.checker.check import Check
from chaosreprise.checker.drawing import draw
from chaosreprise.checker.judging import judge
from chaosreprise.checker.tiny import Example
from chaosreprise.checker.verdict import Finding
from chaosreprise.history import History

WIDTH = 110
COMMAND = "python -m chaosreprise.checker.reference > docs/checks.md"
PARTS = ("Definition", "Labels?", "Exempt", "Method", "Promise", "Needs", "Witness", "Limits")
TOP = f"""\
# Checks

Made by `{COMMAND}` from the checks' own modules in `src/chaosreprise/checker/checks/`, one a file; `chaos reprise checks`
prints the same without the drawings. A test fails when this page is not what is made.

A check finds violations, each with a witness, or doubts: why it can't know. It is *false* if anything is surely violated, *true* only if nothing
might be, and *unknown* otherwise; a check that crashes, or that saw nothing that it could judge, is unknown. A violation of a
promise that the platform does not make is told, and makes a required check unknown.

## What an experiment states for them
In the `arguments` of its control: the checks that it requires and those that are judged if there is evidence, `objectives` for the check of that
name, `refusals` for `refusal`, a file of known violations, and, if it likes, the ids of the `criteria` that it tests ([coverage.md](coverage.md)).
A mistake in it is refused in one sentence before anything is broken.

```json
{{
  "name": "my-experiment",
  "require": ["lost", "duplicate", "objective", "refusal"],
  "exposure": {{"stop": 5, "wake": 5}},
  "objectives": [
    {{"name": "reads are fast again", "latency": "answer", "op": "read", "quantile": 0.99, "phase": "quiet", "max": 0.5}},
    {{"name": "starts take effect", "latency": "effect", "op": "start", "quantile": 0.95, "max": 30}},
    {{"name": "noticed in time", "recovery": "noticed_s", "max": 60}},
    {{"name": "enough is answered", "rate": "any", "phase": "baseline", "min": 100}},
    {{"name": "the load was punctual", "signal": "load.lag_ms", "max": 100}}
  ],
  "refusals": [
    {{"name": "no agent", "when": "no-agent-online", "ops": ["start"], "within_s": 2,
      "allow": [{{"status": 503, "body": "No agents available"}}]}}
  ],
  "known": "known.toml"
}}
```

What each of these may hold stands in [history.md](history.md), `contract`. Latencies and recovery are in seconds. A figure without a sample or a command
is unknown, never 0; so is a situation in which no call was sent.

## Known violations
A violation that is known, and accepted for a time, is told as known and decides nothing: the exit code follows new ones. `chaos reprise
accept runs/latest --why "..." --expires 2027-01-31` writes what is new in a run into `known.toml`, which the experiment names and which lies beside
it, or where the command is started.

```toml
[[known]]
check = "lost"
match = "* wake of session *: accepted at * s, no effect until * s [stuck]"
why = "the queue is lost when an agent comes back: TICKET-7"
expires = 2999-01-31
```

`match` is the sentence of the witness, with its label, and `[baseline]` for what happened before anything was broken; `*` stands for
one word or a part of one. So that an entry can't hide something else, at least three words must stand for themselves, and a check is excused only
if each of its violations has a witness and each witness an entry. An entry whose last day is over refuses the run; one
that does not show up any more is told, so that it can be taken out.

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
    about = [_wrapped(part) for part in record["about"][1:]]
    facts = [f"    {name:<14}{value}" for name, value in told.items()]
    return "\n".join([f"{record['name']}: {record['about'][0]}", *about, *facts])


def _wrapped(part: str) -> str:
    indent = "    "
    return textwrap.fill(
        part, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    sys.stdout.write(page())
