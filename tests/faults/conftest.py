import pytest
import toystack
from toyfixtures import launch, state

from chaosreprise.faults import client as faults
from chaosreprise.stack.client import Keeper

__all__ = ["launch", "state"]


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """A server and two agents, for all tests that leave them whole."""
    port = toystack.free_port()
    components = [toystack.server(port), toystack.agent("a1", port), toystack.agent("a2", port)]
    stack = toystack.launch(components, folder=tmp_path_factory.mktemp("stacks") / "lasting")
    yield stack
    stack.end()


@pytest.fixture
def stack(lasting):
    yield lasting
    with Keeper(lasting.address) as keeper:
        assert [c.held_by for c in keeper.status().components] == [None, None, None]


@pytest.fixture
def mortal(launch):
    """A server and an agent, for a test that kills their keeper."""
    port = toystack.free_port()
    return launch([toystack.server(port), toystack.agent("a1", port)])


@pytest.fixture
def history(tmp_path):
    return tmp_path / "run" / "history"


@pytest.fixture
def start_warden(history):
    """Starts wardens on a stack, and closes them."""
    wardens = []

    def start(stack, run="r1", **options):
        wardens.append(
            faults.Warden.start(
                run=run,
                platform_id="toy@here",
                keeper=stack.address,
                history=history,
                **{"platform_file": None, **options},
            )
        )
        return wardens[-1]

    yield start
    for warden in wardens:
        warden.close()


@pytest.fixture
def warden(stack, start_warden):
    return start_warden(stack)


@pytest.fixture
def keeper(stack):
    with Keeper(stack.address) as keeper:
        yield keeper
