"""What the processes of a platform take of this machine, and where its control plane connects to: samples of signals.

`PROCESSES.elsewhere`: to how many ends, beside those that are known, processes of the control plane are connected by what they have
opened themselves; `PROCESSES.ends` names them. `PROCESSES.cores` and `PROCESSES.mib`: the processor since the look before, and the
memory, of each group's processes together, such as `PROCESSES.agents.mib`. Only processes are looked at that a keeper of ours runs,
in our own network namespace, and only as often as is asked: a connection that was opened and closed between two looks escapes. Clients
of Kubernetes keep theirs.
"""

import asyncio
import contextlib
import os
import pathlib
import socket
from collections import defaultdict
from collections.abc import Iterator

from chaosreprise.clock import SECOND, Clock
from chaosreprise.errors import NotPossible
from chaosreprise.history import Observe
from chaosreprise.observe import Emit, sample
from chaosreprise.platform import keepers
from chaosreprise.platform.file import SESSIONS, Platform
from chaosreprise.procs import LISTEN, Connection, Incarnation, children, connections, connections_of, family

CONTROL_PLANE = "control-plane"
TICKS, PAGE_MIB = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE") / 2**20
Used = dict[Incarnation, tuple[int, float]]  # of each process its ticks of a processor, and its memory
Groups = dict[str, list[Incarnation]]


def source(platform: Platform, name: str) -> "ProcessSource":
    return ProcessSource(platform, name)


class ProcessSource:
    def __init__(self, platform: Platform, name: str) -> None:
        self.name, self._platform = name, platform
        self._hz, self._known = platform.file.evidence[name].hz, platform.file.evidence[name].known
        self._before: Used = {}
        self._at = 0

    async def run(self, clock: Clock, emit: Emit, stop: asyncio.Event) -> None:
        known = await asyncio.to_thread(lambda: {end for text in self._known for end in _ends(text)})

        async def look(since: int, last: bool) -> None:
            del last
            groups, ends = await asyncio.to_thread(self._look, known)
            now = clock.now()
            signals: dict[str, object] = {"elsewhere": len(ends), "ends": ends} | self._figures(groups, now)
            for signal, value in signals.items():
                emit(Observe(lo=since, hi=now, source=self.name, signal=signal, value=value))

        await sample(self.name, self._hz, clock, emit, stop, look)

    def _look(self, known: set[tuple[str, int]]) -> tuple[Groups, list[str]]:
        """The processes of each group, and where the control plane's are connected to. Raises a RepriseError."""
        groups: Groups = defaultdict(list)
        below = children()
        for one in keepers.components(self._platform):
            if one.group != SESSIONS and one.inc:
                groups[one.group] += family(Incarnation(*one.inc), below)
        if not groups[CONTROL_PLANE]:
            raise NotPossible(f"no process of {CONTROL_PLANE} is there that could be looked at")
        there = connections()
        listening = {_port(one.local) for one in there if one.state == LISTEN}
        opened = [end for inc in groups[CONTROL_PLANE] for end in _opened(inc, there, listening)]
        return groups, sorted({f"{host}:{port}" for host, port in opened if (host, port) not in known})

    def _figures(self, groups: Groups, now: int) -> dict[str, object]:
        used = {inc: _used(inc) for group in groups.values() for inc in group}
        seconds, figures = (now - self._at) / SECOND, {}
        for group, incs in groups.items():
            ticks = sum(used[inc][0] - self._before[inc][0] for inc in incs if inc in self._before)
            if self._before:
                figures[f"{group}.cores"] = round(ticks / TICKS / seconds, 3)
            figures[f"{group}.mib"] = round(sum(used[inc][1] for inc in incs), 1)
        self._before, self._at = used, now
        return {**figures}


def _opened(inc: Incarnation, there: list[Connection], listening: set[int]) -> Iterator[tuple[str, int]]:
    """The other ends of the connections that a process has, but for those that came in. Raises NotPossible if they can't be seen."""
    if not os.access(f"/proc/{inc.pid}/fd", os.R_OK) and pathlib.Path(f"/proc/{inc.pid}").exists():
        raise NotPossible(f"the connections of process {inc.pid} can't be seen: watch as the user whose it is")
    for one in connections_of(inc.pid, there):
        if one.state != LISTEN and _port(one.local) not in listening:
            yield _remote(one)


def _used(inc: Incarnation) -> tuple[int, float]:
    with contextlib.suppress(OSError, IndexError):
        fields = pathlib.Path(f"/proc/{inc.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12]), int(fields[21]) * PAGE_MIB
    return 0, 0.0


def _ends(text: str) -> Iterator[tuple[str, int]]:
    """All addresses of `host:port`. Raises NotPossible."""
    host, _, port = text.rpartition(":")
    try:
        for _, _, _, _, address in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM):
            yield str(address[0]), int(port)
    except OSError as error:
        raise NotPossible(f"{text}: no such host ({error.strerror}): correct `known` of this evidence") from error


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _remote(one: Connection) -> tuple[str, int]:
    """As people write it; an IPv4 address as such where it stands in the table of IPv6."""
    words = bytes.fromhex(one.remote.partition(":")[0])
    raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    if len(raw) == 16 and raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), _port(one.remote)
