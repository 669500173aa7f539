"""A frozen link whose connections are gone is undone over a real Toxiproxy within the planned limit, by whoever asked for it."""

import asyncio
import contextlib
import socket
import threading
import time

import linkwire
import pytest

from chaosreprise.clock import SECOND, boottime
from chaosreprise.faults import on_link, toxics
from chaosreprise.faults.wires import STREAMS
from chaosreprise.links.client import Toxiproxy
from chaosreprise.platform.links import Place

CONNECTIONS = 10
FREEZE = {"type": "bandwidth", "attributes": {"rate": 0}}


def talk(connection: socket.socket) -> None:
    """Both ways, without pause."""

    def listen() -> None:
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    def speak() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)
                time.sleep(0.01)

    for does in (listen, speak):
        threading.Thread(target=does, daemon=True).start()


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_what_a_server_answers_late_since_ten_receivers_are_gone_is_removed_within_its_limit_and_by_us() -> None:
    if not linkwire.REAL:
        pytest.skip(linkwire.NO_REAL)
    ends: list[socket.socket] = []
    with linkwire.real() as (_, url), socket.create_server(("127.0.0.1", 0)) as upstream:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    ends.append(upstream.accept()[0])
                    talk(ends[-1])

        threading.Thread(target=serve, daemon=True).start()
        proxy = Toxiproxy(url).create(f"127.0.0.1:{upstream.getsockname()[1]}", "removal")
        door = toxics.door(Place(admin=url, proxy="removal"))
        try:
            ends += [socket.create_connection(proxy.address) for _ in range(CONNECTIONS)]
            assert linkwire.eventually(lambda: len(ends) == 2 * CONNECTIONS)
            for one in list(ends[:CONNECTIONS]):
                talk(one)
            toxics.add(door, "r1/f1", boottime() + 600 * SECOND, list(STREAMS), FREEZE)
            time.sleep(1)
            for one in ends:
                one.shutdown(socket.SHUT_RDWR)
                one.close()
            limit_s = toxics.removal_s(len(STREAMS), CONNECTIONS)
            assert asyncio.run(on_link._remove(None, door, "r1/f1", limit_s))
            assert not proxy.toxics()
        finally:
            proxy.destroy()
