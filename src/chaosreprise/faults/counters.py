"""The kernel's own counters of each established TCP connection: bytes received and bytes sent (sock_diag(7)).

Whoever carries a link can't hide from them: what came in at one socket and did not leave by the other has not passed. Needs no
privilege, and Linux 4.19 for the bytes sent.
"""

import socket
import struct
from typing import NamedTuple

from chaosreprise.errors import NotPossible

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, REQUEST_DUMP = 4, 20, 0x301  # linux/netlink.h, linux/sock_diag.h
DONE, ERROR = 3, 2
ESTABLISHED = 1 << 1
INET_DIAG_INFO = 2
HEADER, ASK = struct.Struct("=IHHII"), struct.Struct("=BBBBI")
PORTS, QUEUES, ATTRIBUTE = struct.Struct("!HH"), struct.Struct("=IIIII"), struct.Struct("=HH")
RECEIVED, SENT = (
    128,
    200,
)  # where tcpi_bytes_received and tcpi_bytes_sent, tcpi_bytes_retrans stand in struct tcp_info (linux/tcp.h)
FIXED = 72  # bytes of struct inet_diag_msg
MAPPED = bytes(10) + b"\xff\xff"
Address = tuple[str, int]


class Socket(NamedTuple):
    """One end of a connection. `inode` tells whose it is; 0: nobody's, such as one that was not accepted yet."""

    local: Address
    remote: Address
    received: int
    sent: int
    inode: int


def established() -> list[Socket]:
    """All of this network namespace. Raises NotPossible where the kernel does not tell."""
    return [one for family in (socket.AF_INET, socket.AF_INET6) for one in _dump(family)]


def _dump(family: int) -> list[Socket]:
    body = ASK.pack(family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, ESTABLISHED) + bytes(48)
    found: list[Socket] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as asked:
            asked.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 1, 0) + body)
            while _take(asked.recv(1 << 20), family, found):
                pass
    except OSError as error:
        raise NotPossible(
            f"the kernel does not tell how much has passed on its connections ({error.strerror}): no fault on a link can be proven here"
        ) from error
    return found


def _take(answer: bytes, family: int, found: list[Socket]) -> bool:
    """Whether there is more to come."""
    at = 0
    while at < len(answer):
        length, kind, *_ = HEADER.unpack_from(answer, at)
        if kind == ERROR:
            raise OSError(-struct.unpack_from("=i", answer, at + HEADER.size)[0], "it refuses to")
        if kind == DONE:
            return False
        if (one := _socket(answer[at + HEADER.size : at + length], family)) is not None:
            found.append(one)
        at += (length + 3) & ~3
    return True


def _socket(said: bytes, family: int) -> Socket | None:
    info = _attribute(said, INET_DIAG_INFO)
    if len(info) < SENT + 16:
        return None
    here, there = PORTS.unpack_from(said, 4)
    inode = QUEUES.unpack_from(said, FIXED - QUEUES.size)[4]
    (received,), (sent, again) = struct.unpack_from("=Q", info, RECEIVED), struct.unpack_from("=QQ", info, SENT)
    return Socket((_host(said[8:24], family), here), (_host(said[24:40], family), there), received, sent - again, inode)


def _attribute(said: bytes, wanted: int) -> bytes:
    at = FIXED
    while at < len(said):
        length, kind = ATTRIBUTE.unpack_from(said, at)
        if kind == wanted:
            return said[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3 or len(said)
    return b""


def _host(raw: bytes, family: int) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntoa(raw[:4])
    return socket.inet_ntoa(raw[12:]) if raw.startswith(MAPPED) else socket.inet_ntop(socket.AF_INET6, raw)
