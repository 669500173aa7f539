"""Spoils the lines of a history: takes out, doubles, moves and changes lines, values and bytes, all drawn from one seed.

A history is here what it is on the disk, lines by writer.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Lines = dict[str, list[bytes]]
TRIES = 40
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
TIMES = ("lo", "hi")
FIXED = (
    *TIMES,
    "type",
    "op",
    "outcome",
    "mark",
    "about",
    "edge",
    "level",
    "v",
    "run",
    "boot",
    "writer",
    "pid",
    "mono",
    "wall",
)
INTS = (0, 1, 7, 2**31, 2**62 - 1)
MORE = (-1, 2**62, 2**63, 10**40)
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
OPTIONAL = (
    "session",
    "user",
    "path",
    "rule",
    "status",
    "id",
    "error",
    "result",
    "listed",
    "why",
    "inc",
    "gen",
    "by",
    "proof",
    "owner",
    "fields",
)
SHIFT = 4 * 10**9


class Spoiler:
    """Each method does one thing to the lines in place, to one that is not spared; false if there was none."""

    def __init__(self, lines: Lines, spared: set[int], chance: random.Random, forbidden: frozenset[str]) -> None:
        """`spared`: the ids of lines that stay as they are; `forbidden`: texts that are written nowhere."""
        self.lines, self._spared, self._chance, self._forbidden = lines, spared, chance, forbidden
        self._words = sorted({*WORDS, *self._strings()} - forbidden)

    def lawfully(self) -> bool:
        """A change within what the format allows, nearly always: it gets as far as the checks."""
        self._wild = False
        return self._chance.choice((self.delete, self.double, self.move, self.shift, self.reword, self.borrow))()

    def unlawfully(self) -> bool:
        self._wild = True
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
            inside, key = self._chance.choice([(inside, key) for inside, key in slots(event) if key not in FIXED])
            if isinstance(inside[key], str) and not (key == "state" and event["type"] == "fault"):
                inside[key] = self._chance.choice(self._words)
            elif isinstance(inside[key], int) and not isinstance(inside[key], bool):
                inside[key] = self._chance.choice(INTS)

        return self._with_event(act)

    def borrow(self) -> bool:
        """A field as another event of the same type has it, or none."""

        def act(event: dict[str, Any]) -> None:
            key = self._chance.choice([key for key in event if key not in ("type", *TIMES)])
            others = [json.loads(self._chance.choice(own)) for own in [self._chance.choice(self._full())] * 9]
            values = [one[key] for one in others if one["type"] == event["type"] and key in one]
            values = [value for value in values if not self._forbidden & set(texts(value))]
            if values:
                event[key] = self._chance.choice(values)
            elif key in OPTIONAL:
                event.pop(key)

        return self._with_event(act)

    def odd_value(self) -> bool:
        def act(event: dict[str, Any]) -> None:
            inside, key = self._chance.choice(list(slots(event)))
            inside[key] = self._chance.choice((*ODD, *INTS, *MORE))

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

    def _full(self) -> list[list[bytes]]:
        return [own for own in self.lines.values() if own]

    def _strings(self) -> Iterator[str]:
        for own in self.lines.values():
            for line in self._chance.sample(own, min(9, len(own))):
                yield from texts(json.loads(line))

    def _put(self, own: list[bytes], line: bytes) -> bool:
        own.insert(self._chance.randint(min(1, len(own)), len(own)), line)
        return True

    def _with_line(self, act: Callable[[list[bytes], int], bool]) -> bool:
        """Any line is as likely as any other; what begins a file, and the contract, are only spoiled unlawfully."""
        full = self._full()
        for _ in range(TRIES):
            own = self._chance.choices(full, [len(own) for own in full])[0]
            at = self._chance.randrange(len(own))
            first = own[at].startswith((b'{"type":"segment"', b'{"type":"contract"')) and not self._wild
            if id(own[at]) not in self._spared and not first:
                return act(own, at)
        return False

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
