"""The criteria as data: a TOML file a series of ids, each entry with its text, its bound, and what is not proven of it."""

import functools
import importlib.resources
import tomllib
from typing import Annotated

import msgspec
from msgspec import Meta

from chaosreprise.settings import convert

ALL = "all"  # what every system must do
ENDING = ".toml"
Sentence = Annotated[str, Meta(min_length=1, description="a text")]
Test = Annotated[str, Meta(pattern=r"^tests/\S+\.py::test_\w+\Z", description="a test such as tests/x.py::test_y")]


class Criterion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """`tests`: those of ours that show it on the embedded platform, where no experiment does or it does not show all.

    `missing`: what is not shown yet of one that is tested. Of one that is not: `elsewhere`, how a user could do it today on a
    platform of his own; `not_yet`, what is to be built; or `cannot`, why it will not be tested.
    """

    id: str = ""
    system: str = ""
    text: Sentence
    bound: Sentence
    tests: list[Test] = []
    missing: str = ""
    elsewhere: str = ""
    not_yet: str = ""
    cannot: str = ""


@functools.cache
def criteria() -> dict[str, Criterion]:
    """All criteria by their ids, in the order of the files."""
    found = {}
    folder = importlib.resources.files(__package__)
    for file in sorted((entry for entry in folder.iterdir() if entry.name.endswith(ENDING)), key=lambda one: one.name):
        stated = tomllib.loads(file.read_text())
        system = stated.pop("system")
        for name, entry in stated.items():
            found[name] = convert(f"{file.name}: {name}", {"id": name, "system": system} | entry, Criterion)
    return found


def ids() -> list[str]:
    """What an experiment's `criteria` may name."""
    return list(criteria())
