"""Ports of 127.0.0.1 for a lab that is being made."""

import os
import socket
from collections.abc import Collection

from chaosreprise.errors import NotPossible

A_LAB = 64  # ports, and more than most labs need
PORTS = range(20_000, 32_768)  # below the ports that Linux gives to clients, so that none of them takes ours in between


def free_ports(count: int, drawn: Collection[int] = ()) -> list[int]:
    """Those that follow a place of this process's own: who prepares a lab at the same time draws others, taken or not yet.

    `drawn`: what this process has drawn before, and nobody has taken yet.
    """
    found: list[int] = []
    first = os.getpid() * A_LAB % len(PORTS)
    for port in (*PORTS[first:], *PORTS[:first]):
        if port in drawn:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise NotPossible(f"no {count} free ports of 127.0.0.1 from {PORTS.start} to {PORTS.stop - 1}")
