"""Addresses as Go writes and reads them, since clients of Toxiproxy compare them as texts: `host:port`, `[::1]:port`."""

import errno
import os
import socket

BACKLOG = 4096
Found = tuple[socket.AddressFamily, tuple[str, int]]


class AddressError(Exception):
    """With the real server's sentence."""


def split(address: str) -> tuple[str, str]:
    host, colon, port = address.rpartition(":")
    if not colon:
        raise AddressError(f"address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    if ":" in host:
        raise AddressError(f"address {address}: too many colons in address")
    return host, port


def join(host: str, port: int | str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def find(address: str, numeric_only: bool = False) -> list[Found]:
    """Where to connect to, IPv4 first; asks the resolver, which may take its time, unless `numeric_only`."""
    host, port = split(address)
    flags = socket.AI_NUMERICHOST if numeric_only else 0
    try:
        found = socket.getaddrinfo(host or "localhost", port or 0, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"lookup {host}: {getattr(error, 'strerror', None) or error}") from error
    ordered = sorted(found, key=lambda one: one[0] != socket.AF_INET)
    return [(family, (str(place[0]), int(place[1]))) for family, _, _, _, place in ordered]


def canonical(address: str) -> str:
    """As the real server compares it with where a proxy listens; empty means any port."""
    if not address:
        return ":0"
    host, port = split(address)
    if not host:
        return f":{port or 0}"
    return join(*find(address)[0][1])


def listen(address: str) -> socket.socket:
    """A listening socket; no host and 0.0.0.0 mean all addresses of both families, as in Go."""
    try:
        host, port = split(address) if address else ("", "0")
        family, place = find(address)[0] if host else (socket.AF_INET6, ("::", find(f"127.0.0.1:{port}")[0][1][1]))
    except AddressError as error:
        raise AddressError(f"listen tcp: {error}") from error
    if place[0] in {"0.0.0.0", "::"}:  # noqa: S104
        family, place = (
            (socket.AF_INET6, ("::", place[1])) if socket.has_dualstack_ipv6() else (socket.AF_INET, ("", place[1]))
        )
    try:
        return socket.create_server(place, family=family, backlog=BACKLOG, dualstack_ipv6=place[0] == "::")
    except OSError as error:
        raise AddressError(f"listen tcp {address}: bind: {_words(error)}") from error


def of(sock: socket.socket) -> str:
    return join(*sock.getsockname()[:2])


def _words(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO).lower()
