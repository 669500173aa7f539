"""The file of known violations that an experiment names (`known`), and what `chaos reprise accept` writes into it.

TOML, strict: an entry that is not understood must not hide anything. Everything wrong with it refuses the run before anything is broken, and so does an
entry whose last day is over.
"""

import json
import pathlib
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from chaosreprise import checker
from chaosreprise.checker import accepted
from chaosreprise.errors import BadInput, shown
from chaosreprise.history import load
from chaosreprise.history.statements import Known
from chaosreprise.settings import TOO_MUCH, convert, read_text

FILE = "known.toml"
HEAD = """\
# Violations that are known: printed as known, and the exit code follows new ones. `match` is the sentence of the witness, with * for
# what differs from run to run. Each entry needs a reason and a last day; after it, runs are refused until somebody has decided again.
"""


class StatedKnown(Known, forbid_unknown_fields=True):
    pass


class File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    known: list[StatedKnown] = []


def today() -> date:
    return datetime.now(UTC).date()


def stated(named: str, experiment: str | None = None) -> list[Known]:
    """The entries of the file that an experiment names; none for no name. Raises BadInput, also for an entry that has expired.

    `experiment`: where it stands; without it it is one of the command's arguments.
    """
    if not named:
        return []
    path = _beside_experiment(named, sys.argv[1:] if experiment is None else [experiment])
    entries = read(path)
    for entry in entries:
        if accepted.expired(entry, today()):
            raise BadInput(
                f"{path}: {entry.check} {shown(entry.match)} expired on {entry.expires} ({entry.why}): "
                "repair what it is about and take it out, or decide again and give it a later day"
            )
    return entries


def read(path: pathlib.Path) -> list[Known]:
    """All entries of a file, whatever their day. Raises BadInput with the file, the entry and what is wrong with it."""
    text = read_text(str(path), "the file of known violations", "see docs/checks.md, or leave `known` out")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {TOO_MUCH}") from error
    entries: list[Known] = list(convert(str(path), _with_texts(raw), File).known)
    for number, entry in enumerate(entries):
        _check(f"{path}: known[{number}]", entry)
    return entries


def _check(where: str, entry: Known) -> None:
    if entry.check not in checker.known():
        raise BadInput(f"{where}.check = {shown(entry.check)}: no such check: known are {', '.join(checker.known())}")
    day(f"{where}.expires", entry.expires)
    if accepted.is_vague(entry.match):
        raise BadInput(
            f"{where}.match = {shown(entry.match)}: at least {accepted.LEAST} words must stand for themselves, or it could hide something else"
        )


def day(where: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{where} = {shown(text)}: expected a day such as 2027-01-31") from error


def accept(directory: str, why: str, expires: str, into: str) -> list[str]:
    """Write an entry for each new violation of a run into a file; what was done, a line each. Raises BadInput."""
    history = pathlib.Path(directory, "history")
    if not history.is_dir():
        raise BadInput(f"{directory}: no run there (expected {history}/*.jsonl): give a directory such as runs/latest")
    if not why.strip():
        raise BadInput("--why is empty: say why these violations are accepted")
    if day("--expires", expires) < today():
        raise BadInput(f"--expires {expires} is over: give the last day on which they are accepted")
    verdict = checker.judge(load(history), "end")
    entries = list(accepted.entries_for(verdict, why, expires))
    if not entries:
        raise BadInput(
            f"{directory}: nothing to accept: the verdict is {verdict.value}, without a violation that is new"
        )
    path = pathlib.Path(into)
    there = {(entry.check, entry.match): entry for entry in read(path)} if path.exists() else {}
    new = [entry for entry in entries if (entry.check, entry.match) not in there]
    if new:
        _append(path, new)
    old = [there[entry.check, entry.match] for entry in entries if (entry.check, entry.match) in there]
    return [
        *(f"{path}: accepted until {expires}: {entry.check}: {entry.match}" for entry in new),
        *(f"{path}: was there already, until {entry.expires}: {entry.check}: {entry.match}" for entry in old),
    ]


def _append(path: pathlib.Path, entries: Sequence[Known]) -> None:
    blocks = [
        "\n".join(
            ["", "[[known]]", *(f"{name} = {_quoted(getattr(entry, name))}" for name in Known.__struct_fields__), ""]
        )
        for entry in entries
    ]
    head = "" if path.exists() else HEAD
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(head + "".join(blocks))
    except OSError as error:
        raise BadInput(f"{path}: can't be written ({error.strerror}): name another file with --to") from error


def _quoted(text: str) -> str:
    """As a basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with_texts(raw: dict[str, Any]) -> dict[str, Any]:
    """A day may be written without quotes: TOML has a type for it."""
    entries = raw.get("known")
    if isinstance(entries, list):
        for entry in entries:
            if isinstance(entry, dict) and type(entry.get("expires")) is date:
                entry["expires"] = entry["expires"].isoformat()
    return raw


def _beside_experiment(named: str, arguments: Sequence[str]) -> pathlib.Path:
    """Beside the experiment, else where the command was started. Chaos Toolkit tells a control nothing of the experiment's file: it is
    one of the command's arguments."""
    for argument in arguments:
        beside = pathlib.Path(argument).parent / named
        if argument.endswith((".json", ".yaml", ".yml")) and pathlib.Path(argument).is_file() and beside.is_file():
            return beside
    return pathlib.Path(named)
