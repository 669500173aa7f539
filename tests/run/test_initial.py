"""The template of each kind names every setting that goes with it, at its default, and loads once it is filled in."""

import pathlib
import re
import subprocess
import tomllib
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from runs import CHAOS, CLEAN

from chaosreprise.errors import BadInput
from chaosreprise.faults import facts
from chaosreprise.platform import adapter, file
from chaosreprise.platform.file import OF_EMBEDDED, OF_KINDS, PlatformFile
from chaosreprise.run import conclusions, initial
from chaosreprise.run.looking import Look

FILLED = {
    "name": "staging",
    "host": "127.0.0.1",
    "url": "http://127.0.0.1:8000",
    "user": "admin",
    "template": "python",
    "agent": "east-1",
    "keeper": "keeper.json",
    "user-of-sessions": "user01",
    "workspaces": "workspaces",
}
COMMENTED = re.compile(r"^# (?=\[|[a-z_0-9]+ = )", re.MULTILINE)
OF_STREAMSPACE = {"evidence.*.listen", "evidence.*.token"}  # its sessions are processes that speak for themselves
OWN_NAMES = ("evidence", "components", "links", "forward")  # tables whose entries somebody names


def filled(kind: str) -> str:
    return re.sub(r"<([a-z-]+)>", lambda match: FILLED[match[1]], _without_prose(initial.template(kind)))


def _without_prose(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not re.match(r"#.*<\.\.\.>", line)) + "\n"


def uncommented(kind: str) -> dict[str, Any]:
    """With every setting that is commented out."""
    return tomllib.loads(COMMENTED.sub("", filled(kind)))


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """The structs that a type may be, behind Annotated and Optional."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [found for one in typing.get_args(kind) for found in structs_in(one)]
    return []


def settings(struct: type[msgspec.Struct], raw: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Each setting: its place, its default (`msgspec.NODEFAULT` for none), and whether the raw file names it."""
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        yield f"{at}{field.name}", default, field.name in raw
        for below in structs_in(hints[field.name]):
            if below.__name__ != "Secret" and isinstance(raw.get(field.name), dict):
                yield from settings(below, raw[field.name], f"{at}{field.name}.")


def all_settings(kind: str) -> list[tuple[str, Any, bool]]:
    raw = uncommented(kind)
    others = {table for other, table in OF_KINDS.items() if other != kind}
    goes_with = (
        OF_EMBEDDED if kind == "embedded" else set(PlatformFile.__struct_fields__) - {"lab", "settings", *others}
    )
    found = [one for one in settings(PlatformFile, raw) if one[0].partition(".")[0] in goes_with]
    for table in OWN_NAMES if kind != "embedded" else ():
        (of,) = structs_in(typing.get_args(typing.get_type_hints(PlatformFile, include_extras=True)[table])[1])
        merged: dict[str, Any] = {}
        for entry in raw[table].values():
            merged |= entry
        found += settings(of, merged, f"{table}.*.")
    return [one for one in found if kind == "streamspace" or one[0] not in OF_STREAMSPACE]


def at(raw: dict[str, Any], place: str) -> Any:
    """The value at a place; of tables with names of their own one that has it."""
    first, _, rest = place.partition(".")
    if not rest:
        return raw[first]
    if first == "*":
        return next(at(entry, rest) for entry in raw.values() if rest.partition(".")[0] in entry)
    return at(raw[first], rest)


@pytest.mark.parametrize("kind", initial.kinds())
def test_a_template_names_every_setting_of_its_kind(kind: str) -> None:
    found = all_settings(kind)
    assert [place for place, _, named in found if not named] == []
    assert len(found) >= len(OF_EMBEDDED) + 6


