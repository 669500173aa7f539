"""A lab that a module of tests keeps, and runs on it."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from runs import EXPERIMENT, SHORT, SHORTEST, Begin, Running, start_lab

from chaosreprise.stack import starter


@pytest.fixture(scope="module")
def lab() -> Iterator[starter.Stack]:
    stack = start_lab()
    try:
        yield stack
    finally:
        stack.end()


@pytest.fixture
def begin(tmp_path: pathlib.Path) -> Iterator[Begin]:
    """Begin a short run of agent-failover; whatever a failing test leaves is ended."""
    running: list[Running] = []

    def start(
        platform: pathlib.Path | str,
        *arguments: str,
        experiment: pathlib.Path | dict[str, Any] = EXPERIMENT,
        folder: str = "run",
        **env: str,
    ) -> Running:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        if isinstance(experiment, dict):
            (place / "experiment.json").write_text(json.dumps(experiment))
            experiment = place / "experiment.json"
        running.append(Running(platform, place, experiment, [*SHORT, *arguments], env))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def failover() -> dict[str, Any]:
    """The experiment as data, for tests that change it."""
    found: dict[str, Any] = json.loads(EXPERIMENT.read_text())
    return found


@pytest.fixture
def shortest() -> dict[str, Any]:
    """The experiment as data, with as little in it as can pass: one command of each kind exposed, one session in reserve."""
    text = EXPERIMENT.read_text()
    for name, value in SHORTEST.items():
        text = text.replace(f'"${{{name}}}"', json.dumps(value))
    found: dict[str, Any] = json.loads(text)
    found["controls"][0]["provider"]["arguments"]["workload"]["reserve"] = 1
    return found
