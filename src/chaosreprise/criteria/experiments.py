"""What our own experiments declare: their criteria, the checks that they ask for, the faults that they make."""

import functools
import importlib.resources
import json
from typing import Any

import msgspec

from chaosreprise.faults import registry

PACKAGE = "chaosreprise.experiments"
CONTROL = "chaosreprise.controls"
ENDING = ".json"


class Experiment(msgspec.Struct, kw_only=True, frozen=True):
    """`system`: the kind of platform that it is for. `needs`: how many of what that must have at least."""

    name: str
    system: str
    title: str
    criteria: list[str]
    require: list[str]
    optional: list[str]
    kinds: list[str]
    needs: dict[str, int]

    @property
    def checks(self) -> list[str]:
        return [*self.require, *self.optional]


@functools.cache
def experiments() -> dict[str, Experiment]:
    """By the names of their files."""
    folder = importlib.resources.files(PACKAGE)
    files = {entry.name.removesuffix(ENDING): entry for entry in folder.iterdir() if entry.name.endswith(ENDING)}
    return {name: _read(name, files[name].read_text()) for name in sorted(files)}


def _read(name: str, text: str) -> Experiment:
    stated = json.loads(text)
    arguments = next(
        control["provider"]["arguments"] for control in stated["controls"] if control["provider"]["module"] == CONTROL
    )
    needs = arguments.get("needs", {})
    return Experiment(
        name=name,
        system=needs.get("kind", "streamspace"),
        title=stated["title"],
        criteria=arguments.get("criteria", []),
        require=arguments["require"],
        optional=arguments.get("optional", []),
        kinds=sorted(set(_kinds(stated["method"]))),
        needs={what: int(least) for what, least in needs.items() if isinstance(least, int)},
    )


def _kinds(method: list[dict[str, Any]]) -> list[str]:
    named = [registry.action(step["provider"]) for step in method]
    return [name for name in named if name is not None and registry.is_fault(name)]
