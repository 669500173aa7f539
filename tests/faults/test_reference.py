"""The reference of faults is what the faults say of themselves, and each of them has its action with the same defaults."""

import importlib
import inspect
import json
import pathlib
import pkgutil
import subprocess

import pytest

from chaosreprise import actions
from chaosreprise.faults import reference, registry
from chaosreprise.run import method

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def test_the_page_is_what_is_generated():
    assert PAGE.read_text() == reference.page(), f"docs/faults.md is not what is made: run `{reference.COMMAND}`"


@pytest.mark.parametrize("fault", reference.data(), ids=lambda fault: fault["name"])
def test_a_fault_says_what_one_must_know_of_it(fault):
    assert [name for name in ("does", "about", "proven_when", "undone", "needs") if not fault[name]] == []
    assert fault["undone_within_s"] > 0
    assert [a["name"] for a in fault["arguments"] if not (a["means"] and a["expected"])] == []


def test_the_command_lists_every_kind(chaos):
    command = [chaos, "--no-version-check", "--no-log-file", "reprise", "faults"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert sorted(kind for fault in json.loads(told.stdout) for kind in fault["kinds"]) == registry.kinds()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [kind for kind in registry.kinds() if kind not in shown] == []


@pytest.mark.parametrize("kind", registry.kinds())
def test_each_kind_has_an_action_with_the_arguments_and_defaults_of_the_fault(kind):
    group, _, verb = kind.partition(".")
    action = getattr(importlib.import_module(f"chaosreprise.actions.{group.replace('-', '_')}"), verb)
    parameters = inspect.signature(action).parameters.values()
    given = {one.name: None if one.default is one.empty else one.default for one in parameters}
    shared = set(method._Given.__struct_fields__)
    wanted = {
        argument["name"]: argument["default"]
        for one in reference.data()
        if one["name"] == verb
        for argument in one["arguments"]
    }
    assert {name: value for name, value in given.items() if name not in shared} == wanted


def test_no_action_that_is_no_fault_bears_the_name_of_one():
    """Of a method, whatever bears one is taken for that fault."""
    modules = [
        importlib.import_module(f"{actions.__name__}.{one.name}") for one in pkgutil.iter_modules(actions.__path__)
    ]
    named = {f"{one.__name__.rpartition('.')[2].replace('_', '-')}.{name}" for one in modules for name in one.__all__}
    verbs = set(registry.verbs())
    assert {kind for kind in named if kind.partition(".")[2] in verbs} == {*registry.kinds()}
