"""Each test of `server` runs over our own proxy and over the real one, where there is one."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import linkwire
import pytest

from chaosreprise.links.client import Proxy, Toxiproxy

_numbers = itertools.count()


class Server(NamedTuple):
    kind: str
    client: Toxiproxy

    @property
    def is_ours(self) -> bool:
        return self.kind == "embedded"


@pytest.fixture(scope="module", params=["embedded", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "real" and not linkwire.REAL:
        pytest.skip(linkwire.NO_REAL)
    with (linkwire.embedded if request.param == "embedded" else linkwire.real)() as (_, url):
        yield Server(request.param, Toxiproxy(url))


@pytest.fixture
def far() -> Iterator[linkwire.Far]:
    end = linkwire.Far()
    yield end
    end.close()


@pytest.fixture
def proxy(server: Server, far: linkwire.Far) -> Iterator[Proxy]:
    """A proxy of the test's own, in front of `far`; other proxies of the server are left alone."""
    made = server.client.create(far.address, f"reprise-test-{next(_numbers)}")
    yield made
    with contextlib.suppress(Exception):
        made.destroy()


@pytest.fixture
def wire(proxy: Proxy, far: linkwire.Far) -> Iterator[Callable[[], tuple]]:
    """Makes a connection through the proxy: its near and its far end."""
    ends = []

    def make() -> tuple:
        ends.append(linkwire.near(proxy.address))
        ends.append(far.take())
        return ends[-2], ends[-1]

    yield make
    for end in ends:
        end.close()
