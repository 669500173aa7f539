import importlib.util
import pathlib
import sys

import pytest

if "toystack" not in sys.modules:
    found = importlib.util.spec_from_file_location(
        "toystack", pathlib.Path(__file__).parents[1] / "stack" / "toystack.py"
    )
    sys.modules["toystack"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules["toystack"])
toystack = sys.modules["toystack"]


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
