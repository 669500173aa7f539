"""A namespace for each test: in the cluster of KUBECONFIG, or of an API server of our own."""

import os
import pathlib
from collections.abc import Iterator

import apiservers
import pytest
from apiservers import Server, lacking

NO_CLUSTER = "no Kubernetes: KUBECONFIG is not set"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if why := lacking():
        pytest.skip(f"{NO_CLUSTER}, and {why}" if "KUBECONFIG" not in os.environ else why)
    with apiservers.server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def space(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[object]:
    """Of any cluster: where there is none, of our own server."""
    yield from made(tmp_path, os.environ.get("KUBECONFIG") or str(request.getfixturevalue("server").kubeconfig))


@pytest.fixture
def own(tmp_path: pathlib.Path, server: Server) -> Iterator[object]:
    """A namespace of the API server that may be killed and frozen."""
    yield from made(tmp_path, str(server.kubeconfig))


def made(folder: pathlib.Path, kubeconfig: str) -> Iterator[object]:
    from clusters import Space  # noqa: PLC0415 - takes a while

    found = Space(folder, kubeconfig)
    try:
        yield found
    finally:
        found.end()
