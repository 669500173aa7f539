"""docs/history.md: every event and field of the format is described, and its example is judged as it says."""

import pathlib
import re
import typing

import msgspec
import pytest
from click.testing import CliRunner

from chaosreprise import checker, cli, history
from chaosreprise.history import events, statements

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "history.md").read_text()
EVENTS = {cls.__struct_config__.tag: cls for cls in typing.get_args(events.AnyEvent)}
NESTED = {
    "An entry of `attribution`": events.Attribution,
    "An entry of `refusals`": events.Refusal,
    "An entry of `objectives`": statements.Objective,
    "An entry of `situations`": statements.Situation,
    "An entry of `states`": statements.Edge,
    "An entry of `known`": statements.Known,
    "An entry of `claims`": statements.Claim,
    "An awaited `moment`": events.Awaited,
}


def documented(text: str) -> list[str]:
    """The fields of the first table of a text."""
    table = re.search(r"\| field \| unit \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", text)
    return [name for line in table[1].splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]


def section(name: str) -> str:
    found = re.search(rf"^### `{name}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/history.md has no section on {name}"
    return found[1]


def test_there_is_a_section_for_each_event_and_no_other():
    assert re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE) == [
        *(
            "segment",
            "contract",
            "phase",
            "submit",
            "answer",
            "effect",
            "report",
            "observe",
            "coverage",
            "fault",
            "stream",
            "sign",
        )
    ]
    assert set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)) == set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_every_field_of_an_event_is_described(name: str):
    assert sorted(documented(section(name))) == sorted(field.name for field in msgspec.structs.fields(EVENTS[name]))


@pytest.mark.parametrize("words", NESTED)
def test_every_field_of_an_entry_is_described(words: str):
    text = PAGE[PAGE.index(words) :]
    assert sorted(documented(text)) == sorted(field.name for field in msgspec.structs.fields(NESTED[words]))


@pytest.mark.parametrize("literal", ["Op", "Outcome", "Mark", "State", "Level"])
def test_every_value_that_a_field_may_have_is_described(literal: str):
    missing = [value for value in typing.get_args(getattr(events, literal)) if f"`{value}`" not in PAGE]
    assert missing == []


def test_times_say_their_unit():
    for line in PAGE.splitlines():
        if line.startswith("|") and ("_ns`" in line or "`lo`" in line or "`mono`" in line):
            assert "| ns |" in line


def example() -> list[str]:
    return re.search(r"```jsonl\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()


def judged(lines: list[str], folder: pathlib.Path) -> checker.Verdict:
    (folder / "me.jsonl").write_text("\n".join(lines) + "\n")
    return checker.judge(history.load(folder), "end")


def test_the_twelve_lines_are_judged_as_the_page_says(tmp_path: pathlib.Path):
    assert len(example()) == 12
    verdict = judged(example(), tmp_path)
    assert verdict.value == "false"
    assert verdict.why == [re.search(r"The reason:\n\n    (.*)\n", PAGE)[1]]
    assert verdict.checks["lost"].witnesses[0].cmd == "c2"


def test_the_command_says_of_them_what_the_page_shows(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me.jsonl").write_text("\n".join(example()))
    command, code = re.search(r"`chaos reprise (check .*)` ends with (\d)", PAGE).groups()
    told = CliRunner().invoke(cli.reprise, command.split())
    assert told.exit_code == int(code)
    assert told.output.startswith("\n" + re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1])


def test_with_the_missing_effect_they_are_unknown_and_never_true(tmp_path: pathlib.Path):
    effect = next(line for line in example() if '"effect"' in line)
    lines = [*example(), effect.replace('"s1"', '"s2"').replace("1200000000", "1700000000")]
    verdict = judged(lines, tmp_path)
    assert verdict.value == "unknown"
    why = " ".join(verdict.why)
    assert "nothing was broken" in why
    assert "load" in why
    assert "drain" in why
