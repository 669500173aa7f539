"""Fixtures around toy stacks, for the folders that test on them."""

import pytest
import toystack


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Each test has a state directory of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "reprise"


@pytest.fixture
def launch():
    """Starts toy stacks, and ends them."""
    stacks = []

    def start(components, **options):
        stacks.append(toystack.launch(components, **options))
        return stacks[-1]

    yield start
    for stack in stacks:
        stack.end()
