"""What is seen of a fault on a link: how late bytes are, that none passes, that connections are gone, that no way leads around.

Everything is measured on connections that are there, by the kernel's counters and tables; what nobody sends, nobody can see.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from chaosreprise.clock import SECOND
from chaosreprise.errors import NotProven
from chaosreprise.faults import counters
from chaosreprise.faults.counters import Address
from chaosreprise.faults.wires import RECEIVED, SENT, Key, Meter, Pair, address, readable, sockets_of
from chaosreprise.platform.links import GROUP, OF_AGENTS
from chaosreprise.procs import LISTEN, connections_of
from chaosreprise.stack.client import AsyncKeeper

PROVE_S = 35.0  # agents of real platforms say something every 30 s, and nothing but that while nobody asks for anything
SURE_S = 0.25  # so long nothing may pass
CLOSED_S = 1.0  # after the bytes that cut it
CONTROL = "control-plane"
NOTHING_PASSES = f"bytes come in at its proxy and none goes out for {SURE_S:g} s, by the kernel's counters of both sockets, and no way leads around it"
T = TypeVar("T")


async def until(
    meter: Meter, on: str, found: Callable[[], T | None], lacks: Callable[[], str] | str, more_s: float = 0.0
) -> T:
    """What `found` says of the meter's looks as soon as it says something. Raises NotProven, saying what it lacks."""
    within_s = PROVE_S + more_s
    deadline = time.monotonic() + within_s
    while (seen := found()) is None:
        if time.monotonic() > deadline:
            raise NotProven(f"{on}: {lacks if isinstance(lacks, str) else lacks()} within {within_s:g} s")
        await meter.until_next()
    return seen


def delays(meter: Meter, way: Pair) -> Iterator[tuple[int, int]]:
    """How long (from, to, in ns) bytes took that came in on a way after the mark, each time that some did, once they are out again."""
    enters, leaves = way
    looks, came = meter.looks, meter.mark
    while (next_one := meter.when(enters, RECEIVED, meter.passed(enters, RECEIVED, came) + 1)) is not None:
        came = next_one
        went = meter.when(leaves, SENT, meter.passed(enters, RECEIVED, came))
        if went is None:
            return
        yield max(0, looks[max(came, went - 1)][0] - looks[came][1]), looks[went][1] - looks[came - 1][0]


async def nothing_passes(meter: Meter, on: str, streams: list[str]) -> dict[str, Any]:
    """Bytes come in and none goes out, for a while."""
    await meter.settle()
    since: dict[str, int] = {}

    def found() -> dict[str, Any] | None:
        now = meter.looks[-1][1]
        stuck = {}
        for stream in streams:
            _check_leak(meter, on, stream, 0)
            if count := sum(meter.came(stream, meter.mark).values()):
                stuck[f"{stream}_bytes_stuck"] = count
                since.setdefault(stream, now)
        return stuck if any(now - moment > SURE_S * SECOND for moment in since.values()) else None

    return await until(meter, on, found, "nothing was sent by it, so that nothing passes can't be seen,")


def connected(fronts: Sequence[Address]) -> set[Address]:
    """The clients of these addresses by either end's socket."""
    found = counters.established()
    return {one.remote for one in found if one.local in fronts} | {one.local for one in found if one.remote in fronts}


async def are_gone(on: str, fronts: Sequence[Address], clients: Iterable[Address], within_s: float) -> int:
    """Each of these connections is established at neither end; how many those were. Raises NotProven."""
    meant = set(clients)
    deadline = time.monotonic() + within_s
    while left := meant & connected(fronts):
        if time.monotonic() > deadline:
            raise NotProven(
                f"{on}: the connection of {readable(min(left))} to {readable(fronts[0])} is still established {within_s:g} s later"
            )
        await asyncio.sleep(0.01)
    return len(meant)


async def are_cut(meter: Meter, on: str, streams: list[str], allowed: int = 0) -> dict[str, Any]:
    """Connections go, none lives on by which more than so many bytes came in, and no more goes out, for a while.

    One may be gone before anybody could see what came in by it: so those that were there at first count as well.
    """
    since: dict[Key, int] = {}
    first: list[int] = []

    def found() -> dict[str, Any] | None:
        now = meter.looks[-1][1]
        for stream in streams:
            _check_leak(meter, on, stream, allowed)
            since.update(
                {key: now for key, n in meter.came(stream, meter.mark).items() if n > allowed and key not in since}
            )
        for key in filter(meter.is_open, since):
            if now - since[key] > CLOSED_S * SECOND:
                raise NotProven(f"{on}: {_way(key)} is still established {CLOSED_S:g} s after bytes came")
        gone = [key for key in {*meter.at_first, *since} if not meter.is_open(key)]
        first.extend([now] if gone and not first else [])
        if not first or now - first[0] < SURE_S * SECOND or any(map(meter.is_open, since)):
            return None
        return {"connections_cut": len([key for key in gone if meter.is_near(key)]) or len(gone)}

    return await until(meter, on, found, "nothing was sent by it, so that it is cut can't be seen,")


def check_refused(on: str, fronts: Sequence[Address]) -> None:
    """Raises NotProven unless a new client is refused."""
    for front in fronts:
        _check_refused(on, front)


def _check_refused(on: str, front: Address) -> None:
    try:
        socket.create_connection(front, CLOSED_S).close()
    except ConnectionRefusedError:
        return
    except OSError as error:
        raise NotProven(
            f"{on}: a new connection to {readable(front)} is not refused but ends otherwise ({error})"
        ) from error
    raise NotProven(f"{on}: a new connection to {readable(front)} is not refused")


async def check_ways_around(keeper: AsyncKeeper | None, link: str, fronts: Sequence[str]) -> None:
    """Raises NotProven when who uses a link is connected past it to where it leads. Known where a keeper has the processes."""
    if keeper is None or link == f"{GROUP}/clients":
        return
    status = await keeper.status()
    source, target = (link.removeprefix(f"{GROUP}/"), CONTROL) if link.startswith(OF_AGENTS) else (CONTROL, link[6:])
    pids = {one.name: one.inc.pid for one in status.components if one.inc}
    users = {name: pid for name, pid in pids.items() if name == source or name.startswith(f"{source}/")}
    ends = [process.inc.pid for slot in status.slots for process in slot.processes] if target == "sessions" else []
    ends += [pid for name, pid in pids.items() if name == target or name.startswith(f"{target}/")]
    ports = {
        int(one.local.rpartition(":")[2], 16) for pid in ends for one in connections_of(pid) if one.state == LISTEN
    }
    ports -= {address(front)[1] for front in fronts}
    for name, pid in users.items():
        mine = sockets_of(pid)
        for one in counters.established():
            if one.inode in mine and one.remote[1] in ports:
                raise NotProven(
                    f"{link} leaked: {name} (pid {pid}) is connected to {target} past it, {readable(one.local)} -> {readable(one.remote)}"
                )


def _check_leak(meter: Meter, on: str, stream: str, allowed: int) -> None:
    for key, count in meter.went(stream, meter.mark).items():
        if count > allowed:
            raise NotProven(f"{on} leaked: {count} bytes still went {stream}, {_way(key)}")


def _way(key: Key) -> str:
    return f"{readable(key[0])} -> {readable(key[1])}"
