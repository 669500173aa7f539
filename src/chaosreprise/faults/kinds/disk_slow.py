"""Let a database's disk be slow: each of its file operations is held up for `delay_ms` before it is done.

Reads, writes and syncs of its files, by all its processes and whatever they start; its connections are not touched. strace(1)
does that by its tampering with system calls, so others of its calls take a little longer as well.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, local, tracer
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import family

PROVE_S = 10.0
FREE_S = 2.0


class Arguments(base.Arguments, frozen=True):
    delay_ms: Annotated[
        float,
        msgspec.Meta(
            ge=0.1,
            le=10_000,
            title="how long each operation is held up",
            description="milliseconds from 0.1 to 10000",
        ),
    ] = 20.0


class Slowed(local.Process, kw_only=True):
    delay_ms: float


class Tracing:
    """The tracers of one fault, and where they say what they hold up."""

    def __init__(self, mark: str, lease_end: int, delay_us: int, said: int) -> None:
        self.tracers: list[subprocess.Popen[bytes]] = []
        self.said = said
        self._mark, self._lease_end, self._delay_us = mark, lease_end, delay_us
        self._asked: set[int] = set()

    def trace(self, pids: Iterable[int]) -> None:
        """Those that nobody was asked for yet."""
        if new := [pid for pid in pids if pid not in self._asked]:
            self._asked.update(new)
            self.tracers.append(tracer.start(self._mark, self._lease_end, self._delay_us, new, self.said))


class DiskSlow(local.OnProcess):
    groups = ("database",)
    needs = f"{local.NEEDS}; strace and setpriv (Debian's packages strace, util-linux), and the right to trace it"
    arguments = Arguments
    survives = True
    way_back = "nobody traces it any more"
    proof = "each of its processes is traced, and an operation on a file was held up"

    def __init__(self) -> None:
        self._started: dict[str, Tracing] = {}

    async def more(self, process: local.Process, given: Arguments) -> Target:
        if traced := [inc.pid for inc in process.family if tracer.of(inc.pid)]:
            raise NotPossible(
                f"{process.component}: pid {traced[0]} is traced already, by pid {tracer.of(traced[0])}: end that first"
            )
        for name, package in (("strace", "strace"), ("setpriv", "util-linux")):
            tracer.program(name, package)
        return {"delay_ms": given.delay_ms}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        slowed = msgspec.convert(target, Slowed)
        await local.hold(context, mark, slowed, lease_end, down=False)
        said = os.memfd_create("reprise")
        self._started[mark] = tracing = Tracing(mark, lease_end, int(slowed.delay_ms * 1000), said)
        tracing.trace(inc.pid for inc in family(slowed.inc))

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        slowed = msgspec.convert(target, Slowed)
        tracing = self._started[mark]
        deadline = time.monotonic() + PROVE_S
        while (free := _free(slowed)) or tracer.DELAYED not in _read(tracing.said):
            if tracer.of(slowed.inc.pid):  # whom it starts from now on is traced: what was started just before is not
                tracing.trace(free)
            if tracing.tracers[0].poll() is not None:
                lines = _read(tracing.said).decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise NotProven(f"{slowed.component}: strace has ended: {lines[-1]}")
            if time.monotonic() > deadline:
                what = f"{len(free)} of its processes are not traced" if free else "no operation of it was held up"
                raise NotProven(f"{slowed.component} (pid {slowed.inc.pid}): {what} {PROVE_S:g} s later")
            await asyncio.sleep(local.LOOK_EVERY_S * 5)
        return {"processes_traced": len(family(slowed.inc)), "pid": slowed.inc.pid, "delay_ms": slowed.delay_ms}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        await tracer.end(mark)
        if mark in self._started:
            tracing = self._started.pop(mark)
            for process in tracing.tracers:
                process.wait()
            os.close(tracing.said)
        await _until_free(msgspec.convert(target, Slowed))
        return await super().undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        slowed = msgspec.convert(target, Slowed)
        if tracer.find(mark):
            raise Unreachable(f"{slowed.component} (pid {slowed.inc.pid}) is still traced for this fault")
        await super().verify(context, mark, target)


async def _until_free(slowed: Slowed) -> None:
    """The kernel lets go when the tracer is dead, which its end may take a moment to bring about."""
    deadline = time.monotonic() + FREE_S
    while len(_free(slowed)) < len(family(slowed.inc)):
        if time.monotonic() > deadline:
            raise Unreachable(
                f"{slowed.component} (pid {slowed.inc.pid}) is still traced {FREE_S:g} s after the end of its tracer"
            )
        await asyncio.sleep(local.LOOK_EVERY_S)


def _free(slowed: Slowed) -> list[int]:
    """Its processes that nobody traces."""
    return [inc.pid for inc in family(slowed.inc) if not tracer.of(inc.pid)]


def _read(said: int) -> bytes:
    return os.pread(said, 1 << 20, 0)


FAULT = DiskSlow()
