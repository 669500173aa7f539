"""docs/checks.md is what the checks say of themselves, and each check judges its own examples as the page shows them."""

import json
import pathlib
import re
import subprocess

import pytest

from chaosreprise.checker import reference, registry
from chaosreprise.run import contract, known

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "checks.md"


def test_the_page_is_what_is_generated():
    assert PAGE.read_text() == reference.page(), f"docs/checks.md is not what is made: run `{reference.COMMAND}`"


@pytest.mark.parametrize("name", registry.known())
def test_the_violation_is_found_and_the_near_miss_is_not(name: str):
    violation, legal = reference.examples(name)
    assert reference.judged(name, violation.history).value == "false"
    found = reference.judged(name, legal.history)
    assert (found.count, found.scope) == ((0, 0), [])
    assert found.evidence, "a near miss that shows nothing proves nothing"


@pytest.mark.parametrize("check", reference.data(), ids=lambda check: check["name"])
def test_a_check_says_what_one_must_know_of_it(check):
    parts = [part.split()[0].rstrip(".") for part in check["about"][1:]]
    assert [part for part in ("Definition", "Needs", "Witness", "Limits") if part not in parts] == []


@pytest.mark.parametrize("check", reference.data(), ids=lambda check: check["name"])
def test_a_drawing_is_small_and_has_its_axis(check):
    for example in (check["violation"], check["legal"]):
        lines = example["drawing"].splitlines()
        assert lines[0].split()[:3] == ["s", "0", "1"]
        assert 2 < len(lines) < 16
        assert max(map(len, lines)) < 110


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_what_an_experiment_states_there_is_read():
    found = contract.read(json.loads(block("json")), registry.known())
    assert (len(found.objectives), len(found.refusals), found.known) == (5, 1, "known.toml")


def test_the_known_violation_there_is_read(tmp_path):
    (tmp_path / "known.toml").write_text(block("toml"))
    assert known.stated(str(tmp_path / "known.toml"))[0].check == "lost"


def test_the_command_lists_every_check(chaos):
    command = [chaos, "--no-version-check", "--no-log-file", "reprise", "checks"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert [check["name"] for check in json.loads(told.stdout)] == registry.known()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [name for name in registry.known() if f"{name}: " not in shown] == []