@pytest.mark.parametrize("kind", initial.kinds())
def test_what_a_template_comments_out_stands_at_its_default_or_is_called_an_example(kind: str) -> None:
    raw, text = uncommented(kind), initial.template(kind)
    active = tomllib.loads(filled(kind))
    for place, default, _ in all_settings(kind):
        if default is msgspec.NODEFAULT or isinstance(default, msgspec.Struct | dict) or default in (None, []):
            continue
        try:
            at(active, place)
        except (KeyError, StopIteration):
            assert at(raw, place) == default, place
    for line in text.splitlines():
        if COMMENTED.match(line) and "example" not in line and not line.startswith("# ["):
            assert " = " in line
            assert re.search(r"default: none|example", line) is None


@pytest.mark.parametrize("kind", initial.kinds())
def test_a_template_loads_once_it_is_filled_in_and_not_before(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "filled.toml"
    path.write_text(filled(kind))
    assert file.load(str(path)).file.kind == kind
    assert "<" not in re.sub(r"#.*", "", filled(kind))
    if "<name>" in initial.template(kind):
        path.write_text(initial.template(kind))
        with pytest.raises(BadInput, match='name = "<name>": expected a name'):
            file.load(str(path))


@pytest.mark.parametrize("kind", initial.kinds())
def test_every_commented_example_has_a_value_of_its_type(kind: str) -> None:
    raw = uncommented(kind)
    if kind != "embedded":
        del raw["guard"]["promql"]["below"]  # one of the two
    assert msgspec.convert(raw, PlatformFile).kind == kind


def test_what_is_left_to_be_filled_in_is_named(tmp_path: pathlib.Path) -> None:
    text = _without_prose(initial.template("streamspace"))
    names = ["user", "template", "agent", "user-of-sessions"]
    for left in names:
        path = tmp_path / f"{left}.toml"
        path.write_text(
            re.sub(r"<([a-z-]+)>", lambda one, left=left: one[0] if one[1] == left else FILLED[one[1]], text)
        )
        with pytest.raises(BadInput, match=f"<{left}>.*: fill it in, or take it out"):
            file.load(str(path))


def test_no_secret_stands_in_a_template() -> None:
    for kind in initial.kinds():
        for name, value in re.findall(
            r"^(?:# )?(password|dsn|token|taps_token)\s*= (.*)$", initial.template(kind), re.MULTILINE
        ):
            assert value.startswith("{ "), (kind, name, value)


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.toml"
    assert f"chaos reprise doctor {path}" in initial.write("streamspace", str(path))
    assert path.read_text() == initial.template("streamspace")
    path.write_text("mine")
    with pytest.raises(BadInput, match="is there already, and is left as it is: name another file"):
        initial.write("streamspace", str(path))
    assert path.read_text() == "mine"
    with pytest.raises(BadInput, match=f'kind = "other": expected one of {", ".join(initial.kinds())}'):
        initial.write("other", str(tmp_path / "other.toml"))
    with pytest.raises(BadInput, match="can't be written"):
        initial.write("embedded", str(tmp_path / "no" / "file.toml"))


def test_the_command_writes_a_file_of_its_kinds_name(tmp_path: pathlib.Path) -> None:
    command = [CHAOS, "--no-version-check", "--no-log-file", "reprise", "init", "embedded"]
    done = [subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 3], done
    assert file.load(str(tmp_path / "embedded.toml")).file.lab == file.EMBEDDED.file.lab


def test_the_ledger_of_steps_of_a_template_is_looked_at_often_enough_and_one_that_is_not_is_said(
    tmp_path: pathlib.Path,
) -> None:
    path, said = tmp_path / "filled.toml", {}
    for hz in ("hz = 20.0", "hz = 1.0"):
        path.write_text(filled("sandbox").replace("hz = 20.0", hz))
        platform = file.load(str(path))
        there = Look(platform, adapter.make(platform, "doctor").describe(), [], facts.now({}, [], {}), [], platform)
        said[hz] = [(one.state, one.name) for one in conclusions.effects(there)]
    assert said == {"hz = 20.0": [("ok", "")], "hz = 1.0": [("ok", ""), ("limited", "workspaces")]}
