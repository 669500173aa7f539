"""Deployments of strangers, each with a state directory and a folder of its own."""

import pathlib
from collections.abc import Iterator

import psycopg
import pytest
import standin_space


@pytest.fixture(autouse=True)
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def space_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standin_space.database(tmp_path_factory.mktemp("space")) as dsn:
        yield dsn


@pytest.fixture
def space_database(space_server: str) -> str:
    """Without what an earlier test left."""
    with psycopg.connect(space_server, autocommit=True) as connection:
        connection.execute("delete from agent_commands")
        connection.execute("delete from sessions")
    return space_server
