"""Let a database's file system be read-only: the database is killed, and started again on one that it may not write.

A kernel makes no file system read-only that has files open for writing, hence the kill. A PostgreSQL does not start there:
it is tried again by its supervisor until it may.
"""

import asyncio
import errno
import signal
from typing import Any

import msgspec

from chaosreprise.faults import local, on_disk
from chaosreprise.faults.base import Context, Target


class DiskReadOnly(on_disk.DiskFault):
    way_back = "it may be written again"
    proof = "the database has died with its connections, and a page can't be written there (EROFS)"

    async def inject(self, context: Context, mark: str, target: Target, lease_end: int) -> None:
        disk = msgspec.convert(target, on_disk.OnDisk)
        mends = [disk.mend(mark)]
        await local.hold(context, mark, disk, lease_end, down=True, mends=mends)
        local.strike(disk, signal.SIGKILL)
        await local.prove_gone(disk)
        await asyncio.to_thread(on_disk.change, disk, mark, full=False, read_only=True)
        await local.hold(context, mark, disk, lease_end, down=False, mends=mends)

    async def prove(self, context: Context, mark: str, target: Target) -> dict[str, Any]:
        disk = msgspec.convert(target, on_disk.OnDisk)
        return await local.prove_gone(disk) | on_disk.prove(disk, errno.EROFS)


FAULT = DiskReadOnly()
