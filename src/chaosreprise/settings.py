"""Turns what people write (TOML, JSON) into typed structs, or says in one sentence what is wrong with which value.

msgspec does the conversion; this module words its errors: the file, the setting with its value, what was expected, and
the nearest known name for a typo. An expectation is the `description` of the field's `msgspec.Meta`; what stands where
a type with `extra={"hidden": True}` is expected is never shown, since it may be the secret itself.
"""

import difflib
import re
import types
import typing
from typing import Any, TypeVar

import msgspec

from chaosreprise.errors import BadInput, shown

T = TypeVar("T")
TOO_MUCH = "a number in it has too many digits, or it is nested too deeply: write it shorter"
LARGEST = 1_000_000  # bytes of a file that somebody wrote
UNIONS = (typing.Union, types.UnionType)  # `X | None` of an Annotated type is the former
_PATH = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$")
_BARE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PLAIN = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def read_text(where: str, what: str, instead: str) -> str:
    """The text of a file that somebody wrote. BadInput with why `what` can't be read, and what to do `instead`."""
    try:
        with open(where, "rb") as stream:
            read = stream.read(LARGEST + 1)  # not all of it: it may be a device, which has no end
        if len(read) <= LARGEST:
            return read.decode()
        reason = f"it is longer than {LARGEST} bytes"
    except UnicodeDecodeError as error:
        reason = f"not a text in UTF-8, byte {error.start}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise BadInput(f"{where}: {what} can't be read ({reason}): {instead}")


def convert(source: str, raw: object, into: type[T]) -> T:
    """`raw` as a struct of type `into`; BadInput names `source`, the setting, its value and what was expected."""
    try:
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as error:
        raise BadInput(f"{source}: {_explain(str(error), raw, into)}") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{source}: {TOO_MUCH}") from None


def _explain(message: str, raw: object, into: type) -> str:
    at = _PATH.search(message)
    reason = message[: at.start()] if at else message
    keys = _keys(at["path"], raw, into) if at else []
    kind = _follow_type(into, keys)
    if at and at["key"]:
        return _unknown_key(keys, _follow_value(raw, keys), kind)
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", reason, re.DOTALL):
        return _unknown(keys, unknown[1], _names(kind))
    if missing := re.fullmatch(r"Object missing required field `(.+)`", reason):
        return (
            f"{_dotted([*keys, missing[1]])} is missing: expected {_expected(_follow_type(into, [*keys, missing[1]]))}"
        )
    value = "" if _hidden(kind) else f" = {shown(_follow_value(raw, keys))}"
    return f"{_dotted(keys) or 'the whole'}{value}: expected {_expected(kind, reason)}"


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


def _unknown_key(keys: list[str | int], table: Any, kind: Any) -> str:
    """A key of a table whose keys are of a type of their own."""
    of_key = typing.get_args(_strip(kind))[0]
    culprit = next((key for key in table if not _fits(key, of_key)), "?")
    return _unknown(keys, culprit, [str(choice) for choice in typing.get_args(of_key)])


def _unknown(keys: list[str | int], name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name[:100], names, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return f"{_dotted([*keys, name])} is not a setting: {hint}"


def _names(kind: Any) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)] if _is_struct(kind) else []


def _dotted(keys: list[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{_name(key)}" for key in keys).removeprefix(".")


def _name(key: str) -> str:
    """A key of a table: bare where TOML would let it be."""
    return key if _BARE.fullmatch(key) else shown(key)


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
    return any(meta.description is not None for meta in _metas(kind))


def _hidden(kind: Any) -> bool:
    return any((meta.extra or {}).get("hidden") for meta in _metas(kind))


def _metas(kind: Any) -> list[msgspec.Meta]:
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]


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
    if described := next((meta.description for meta in _metas(kind) if meta.description), None):
        return described
    kind = _strip(kind)
    if typing.get_origin(kind) in UNIONS:
        return " or ".join(_expected(one) for one in typing.get_args(kind) if one is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        choices = [str(choice) for choice in typing.get_args(kind)]
        return ", ".join(choices) if len(choices) == 1 else f"one of {', '.join(choices)}"
    if _is_struct(kind):
        return f"a table with {', '.join(_names(kind))}"
    return _PLAIN.get(typing.get_origin(kind) or kind) or reason.lower().replace("`", "")
