"""The toxics of a fault on a link, over Toxiproxy's HTTP API: added, removed by their mark, and the proxy as it was.

A toxic of ours bears the mark `reprise.<run>.<fault>.<expiry>.<stream>` (expiry: the end of its lease, in seconds of the Unix
epoch), so that anybody can tell what it is and when it should have gone. No other toxic is touched, and `/reset` is never asked
for. A fault that disables a proxy leaves a mark there as well, a toxic that does nothing. A server that has lost a proxy gets it back.
"""

import contextlib
import functools
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from chaosreprise.clock import SECOND, boottime
from chaosreprise.errors import NotPossible, Unreachable
from chaosreprise.paths import slug
from chaosreprise.platform.links import Place

if TYPE_CHECKING:  # 0.2 s, and only in the process that makes or undoes such a fault
    from chaosreprise.links.client import Proxy, Toxiproxy

PREFIX = "reprise."
MARK = {"type": "noop"}
CONNECT_S = 0.5
REMOVAL_S = 30.0  # a real server answers only when it has given up all receivers that no longer read, up to 25 s
GIVES_UP_S = 5.0  # on each chunk for one of them
OFTEN = 8  # how many chunks there are is chance: more, the more receivers there are


class Door(msgspec.Struct, kw_only=True, frozen=True):
    """A proxy as it was planned: where it is found, where it listens and where it leads."""

    place: Place
    listen: str
    upstream: str
    tap: bool = False


def prefix(mark: str) -> str:
    """What the name of each toxic of a fault begins with."""
    return f"{PREFIX}{'.'.join(map(slug, mark.split('/')))}."


def has_expired(name: str) -> bool:
    """Whether a toxic of some run, by its name, has outlived its lease."""
    parts = name.split(".")
    return len(parts) >= 5 and parts[-2].isdigit() and int(parts[-2]) < time.time()


def removal_s(streams: int, connections: int) -> float:
    """The most that a real server takes: it gives up the receivers of all connections side by side, of one stream after the other."""
    return max(REMOVAL_S, streams * GIVES_UP_S * (OFTEN + max(1, connections).bit_length()))


def door(place: Place) -> Door:
    """The proxy as it is. Raises NotPossible when it is not there, is disabled, or is under a fault of somebody's."""
    proxy = _proxy(place)
    if proxy is None or not proxy.enabled:
        raise NotPossible(
            f"proxy {place.proxy} at {place.admin} is {'not there' if proxy is None else 'disabled'}: nothing can be broken there"
        )
    ours = [name for name in proxy.toxics() if name.startswith(PREFIX) and not has_expired(name)]
    if ours:
        raise NotPossible(
            f"proxy {place.proxy} at {place.admin} is under a fault already ({ours[0]}): undo that first, or wait until it has expired"
        )
    return Door(place=place, listen=proxy.listen, upstream=proxy.upstream, tap=proxy.tap)


def beside(door: Door) -> list[str]:
    """Where its server's other proxies listen that lead to the same place. Raises Unreachable."""
    others = server(door.place).proxies()
    return [one.listen for name, one in others.items() if name != door.place.proxy and one.upstream == door.upstream]


def add(door: Door, mark: str, lease_end: int, streams: list[str], wanted: dict[str, Any]) -> None:
    """One on each stream, as quickly as that goes. Then what a run of somebody's has left here beyond its lease is removed."""
    proxy = _unseen(door)
    expiry = int(time.time() + max(0, lease_end - boottime()) / SECOND) + 1
    for stream in streams:
        proxy.add_toxic(name=f"{prefix(mark)}{expiry}.{stream}", stream=stream, **wanted)
    for name in proxy.toxics():
        if name.startswith(PREFIX) and has_expired(name):
            _destroy(proxy, name)


def disable(door: Door, mark: str, lease_end: int) -> None:
    add(door, mark, lease_end, ["upstream"], MARK)
    _unseen(door).disable()


def switch(doors: Sequence[Door], on: bool) -> None:
    for door in doors:
        _unseen(door).update(enabled=on)


def remove(door: Door, mark: str, asked: set[str]) -> bool:
    """Whether our toxics were there; afterwards they are not, and the proxy is as it was when it was planned.

    `asked`: those whose removal was asked for before without an answer, which is kept here.
    """
    proxy = server(door.place, REMOVAL_S).get_proxy(door.place.proxy)
    if proxy is None:
        ends = {"listen": door.listen, "upstream": door.upstream}
        server(door.place).populate([{"name": door.place.proxy, "enabled": True, "tap": door.tap, **ends}])
        return False
    found = [name for name in proxy.toxics() if name.startswith(prefix(mark))]
    asked.update(found)
    if found and not proxy.enabled:
        proxy.enable()
    for name in found:
        _destroy(proxy, name)
    return bool(asked)


def check_whole(door: Door, mark: str) -> None:
    """Raises Unreachable when the proxy is not there, is disabled, bears our mark or takes no client."""
    proxy = _proxy(door.place)
    if proxy is None or not proxy.enabled:
        raise Unreachable(
            f"proxy {door.place.proxy} is {'not there' if proxy is None else 'disabled'}: it is not whole"
        )
    if left := [name for name in proxy.toxics() if name.startswith(prefix(mark))]:
        raise Unreachable(f"proxy {door.place.proxy} still has toxic {left[0]}: it is not whole")
    try:
        socket.create_connection(proxy.address, CONNECT_S).close()
    except OSError as error:
        raise Unreachable(f"proxy {door.place.proxy} takes no client at {proxy.listen} ({error})") from error


@functools.lru_cache(maxsize=8)
def server(place: Place, limit_s: float | None = None) -> "Toxiproxy":
    from chaosreprise.links.client import LIMIT_S, Toxiproxy  # noqa: PLC0415

    return Toxiproxy(place.admin, place.token(), limit_s or LIMIT_S)


def _proxy(place: Place) -> "Proxy | None":
    return server(place).get_proxy(place.proxy)


def _unseen(door: Door) -> "Proxy":
    """Without asking for it: a fault that was armed strikes at a moment."""
    return server(door.place).proxy_named(door.place.proxy)


def _destroy(proxy: "Proxy", name: str) -> None:
    from chaosreprise.links.client import NotThere  # noqa: PLC0415

    with contextlib.suppress(NotThere):  # the keeper may be at it too
        proxy.destroy_toxic(name)
