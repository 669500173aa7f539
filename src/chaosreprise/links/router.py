"""One port that leads to many: a client's first line is the port of 127.0.0.1 that it wants, all that follows goes there.

A proxy has one upstream, but the sessions of a platform each have a port of their own, and new ones come while a fault is
on. With a router behind one proxy they are one link: each connection to any of them carries the link's toxics.
"""

import socket
from functools import partial

from chaosreprise.links.connection import Dial
from chaosreprise.links.loop import IN, Loop
from chaosreprise.links.proxy import Proxy

LONGEST = 6  # bytes of a line: a port and its end


class Router(Proxy):
    """No proxy of the HTTP API: it has no name and no toxics."""

    def __init__(self, loop: Loop, port: int) -> None:
        super().__init__(loop, "", f"127.0.0.1:{port}", "")
        self._asking: dict[socket.socket, bytes] = {}

    def _taken(self, client: socket.socket) -> None:
        self._asking[client] = b""
        self._loop.handle(client.fileno(), partial(self._asked, client))
        self._loop.want(client.fileno(), 0, IN)

    def _asked(self, client: socket.socket, _events: int) -> None:
        """Byte by byte: what follows the line is not ours."""
        try:
            while (byte := client.recv(1)) != b"\n":
                said = self._asking[client] = self._asking[client] + byte
                if not byte or len(said) >= LONGEST or not said.isdigit():
                    self._forget_client(client).close()
                    return
        except BlockingIOError:
            return
        except OSError:
            self._forget_client(client).close()
            return
        port = self._asking[client].decode()
        self._forget_client(client)
        self._dials[Dial(f"127.0.0.1:{port}", self._loop, self._dialled)] = client

    def _forget_client(self, client: socket.socket) -> socket.socket:
        del self._asking[client]
        self._loop.want(client.fileno(), IN, 0)
        self._loop.forget(client.fileno())
        return client
