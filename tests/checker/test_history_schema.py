"""The published JSON Schema of a line, by an implementation that is not ours: it takes what is written and refuses what the reader does."""

import copy
import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from histories import complete
from jsonschema import Draft202012Validator

from chaosreprise import cli
from chaosreprise.errors import BadInput
from chaosreprise.history import History, load, schema
from chaosreprise.history.statements import Allowed, Known, Objective, Situation
from chaosreprise.platform.streamspace_states import STATES
from chaosreprise.simulation import draw, simulate

VALIDATOR = Draft202012Validator(schema())
SEEDS = range(3)
CHANGES = 600
VALUES = (None, True, 0, -1, 2**62, 2**62 - 1, 10**30, 0.5, "", "x", "2027-01-31\n", [], ["x"], {}, {"x": 1})
STATED = {
    "objectives": [Objective(name="steps", latency="answer", op="step", quantile=0.99, max=1)],
    "situations": [Situation(name="away", when="agent-broken", ops=["stop"], allow=[Allowed(status=0)], within_s=1)],
    "known": [Known(check="lost", match="* wake of session * was lost", why="x", expires="2999-01-31")],
    "states": STATES[:3],
}


def lines_of(history: History) -> list[dict[str, Any]]:
    events = [*history.segments, *([history.contract] if history.contract else []), *history.events]
    return [json.loads(msgspec.json.encode(event)) for event in events]


def kinds() -> list[dict[str, Any]]:
    """A few lines of each kind of event."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines_of(complete(n=1, seconds_of_steps=0.3, **STATED).history()):
        found.setdefault(line["type"], []).append(line)
    return [line for lines in found.values() for line in lines[:3]]


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in inner:
        yield from places(inside, (*at, key))


def changed(line: dict[str, Any], chance: random.Random) -> Any:
    """One value of it taken out, or another in its place."""
    at = chance.choice(list(places(line)))
    if not at:
        return chance.choice(VALUES)
    made = copy.deepcopy(line)
    inside = made
    for key in at[:-1]:
        inside = inside[key]
    if isinstance(inside, dict) and chance.random() < 0.3:
        del inside[at[-1]]
    else:
        inside[at[-1]] = chance.choice(VALUES)
    return made


def is_read(line: Any, folder: pathlib.Path) -> bool:
    first = {
        "type": "segment",
        "v": 1,
        "writer": "a",
        "run": "r",
        "boot": "b",
        "host": "h",
        "pid": 1,
        "mono": 0,
        "wall": 0,
    }
    other = isinstance(line, dict) and line.get("type") == "segment"
    belongs = {"writer": "b", "run": "r", "boot": "b"} if other else {}
    belongs = {key: value for key, value in belongs.items() if isinstance(line.get(key), str)}
    second = {**line, **belongs} if other else line
    (folder / "a.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    try:
        load(folder)
    except BadInput:
        return False
    return True


def test_it_is_a_schema_and_the_command_prints_it():
    Draft202012Validator.check_schema(schema())
    assert json.loads(CliRunner().invoke(cli.reprise, ["schema"]).output) == schema()


def test_it_takes_every_line_of_a_run():
    histories = [complete(n=1, seconds_of_steps=0.3, **STATED).history(), simulate(draw(1)).history()]
    for line in (line for history in histories for line in lines_of(history)[:200]):
        assert [error.message for error in VALIDATOR.iter_errors(line)] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_it_takes_what_the_reader_takes_and_nothing_else_but_a_time_that_ends_before_it_begins(
    tmp_path: pathlib.Path, seed: int
):
    chance, lines = random.Random(seed), kinds()
    told = {True: 0, False: 0}
    for _ in range(CHANGES // len(SEEDS)):
        line = changed(chance.choice(lines), chance)
        valid = VALIDATOR.is_valid(line)
        if valid and isinstance(line, dict) and (line.get("lo", 0) > line.get("hi", 0) or line.get("v", 1) != 1):
            continue
        assert is_read(line, tmp_path) == valid, line
        told[valid] += 1
    assert min(told.values()) > CHANGES / len(SEEDS) / 10
