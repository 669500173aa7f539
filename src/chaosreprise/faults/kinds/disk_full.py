"""Let a database's file system be full: it becomes as small as what is in it, so that nothing more can be written.

What is there can be read and overwritten; what would need one more block fails with ENOSPC. A PostgreSQL that can't write its
log ends all its connections, and starts again when there is room.
"""

import asyncio
import errno
from typing import Any

import msgspec

from chaosreprise.faults import local, on_disk
from chaosreprise.faults.base import Context, Target


class DiskFull(on_disk.DiskFault):
    way_back = "it gets the size that it had"
    proof = "a page can't be written there (ENOSPC), and no block is free in what its processes see"

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        disk = msgspec.convert(target, on_disk.OnDisk)
        await local.hold(context, mark, disk, lease_end, down=False, mends=[disk.mend(mark)])
        await asyncio.to_thread(on_disk.change, disk, mark, full=True, read_only=False)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        return on_disk.prove(msgspec.convert(target, on_disk.OnDisk), errno.ENOSPC)


FAULT = DiskFull()
