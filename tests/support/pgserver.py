"""A PostgreSQL of its own for tests that need no lab: the wheel's binaries, as the lab runs them."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import psycopg
from linkwire import eventually

from chaosreprise.lab import postgres

STARTS_WITHIN_S = 60


@contextlib.contextmanager
def running(folder: pathlib.Path, sql: str) -> Iterator[str]:
    """Where it listens."""
    (folder / "password").write_text("x")
    way = postgres.Way.NOBODY if os.getuid() == 0 else postgres.Way.DIRECT
    postgres.make_cluster(folder / "data", folder / "password", way, sql)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-m", "chaosreprise.lab", "postgres", str(folder / "data"), "--port", str(port)]
    server = subprocess.Popen([*command, "--way", way], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: _lets_in(port), STARTS_WITHIN_S)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def dsn(address: tuple[str, int] | str) -> str:
    host, port = address.rsplit(":", 1) if isinstance(address, str) else address
    return f"postgresql://postgres:x@{host}:{port}/postgres?connect_timeout=5"


def _lets_in(port: int) -> bool:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(dsn(("127.0.0.1", port))):
        return True
    return False
