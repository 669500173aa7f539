"""Start an agent again with another clock: it goes on from a time that is `skew_s` away from everybody else's.

Only the time of day is another one; what it waits for takes as long as ever. libfaketime (faketime(1)) does that, which the
agent loads when its keeper starts it with that in its environment; so a program without the C library's clock can't be hit.
"""

import asyncio
import contextlib
import pathlib
import signal
import sys
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import BadInput, NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.procs import Incarnation

LIBRARY = "libfaketimeMT.so.1"
PLACES = ("usr/lib/*/faketime", "usr/lib/faketime", "usr/local/lib/faketime", "usr/lib64/faketime")
LEFT = [f"/dev/shm/{name}_{{pid}}" for name in ("faketime_shm", "sem.faketime_sem")]  # noqa: S108 - by who is killed with it
SHARED = "FAKETIME_SHARED"  # what it passes on to children
MARK = "REPRISE_FAULT"
ASK_S = 5.0
NOW = [sys.executable, "-I", "-S", "-c", "import time; print(time.time())"]
YEAR_S = 366 * 86400.0


class Arguments(base.Arguments, frozen=True):
    skew_s: Annotated[
        float,
        msgspec.Meta(
            ge=-10 * YEAR_S,
            le=10 * YEAR_S,
            title="how far its clock is ahead, behind if it is negative",
            description="seconds from -316224000 to 316224000, not 0",
        ),
    ] = 3600.0


class Skewed(local.Process, kw_only=True):
    skew_s: float
    library: str

    def env(self, mark: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": self.library,
            "FAKETIME": f"{self.skew_s:+f}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            MARK: mark,
        }


class ClockSkew(local.OnProcess):
    groups = ("agents",)
    needs = f"{local.NEEDS}, and libfaketime (Debian's package faketime)"
    arguments = Arguments
    way_back = "it is started again with the clock that everybody has"
    proof = (
        "it is connected again, has loaded the library, and a program that is started as it was reads the other time"
    )

    async def more(self, process: local.Process, given: Arguments) -> Target:
        if not given.skew_s:
            raise BadInput("skew_s = 0: that is the clock that it has: give seconds ahead, or behind if negative")
        return {"skew_s": given.skew_s, "library": library()}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        skewed = msgspec.convert(target, Skewed)
        await local.hold(context, mark, skewed, lease_end, down=False, env=skewed.env(mark), left=LEFT)
        local.strike(skewed, signal.SIGTERM)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        skewed = msgspec.convert(target, Skewed)
        inc = await _until(context, skewed, lambda one: one != skewed.inc)
        if skewed.library not in _text(inc, "maps"):
            raise NotProven(
                f"{skewed.component} (pid {inc.pid}) has not loaded {skewed.library}: is it linked to a C library?"
            )
        found = await _clock_of(inc) - time.time()
        if abs(found - skewed.skew_s) > ASK_S:
            raise NotProven(
                f"{skewed.component} (pid {inc.pid}): its clock is {found:+.1f} s off, not {skewed.skew_s:+g} s"
            )
        return {"pid": inc.pid, "clock_is_off_s": round(found)}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        skewed = msgspec.convert(target, Skewed)
        async with local.keeper(context) as keeper:
            ended = (await keeper.release(skewed.component, mark)).last_hold
        await _until(context, skewed, lambda one: not _carries(one, mark))
        return local.by_whom(mark, ended)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        await super().verify(context, mark, target)
        async with local.keeper(context) as keeper:
            found = await local.part(keeper, target["component"])
        if found.inc is not None and _carries(found.inc, mark):
            raise Unreachable(f"{found.name} (pid {found.inc.pid}) still has the clock of this fault")


def library() -> str:
    """Where libfaketime is. Raises NotPossible."""
    for place in PLACES:
        for path in sorted(pathlib.Path("/").glob(f"{place}/{LIBRARY}")):
            return str(path)
    raise NotPossible(
        f"{LIBRARY} is not there: no process can get another clock: install the package faketime (libfaketime)"
    )


async def _until(context: Context, skewed: Skewed, wanted: Any) -> Incarnation:
    """Wait until a process of the component that is `wanted` is whole; which it is. Raises Unreachable."""
    lacks: str | None = "it was not started again"
    deadline = time.monotonic() + local.BACK_S
    async with local.keeper(context) as keeper:
        while time.monotonic() < deadline:
            found = await local.part(keeper, skewed.component)
            if found.inc is not None and wanted(found.inc):
                lacks = await local.lacks_of(found, skewed)
                if lacks is None:
                    return found.inc
            await asyncio.sleep(local.LOOK_EVERY_S * 5)
    raise Unreachable(f"{skewed.component}: {lacks} after {local.BACK_S:g} s")


async def _clock_of(inc: Incarnation) -> float:
    """The time of day for whoever has the environment of this process. Raises NotProven."""
    env = dict(entry.split("=", 1) for entry in _text(inc, "environ").split("\0") if "=" in entry)
    env.pop(SHARED, None)
    asked = await asyncio.create_subprocess_exec(*NOW, env=env, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(ASK_S):
            said, _ = await asked.communicate()
        return float(said)
    except (TimeoutError, ValueError) as error:
        raise NotProven(f"the clock of pid {inc.pid} can't be read: {error!r}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            asked.kill()


def _carries(inc: Incarnation, mark: str) -> bool:
    return f"{MARK}={mark}\0" in _text(inc, "environ")


def _text(inc: Incarnation, name: str) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{inc.pid}/{name}").read_text(errors="replace")
    return ""


FAULT = ClockSkew()
