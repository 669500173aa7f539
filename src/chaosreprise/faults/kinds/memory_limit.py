"""Let a component have no more memory than it has, but for some room: what it takes beyond that, the kernel refuses it.

Its processes go into a control group (cgroup) of their own, whose limit is `mib`: what they have already stays
charged where it was. At the limit the kernel first takes back what it can, such as cached files, and then kills
(OOM killer). What was killed is started by its supervisor outside of the group, so without the limit.
"""

import asyncio
import pathlib
import time
from typing import Annotated, Any

import msgspec

from chaosreprise.errors import NotPossible, NotProven, Unreachable
from chaosreprise.faults import base, cgroups, local
from chaosreprise.faults.base import Context, Target
from chaosreprise.paths import slug
from chaosreprise.procs import is_alive
from chaosreprise.stack import mends

MIB = 1 << 20
MOVE_S = 1.0
PROVE_S = 10.0
LOOK_EVERY_S = 0.02


class Arguments(base.Arguments, frozen=True):
    mib: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1 << 20,
            title="how much more it may take; with 0 it dies of the next page",
            description="a whole number of MiB from 0 to 1048576",
        ),
    ] = 0


class Limited(local.Process, kw_only=True):
    mib: int
    place: cgroups.Place

    def path(self, mark: str) -> pathlib.Path:
        return pathlib.Path(self.place.parent, f"reprise-{slug(mark)}")

    def mend(self, mark: str) -> mends.Cgroup:
        return mends.Cgroup(str(self.path(mark)), self.place.group)


class MemoryLimit(local.OnProcess):
    needs = f"{local.NEEDS}; a memory cgroup that may be written (root, or a delegated one)"
    arguments = Arguments
    survives = True
    way_back = "its processes go back to the group that they were in, and ours is removed"
    proof = (
        f"within {PROVE_S:g} s it takes so much that the limit is hit, and the kernel takes back from it or kills it"
    )

    async def more(self, process: local.Process, given: Arguments) -> Target:
        return {"place": local.target(cgroups.place(process.inc))}

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        limited = msgspec.convert(target, Limited)
        await local.hold(context, mark, limited, lease_end, down=False, mends=[limited.mend(mark)])
        path = limited.path(mark)
        cgroups.make(path, limited.place.version, limited.mib * MIB)
        deadline = time.monotonic() + MOVE_S
        while left := cgroups.move(limited.inc, path):
            if time.monotonic() > deadline:
                raise NotPossible(f"{limited.component}: {left} of its processes can't be moved to {path}")
            await asyncio.sleep(0)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        limited = msgspec.convert(target, Limited)
        path, version = limited.path(mark), limited.place.version
        deadline = time.monotonic() + PROVE_S
        while True:
            alive = is_alive(limited.inc)
            if any(seen := cgroups.pressure(path, version)):
                break
            if time.monotonic() > deadline or not alive:
                raise NotProven(
                    f"{limited.component} (pid {limited.inc.pid}) asked for no more than {limited.mib} MiB beyond what it had within {PROVE_S:g} s"
                    f"{'' if alive else ', and died by itself'}: leave it less room, or give it more to do"
                )
            await asyncio.sleep(LOOK_EVERY_S)
        return {"limit_bytes": cgroups.limit_of(path, version), "hits": seen.hits, "killed": seen.killed}

    async def undo(self, context: Context, mark: str, target: Target) -> str | None:
        mends.apply(msgspec.convert(target, Limited).mend(mark))
        return await super().undo(context, mark, target)

    async def verify(self, context: Context, mark: str, target: Target) -> None:
        path = msgspec.convert(target, Limited).path(mark)
        if path.exists():
            raise Unreachable(f"{path}: this group can't be removed: are there processes in it that are not ours?")
        await super().verify(context, mark, target)


FAULT = MemoryLimit()
