"""Turns what people write (TOML, JSON) into typed structs, or says in one sentence what is wrong with which value.

msgspec does the conversion; this module words its errors: the file, the setting with its value, what was expected, and
the nearest known name for a typo. An expectation is the `description` of the field's `msgspec.Meta`.
"""

import difflib
import json
import re
import types
import typing
from typing import Any, TypeVar

import msgspec

from chaosreprise.errors import BadInput

T = TypeVar("T")
UNIONS = (typing.Union, types.UnionType)  # `X | None` of an Annotated type is the former
_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_PLAIN = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def convert(source: str, raw: object, into: type[T]) -> T:
    """`raw` as a struct of type `into`; BadInput names `source`, the setting, its value and what was expected."""
    try:
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as error:
        raise BadInput(f"{source}: {_explain(str(error), raw, into)}") from None


def _explain(message: str, raw: object, into: type) -> str:
    at = _PATH.search(message)
    reason = message[: at.start()] if at else message
    keys = _keys(at["path"], raw, into) if at else []
    if unknown := re.match(r"Object contains unknown field `(.+)`", reason):
        return _unknown(unknown[1], keys, _follow_type(into, keys))
    if missing := re.match(r"Object missing required field `(.+)`", reason):
        return (
            f"{_dotted([*keys, missing[1]])} is missing: expected {_expected(_follow_type(into, [*keys, missing[1]]))}"
        )
    value = _follow_value(raw, keys)
    return f"{_dotted(keys) or 'the whole'} = {json.dumps(value, default=str)}: expected {_expected(_follow_type(into, keys), reason)}"


def _keys(path: str, raw: object, into: type) -> list[str | int]:
    """The path of an error as keys. msgspec writes `[...]` for a key of a table: the culprit is found by trying each."""
    keys: list[str | int] = []
    tokens = [
        key or (index if index == "..." else int(index))
        for key, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path)
    ]
    for token in tokens:
        table = _follow_value(raw, keys)
        if token != "..." or not isinstance(table, dict):
            keys.append(token)
            continue
        keys.append(next((key for key in table if not _fits(table[key], _follow_type(into, [*keys, key]))), token))
    return keys


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _unknown(name: str, keys: list[str | int], owner: Any) -> str:
    names = [field.encode_name for field in msgspec.structs.fields(owner)] if _is_struct(owner) else []
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return f"{_dotted([*keys, name])} is not a setting: {hint}"


def _dotted(keys: list[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


def _follow_value(raw: object, keys: list[str | int]) -> object:
    value: Any = raw
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _follow_type(kind: Any, keys: list[str | int]) -> Any:
    for key in keys:
        kind = _strip(kind)
        if _is_struct(kind):
            hints = typing.get_type_hints(kind, include_extras=True)
            kind = next((hints[field.name] for field in msgspec.structs.fields(kind) if field.encode_name == key), Any)
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if arguments else Any
    return kind if _described(kind) else _strip(kind)


def _described(kind: Any) -> bool:
    return any(isinstance(meta, msgspec.Meta) and meta.description for meta in getattr(kind, "__metadata__", ()))


def _strip(kind: Any) -> Any:
    """The type behind Annotated and Optional."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif (
            typing.get_origin(kind) in UNIONS
            and type(None) in typing.get_args(kind)
            and len(typing.get_args(kind)) == 2
        ):
            inner = next(argument for argument in typing.get_args(kind) if argument is not type(None))
            if _described(inner):
                return inner
            kind = inner
        else:
            return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _expected(kind: Any, reason: str = "") -> str:
    """What is expected, in words: the description of the type, or its own plain name."""
    if typing.get_origin(kind) in UNIONS:
        kind = next(argument for argument in typing.get_args(kind) if argument is not type(None))
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    kind = _strip(kind)
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
    if _is_struct(kind):
        return "a table with " + ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
    plain = _PLAIN.get(typing.get_origin(kind) or kind)
    return plain or reason.lower().replace("`", "")
