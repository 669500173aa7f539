"""Freeze a component with SIGSTOP, with everything that it has started; it wakes as if nothing had happened.

An agent that was frozen for long enough comes back as a zombie: declared away, but with commands in its hands. A database
is stopped at its postmaster first and then at its children until none is new: pooled connections would go on working.
"""

import asyncio
import pathlib
import signal
import time
from typing import Any

import msgspec

from chaosreprise.errors import NotProven
from chaosreprise.faults import local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import family, is_stopped, send_signal
from chaosreprise.stack.client import StackEnded
from chaosreprise.stack.mends import Continue

PROVE_S = 2.0
BETWEEN_LOOKS_S = 0.02


class Pause(local.OnProcess):
    way_back = "it is woken"
    proof = "each of its processes is stopped in two looks between which none has used the processor"
    survives = True

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        process = msgspec.convert(target, local.Process)
        await local.hold(context, mark, process, lease_end, down=False, mends=[Continue(process.inc)])
        local.strike(process, signal.SIGSTOP)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        process = msgspec.convert(target, local.Process)
        deadline = time.monotonic() + PROVE_S
        before: dict[int, str] = {}
        while time.monotonic() < deadline:
            frozen = family(process.inc)
            running = [inc for inc in frozen if not is_stopped(inc)]
            for inc in running:
                send_signal(inc, signal.SIGSTOP)
            used = {inc.pid: _processor_time(inc.pid) for inc in frozen}
            if frozen and not running and used == before:
                return {"processes_frozen": len(frozen), "pid": process.inc.pid}
            before = used
            await asyncio.sleep(BETWEEN_LOOKS_S)
        raise NotProven(
            f"{process.component} (pid {process.inc.pid}): {len(running)} of its {len(frozen)} processes were not stopped {PROVE_S:g} s later"
        )

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        try:
            return await super().undo(context, mark, target)
        except StackEnded:  # with the keeper its children died, but theirs must be awake to notice
            for inc in msgspec.convert(target, local.Process).family:
                send_signal(inc, signal.SIGCONT)
            raise


def _processor_time(pid: int) -> str:
    """Time on a processor in ns since its start, and how often it got one (proc(5), schedstat)."""
    try:
        return pathlib.Path(f"/proc/{pid}/schedstat").read_text()
    except OSError:
        return "gone"


FAULT = Pause()
