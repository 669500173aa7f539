"""Ports that lead to pods, through a real API server and kubelet: the next connection after a pod's end finds another pod."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from clusters import IMAGE, NO_IMAGE, Rule, Space, rules_of
from linkwire import eventually

from chaosreprise.errors import BadInput, NotAllowed
from chaosreprise.history import Coverage
from chaosreprise.history.events import POD_ENDED
from chaosreprise.kubernetes.forwarding import forwarded
from chaosreprise.kubernetes.where import Forward, Where
from chaosreprise.observe import Emit

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
PATIENCE_S = 90.0
ANSWERS = """
import http.server, os, socket
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        os._exit(1)
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
def forwarding(space: Space, port: int, emit: Emit = lambda _: None) -> Iterator[list[str]]:
    where = Where(namespace=space.name, kubeconfig=str(space.kubeconfig))
    with forwarded(where, {"api": Forward(selector="session=k1", port=8000, local=port)}, emit) as broken:
        yield broken


def asked(port: int, body: bytes = b"x") -> str | None:
    """The pod that answered rightly."""
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.post(f"http://127.0.0.1:{port}", content=body, timeout=30, trust_env=False)
        assert answer.content == body
        return str(answer.headers["X-Pod"])
    return None


def test_connections_are_led_to_a_pod_that_is_ready_and_what_the_server_breaks_is_a_gap(space: Space) -> None:
    port, large = free_port(), bytes(range(256)) * 20_000
    seen: list[Coverage] = []

    def is_open() -> bool:
        return bool(seen) and seen[-1].on

    with forwarding(space, port, seen.append) as broken:
        assert eventually(lambda: asked(port), PATIENCE_S)
        first = asked(port, large)
        with ThreadPoolExecutor(10) as threads:
            assert set(threads.map(lambda _: asked(port), range(20))) == {first}
        assert told(seen) == broken == [], "that no pod was ready at first is the platform's"
        with socket.create_connection(("127.0.0.1", port)) as held:
            began = time.monotonic_ns()
            held.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
            time.sleep(0.5)
            space.relay.cut()
            assert held.recv(1) == b""
        assert asked(port) is None
        assert eventually(lambda: "the API server does not answer" in "".join(broken))
        assert eventually(lambda: seen[-1].on is False)
        cut = time.monotonic_ns()
        space.relay.mend()
        assert eventually(is_open)
        [off] = told(seen)
        assert (off.of, off.lo <= cut <= seen[-1].lo, off.hi > began) == ("forward/api", True, True)
        assert asked(port) == first
        space.core.delete_namespaced_pod(first, space.name, grace_period_seconds=0)
        assert eventually(lambda: asked(port) not in (None, first), PATIENCE_S)
        assert eventually(is_open)
        [_, ended] = told(seen)
        assert (ended.why, ended.lo < seen[-1].hi) == (f"{POD_ENDED}: {first}", True)
    assert asked(port) is None, "it ends with its block"


def test_a_pod_that_crashes_by_itself_is_the_platforms(space: Space) -> None:
    seen: list[Coverage] = []
    port = free_port()
    with forwarding(space, port, seen.append):
        assert eventually(lambda: asked(port), PATIENCE_S)
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=30, trust_env=False)
        assert eventually(lambda: asked(port), PATIENCE_S)
    [pod] = space.core.list_namespaced_pod(space.name).items
    assert (pod.status.container_statuses[0].restart_count, told(seen)) == (1, [])


def test_a_way_on_which_nothing_moves_any_more_is_a_gap_from_the_last_good_look_on(space: Space) -> None:
    seen: list[Coverage] = []
    with forwarding(space, free_port(), seen.append):
        assert eventually(lambda: seen and seen[-1].on)
        space.relay.freeze()
        frozen = time.monotonic_ns()
        assert eventually(lambda: not seen[-1].on)
        space.relay.mend()
        assert eventually(lambda: seen[-1].on)
    off = told(seen)[-1]
    assert off.lo <= frozen <= off.hi


def told(seen: list[Coverage]) -> list[Coverage]:
    """The gaps, but for those of a machine that was too busy to look."""
    return [one for one in seen if not one.on and one.why != "done" and not one.why.startswith("nobody looked")]


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
