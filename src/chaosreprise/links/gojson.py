"""JSON as Go reads and writes it: names in any case, null and unknown names are nothing, what follows a value is not read.

Clients of Toxiproxy rely on it without knowing. A field that has the wrong type is refused with its name.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

from chaosreprise.errors import shown

INT64 = range(-(2**63), 2**63)
NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}


class NotReadable(Exception):
    """Why a body can't be used."""


def _no_constant(name: str) -> None:
    raise NotReadable(f"invalid character {name[0]!r} looking for beginning of value")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def first_value(body: bytes) -> Any:
    text = body.decode(errors="replace").lstrip()
    if not text:
        raise NotReadable("EOF")
    try:
        return _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        raise NotReadable(str(error)) from error


def fields(value: Any, types: Mapping[str, type]) -> dict[str, Any]:
    """What an object says of these fields; null says nothing of any."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NotReadable(f"{shown(value)} is no object")
    found = {}
    for key, entry in value.items():
        name = key if key in types else key.lower()
        if entry is not None and name in types:
            found[name] = _typed(name, entry, types[name])
    return found


def shortest(number: float) -> float:
    """A 32-bit float with as few digits as tell it from its neighbours."""
    if number.is_integer():
        return int(number)
    return next(short for digits in range(1, 10) if float32(short := float(f"{number:.{digits}g}")) == number)


def float32(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError as error:
        raise NotReadable(f"{number} is no 32-bit number") from error


def _typed(name: str, value: Any, wanted: type) -> Any:
    if wanted is float and type(value) in {int, float}:
        return float32(value)
    if type(value) is not wanted or (wanted is int and value not in INT64):
        raise NotReadable(f"{name} is {shown(value)}: it takes {NAMES[wanted]}")
    if isinstance(value, str):  # half of a surrogate pair could not be shown again
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
