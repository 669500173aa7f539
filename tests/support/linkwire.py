"""A proxy server to test, ours or the real one, and the two ends of a wire that goes through it."""

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from chaosreprise.links.client import Toxiproxy

PATIENCE_S = 10.0
REAL = os.environ.get("TOXIPROXY_URL") or shutil.which("toxiproxy-server")
NO_REAL = "no real Toxiproxy: TOXIPROXY_URL is not set and toxiproxy-server is not on the PATH"


def eventually(is_so: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    end = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@contextlib.contextmanager
def embedded(token: str = "") -> Iterator[tuple[subprocess.Popen, str]]:
    environment = os.environ | {"REPRISE_LINKS_TOKEN": token}
    command = [sys.executable, "-m", "chaosreprise.links", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            yield process, f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@contextlib.contextmanager
def real() -> Iterator[tuple[subprocess.Popen | None, str]]:
    if url := os.environ.get("TOXIPROXY_URL"):
        yield None, url
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [REAL, "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"LOG_LEVEL": "error"}) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            assert eventually(Toxiproxy(url).running)
            yield process, url
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


class Far:
    """The far end of a wire: a server that hands over each connection that reaches it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._listener.settimeout(PATIENCE_S)

    def take(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        self._listener.close()


def near(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_exactly(end: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count and (more := end.recv(min(count - len(got), 1 << 20))):
        got += more
    return bytes(got)


def read_all(end: socket.socket) -> bytes:
    got = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := end.recv(1 << 16):
            got += more
    return bytes(got)


def how_it_ends(end: socket.socket, within_s: float = PATIENCE_S) -> str:
    """`end`, `reset`, `open` when neither comes in time, or `bytes`."""
    end.settimeout(within_s)
    try:
        return "bytes" if end.recv(1 << 16) else "end"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "open"
    finally:
        end.settimeout(PATIENCE_S)


def reached(pairs: list[tuple[socket.socket, socket.socket]]) -> list[int]:
    """Which clients get a byte that is sent to all of them."""
    for _, far in pairs:
        far.sendall(b"x")
    clients = [client for client, _ in pairs]
    got: set[socket.socket] = set()
    while ready := select.select([one for one in clients if one not in got], [], [], 0.2)[0]:
        got.update(one for one in ready if one.recv(1))
    return [number for number, client in enumerate(clients) if client in got]


def in_background(work: Callable[[], object]) -> threading.Thread:
    """A thread whose sockets may be closed under it when the test is over."""

    def run() -> None:
        with contextlib.suppress(OSError):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
