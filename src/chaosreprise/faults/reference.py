"""The reference of all faults, made from the faults themselves: `chaos reprise faults` and docs/faults.md.

`python -m chaosreprise.faults.reference > docs/faults.md` writes the page. Nothing here knows a fault: what it says of
one stands in that fault's module, so a new fault is in the reference by being there.
"""

import sys
from typing import Any

import msgspec

from chaosreprise.faults import local, registry
from chaosreprise.faults.registry import Entry
from chaosreprise.platform.links import GROUP

COMMAND = "python -m chaosreprise.faults.reference > docs/faults.md"
GROUPS = (*local.GROUPS, GROUP)
YES, NO = "x", ""
TOP = f"""\
# Faults

Made by `{COMMAND}` from the faults' own modules in `src/chaosreprise/faults/kinds/`, one a file; `chaos reprise faults`
prints the same. A test fails when this page is not what is made.

A fault's kind is its group and its name: `agents.crash` on `agents/a1`, `sessions.crash` on `sessions/NAME`, `links.latency` on `links/database`. A
component is named, not a mechanism; where a fault has no way to be made it is refused in one sentence before anything is touched.
Until a fault is *proven* nothing counts as broken, and one that can't be proven is undone and refused. Each is undone by
the run, else by its warden, by its lease, by the keeper when both are dead, or by `chaos reprise heal`.

"""


def data() -> list[dict[str, Any]]:
    """For machines: one record a fault."""
    return [_record(entry) for entry in registry.entries()]


def text() -> str:
    """For a terminal."""
    return "\n\n".join(_block(record) for record in data())


def page() -> str:
    """docs/faults.md."""
    records = data()
    rows = [f"| [{r['name']}](#{r['name']}) | {r['does']} | {' | '.join(_marks(r))} |" for r in records]
    head = f"| fault | what it does | {' | '.join(GROUPS)} |\n|---|---|{'---|' * len(GROUPS)}"
    return TOP + "\n".join([head, *rows]) + "\n" + "".join(map(_section, records))


def _record(entry: Entry) -> dict[str, Any]:
    fault = entry.fault
    return {
        "name": entry.verb,
        "kinds": [f"{group}.{entry.verb}" for group in fault.groups],
        "does": entry.does,
        "about": entry.about,
        "held": not fault.momentary,
        "arguments": [_argument(field) for field in msgspec.inspect.type_info(fault.arguments).fields],  # type: ignore[attr-defined]
        "proven_when": fault.proof,
        "undone": fault.way_back,
        "undone_within_s": fault.undo_s,
        "needs": fault.needs,
    }


def _argument(field: msgspec.inspect.Field) -> dict[str, Any]:
    """What `Meta` says of it: its title is what it means, its description what is expected."""
    told = getattr(field.type, "extra_json_schema", None) or {}
    return {
        "name": field.name,
        "default": None if field.required else field.default,
        "means": told.get("title", ""),
        "expected": told.get("description", ""),
    }


def _marks(record: dict[str, Any]) -> list[str]:
    return [YES if f"{group}.{record['name']}" in record["kinds"] else NO for group in GROUPS]


def _section(record: dict[str, Any]) -> str:
    hits = ", ".join(f"`{kind}`" for kind in record["kinds"])
    lines = [
        f"- **hits** {hits}",
        f"- **proven when** {record['proven_when']}",
        f"- **undone**: {record['undone']}; within {record['undone_within_s']:g} s",
        f"- **needs** {record['needs']}",
        "- **arguments**: "
        + ("; ".join(f"`{a['name']}`{_default(a)}: {_words(a)}" for a in record["arguments"]) or "none"),
    ]
    about = f"\n{record['about']}\n" if record["about"] else ""
    return f"\n## {record['name']}\n{record['does']}\n{about}\n" + "\n".join(lines) + "\n"


def _block(record: dict[str, Any]) -> str:
    arguments = [f"{a['name']}{_default(a)}: {_words(a)}" for a in record["arguments"]] or ["none"]
    told = {
        "hits": ", ".join(record["kinds"]),
        "arguments": f"\n{'':18}".join(arguments),
        "proven when": record["proven_when"],
        "undone": f"{record['undone']}; within {record['undone_within_s']:g} s",
        "needs": record["needs"],
    }
    return "\n".join(
        [f"{record['name']}: {record['does']}", *(f"    {name:<14}{value}" for name, value in told.items())]
    )


def _default(argument: dict[str, Any]) -> str:
    """Nothing where it must be given."""
    value = argument["default"]
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f" = {msgspec.json.encode(value).decode()}"
    return f" = {value:g}"


def _words(argument: dict[str, Any]) -> str:
    return f"{argument['means']} ({argument['expected']})"


if __name__ == "__main__":
    sys.stdout.write(page())
