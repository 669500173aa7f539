"""Spoils the lines of a history: takes out, doubles, moves and changes lines, values and bytes, all drawn from one seed.

A history is here what it is on the disk, lines by writer. *Spared* are the lines that must stay as they are.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Lines = dict[str, list[bytes]]
Spared = Callable[[Any], bool]
WORDS = (
    "",
    "a1",
    "a2",
    "s-new",
    "completed",
    "failed",
    "online",
    "slots",
    "rows",
    "load",
    "done",
    "none",
    "\x00",
    "é" * 90,
)
INTS = (-1, 0, 1, 7, 2**31, 2**62 - 1, 2**62, 2**63, 10**40)
ODD = (None, True, False, 0.5, -1e300, "", "x", [], [[]], {}, {"x": {}}, [None] * 9)
JUNK = (
    b"",
    b"\x00",
    b"\xff",
    b"\xc3",
    b'"',
    b"}",
    b"[" * 3_000,
    b"\\u0000",
    b"\\ud800",
    b"9" * 400,
    b"\r",
    b"null",
    b"{}",
)
SHIFT = 4 * 10**9


class Spoiler:
    """Each method does one thing to the lines in place, to one that is not spared; false if there was none."""

    def __init__(self, lines: Lines, spared: Spared, chance: random.Random, forbidden: frozenset[str]) -> None:
        self.lines, self._chance, self._forbidden = lines, chance, forbidden
        self._spared = {id(line) for own in lines.values() for line in own if spared(json.loads(line))}
        self._words = sorted({*WORDS, *self._strings()} - forbidden)

    def lawfully(self) -> bool:
        """A change within what the format allows, nearly always: it gets as far as the checks."""
        return self._chance.choice((self.delete, self.double, self.move, self.shift, self.reword, self.borrow))()

    def unlawfully(self) -> bool:
        return self._chance.choice(
            (self.odd_value, self.odd_value, self.nest, self.junk, self.cut, self.join, self.flip)
        )()

    def delete(self) -> bool:
        return self._with_line(lambda own, at: own.pop(at) is not None)

    def double(self) -> bool:
        return self._with_line(lambda own, at: self._put(own, bytes(bytearray(own[at]))))

    def move(self) -> bool:
        """To another place, also of another writer: order within a history means nothing."""
        return self._with_line(lambda own, at: self._put(self._chance.choice(list(self.lines.values())), own.pop(at)))

    def shift(self) -> bool:
        by = self._chance.randint(-SHIFT, SHIFT)
        wider = self._chance.choice((0, 0, abs(by)))

        def act(event: dict[str, Any]) -> None:
            if "lo" in event:
                event["lo"], event["hi"] = max(0, event["lo"] + by), max(0, event["hi"] + by + wider)

        return self._with_event(act)

    def reword(self) -> bool:
        """Another text, or another number, in place of one."""

        def act(event: dict[str, Any]) -> None:
            inside, key = self._chance.choice(list(slots(event)))
            if isinstance(inside[key], str):
                inside[key] = self._chance.choice(self._words)
            elif isinstance(inside[key], int):
                inside[key] = self._chance.choice(INTS)

        return self._with_event(act)

    def borrow(self) -> bool:
        """A field as another event of the same type has it, or none."""

        def act(event: dict[str, Any]) -> None:
            key = self._chance.choice([key for key in event if key != "type"])
            own = [json.loads(line) for line in self._chance.sample(self._all(), 20)]
            others = [one[key] for one in own if one.get("type") == event["type"] and key in one]
            others = [value for value in others if not self._forbidden & set(texts(value))]
            if others:
                event[key] = self._chance.choice(others)
            else:
                event.pop(key)

        return self._with_event(act)

    def odd_value(self) -> bool:
        def act(event: dict[str, Any]) -> None:
            inside, key = self._chance.choice(list(slots(event)))
            inside[key] = self._chance.choice((*ODD, *INTS))

        return self._with_event(act)

    def nest(self) -> bool:
        def act(line: bytes) -> bytes:
            depth = self._chance.choice((3, 60, 900, 50_000))
            return (
                line.replace(b":", b":" + b"[" * depth, 1)
                if self._chance.random() < 0.5
                else line[:-1] + (b',"fields":{"x":' + b"[" * depth + b"]" * depth + b"}}")
            )

        return self._with_bytes(act)

    def junk(self) -> bool:
        def act(line: bytes) -> bytes:
            at = self._chance.randrange(len(line) + 1)
            return line[:at] + self._chance.choice(JUNK) + line[at:]

        return self._with_bytes(act)

    def flip(self) -> bool:
        def act(line: bytes) -> bytes:
            at = self._chance.randrange(len(line))
            return line[:at] + bytes([line[at] ^ 1 << self._chance.randrange(8)]) + line[at + 1 :]

        return self._with_bytes(act)

    def cut(self) -> bool:
        return self._with_bytes(lambda line: line[: self._chance.randrange(len(line))])

    def join(self) -> bool:
        return self._with_bytes(lambda line: line + self._chance.choice((b"", b" ", b",")) + line)

    def _all(self) -> list[bytes]:
        return [line for own in self.lines.values() for line in own if line[:1] == b"{" and line[-1:] == b"}"] * 20

    def _strings(self) -> Iterator[str]:
        for own in self.lines.values():
            for line in self._chance.sample(own, min(9, len(own))):
                yield from texts(json.loads(line))

    def _put(self, own: list[bytes], line: bytes) -> bool:
        own.insert(self._chance.randint(min(1, len(own)), len(own)), line)
        return True

    def _with_line(self, act: Callable[[list[bytes], int], bool]) -> bool:
        places = [
            (own, at) for own in self.lines.values() for at, line in enumerate(own) if id(line) not in self._spared
        ]
        return bool(places) and act(*self._chance.choice(places))

    def _with_bytes(self, act: Callable[[bytes], bytes]) -> bool:
        def put(own: list[bytes], at: int) -> bool:
            own[at] = act(own[at]) if own[at] else own[at]
            return True

        return self._with_line(put)

    def _with_event(self, act: Callable[[dict[str, Any]], None]) -> bool:
        def put(line: bytes) -> bytes:
            try:
                event = json.loads(line)
                act(event)
            except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
                return line  # it had been spoiled before
            return json.dumps(event, ensure_ascii=False).encode()

        return self._with_bytes(put)


def slots(value: Any) -> Iterator[tuple[Any, str | int]]:
    """Every place in a value, as what holds it and the key there."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from slots(value[key])


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys apart."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from texts(inside)


def fresh(lines: Lines) -> Lines:
    """A copy of which each line is an object of its own."""
    return {writer: [bytes(bytearray(line)) for line in own] for writer, own in copy.copy(lines).items()}
