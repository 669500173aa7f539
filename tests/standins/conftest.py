"""Deployments of strangers, each with a state directory and a folder of its own."""

import pathlib
from collections.abc import Iterator

import pytest
import standin_space


@pytest.fixture(autouse=True)
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def space_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standin_space.database(tmp_path_factory.mktemp("space")) as dsn:
        yield dsn
