"""Ports that lead to pods, through a real API server and kubelet: the next connection after a pod's end finds another pod."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from clusters import IMAGE, NO_IMAGE, Rule, Space, rules_of
from linkwire import eventually

from chaosreprise.errors import BadInput, NotAllowed
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.kubernetes.where import Forward, Where

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
PATIENCE_S = 90.0
ANSWERS = """
import http.server, socket
class Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Pod", socket.gethostname())
        self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("", 8000), Answers).serve_forever()
"""


@pytest.fixture
def space(space: Space) -> Space:
    if IMAGE is None:
        pytest.skip(NO_IMAGE)
    space.make("k1", image=IMAGE, command=["python3", "-c", ANSWERS])
    space.account(*rules_of("forward"))
    return space


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def forwarding(space: Space, port: int) -> Iterator[list[str]]:
    where = Where(namespace=space.name, kubeconfig=str(space.kubeconfig))
    with forwarded(where, {"api": Forward(selector="session=k1", port=8000, local=port)}) as broken:
        yield broken


def asked(port: int, body: bytes = b"x") -> str | None:
    """The pod that answered rightly."""
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.post(f"http://127.0.0.1:{port}", content=body, timeout=30, trust_env=False)
        assert answer.content == body
        return str(answer.headers["X-Pod"])
    return None


def test_connections_are_led_to_a_pod_that_is_ready_and_what_the_server_breaks_is_told(space: Space) -> None:
    port, large = free_port(), bytes(range(256)) * 20_000
    with forwarding(space, port) as broken:
        assert eventually(lambda: asked(port), PATIENCE_S)
        first = asked(port, large)
        with ThreadPoolExecutor(10) as threads:
            assert set(threads.map(lambda _: asked(port), range(20))) == {first}
        assert broken == [], "that no pod was ready at first is the platform's"
        space.relay.cut()
        assert asked(port) is None
        assert eventually(lambda: "the API server does not answer" in "".join(broken))
        space.relay.mend()
        assert asked(port) == first
        space.core.delete_namespaced_pod(first, space.name, grace_period_seconds=0)
        assert eventually(lambda: asked(port) not in (None, first), PATIENCE_S)
    assert asked(port) is None, "it ends with its block"


def test_a_port_that_is_taken_is_said(space: Space) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput) as raised, forwarding(space, port):
            pass
    assert str(raised.value) == f"forward.api.local = {port}: Address already in use: choose a free port"


@pytest.mark.parametrize("right", rules_of("forward"))
def test_a_right_that_is_missing_is_named(right: Rule, space: Space) -> None:
    space.allow(*(one for one in rules_of("forward") if one != right))
    with (
        pytest.raises(NotAllowed, match=f"may not {right[0]} {right[2]} in the namespace"),
        forwarding(space, free_port()),
    ):
        pass
