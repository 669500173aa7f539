"""Each criterion is tested, or says why not; what is declared for it is there, and docs/coverage.md is what is made of that."""

import ast
import json
import pathlib
import subprocess

import pytest

from chaosreprise import criteria
from chaosreprise.checker import registry
from chaosreprise.criteria import experiments, reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "coverage.md"
ENTRIES = criteria.table()
TESTED = "tested here"
JUDGED = "labtraffic.judge("  # asserts for all commands of a lab's traffic that each was done once
NAMED = sorted({name for entry in ENTRIES for name in entry.criterion.tests})


def test_the_page_is_what_is_generated():
    assert PAGE.read_text() == reference.page(), f"docs/coverage.md is not what is made: run `{reference.COMMAND}`"


def test_the_series_are_whole():
    """A criterion that is left out by mistake would be missed by nobody."""
    series = [name.partition("-")[0] for name in criteria.ids()]
    assert {name: series.count(name) for name in series} == {"SS": 30, "SI": 14, "RP": 5, "SX": 13}
    assert set(reference.SERIES) == set(series)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.criterion.id)
def test_a_criterion_is_tested_or_says_why_not_and_never_both(entry: criteria.Covered):
    stated = entry.criterion
    reasons = [name for name in ("elsewhere", "not_yet", "cannot") if getattr(stated, name)]
    assert entry.status != "undeclared", f"{stated.id}: nothing declares it, and it does not say why"
    assert len(reasons) == (0 if entry.status == TESTED else 1)
    assert entry.status == TESTED or not stated.missing, "what is not tested lacks everything"
    assert stated.system in ("streamspace", "sandbox", "all")
    assert stated.text.endswith("."), "its text is a sentence"


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_is_there_and_asserts(name: str):
    path, _, function = name.partition("::")
    found = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert len(found) == 1
    assert any(isinstance(node, ast.Assert) or ast.unparse(node).startswith(JUDGED) for node in ast.walk(found[0]))


@pytest.mark.parametrize("name", experiments.experiments())
def test_an_experiment_declares_criteria_and_asks_for_a_check_that_proves_each(name: str):
    experiment = experiments.experiments()[name]
    assert experiment.criteria, "each experiment of ours is there for something that a platform must do"
    assert sorted(set(experiment.criteria), key=experiment.criteria.index) == experiment.criteria
    for criterion in experiment.criteria:
        proving = [check for check in experiment.checks if criterion in registry.checks()[check].criteria]
        assert proving, f"{criterion}: no check of this experiment proves it"


def test_what_checks_declare_are_criteria():
    declared = {name for check in registry.checks().values() for name in check.criteria}
    assert declared - set(criteria.ids()) == set()


def test_the_experiments_are_those_of_the_folder_with_the_faults_that_they_make():
    found = experiments.experiments()
    assert list(found) == sorted(path.stem for path in (ROOT / "experiments").glob("*.json"))
    assert found["agent-and-database"].kinds == ["agents.take_away", "database.take_away"]
    assert found["agent-blackhole"].kinds == ["links.blackhole"]
    assert found["two-control-planes"].needs == {"control_planes": 2}


def test_a_criterion_that_nothing_declares_is_called_undeclared():
    bare = criteria.Criterion(id="SS-0.0", system="streamspace", text="It is.", bound="always")
    assert criteria.Covered(bare, [], []).status == "undeclared"


@pytest.mark.parametrize("status", ["not yet", "not testable"])
def test_the_page_counts_on_top_what_is_not_tested_here(status: str):
    lines = reference.page().split("\n## ")[0].splitlines()
    named = [entry.criterion.id for entry in ENTRIES if entry.status == status]
    assert ": ".join(filter(None, [f"- {len(named)} {status}", ", ".join(named)])) in lines


def test_the_command_lists_every_criterion(chaos: pathlib.Path):
    command = [chaos, "--no-version-check", "--no-log-file", "reprise", "criteria"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert [record["id"] for record in json.loads(told.stdout)] == criteria.ids()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [name for name in criteria.ids() if f"{name}: " not in shown] == []
