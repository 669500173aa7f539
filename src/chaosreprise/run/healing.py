"""What `chaos reprise heal` repairs: faults that earlier runs left, their sessions, and the folders of stacks whose owner died.

Faults that are known here by their ledger are undone whatever their age. In the cluster of a platform file so are those that anybody has
left, once they have outlived the lease that stands on them.
"""

import asyncio
import time
from collections.abc import Iterator

from chaosreprise.errors import RepriseError
from chaosreprise.faults import client
from chaosreprise.kubernetes import reaping
from chaosreprise.kubernetes.api import Api
from chaosreprise.kubernetes.where import Where
from chaosreprise.platform.file import load
from chaosreprise.run import litter, stopping
from chaosreprise.stack import starter


def lines(platform: str = "embedded") -> list[tuple[str, bool]]:
    """What was found and done, a line each, and whether that is well; the last one says whether anything is left."""
    return list(_healed(platform))


def _healed(platform: str) -> Iterator[tuple[str, bool]]:
    left = 0
    for one in client.heal_all():
        left += one.state == "leaked"
        yield str(one), one.state != "leaked"
    for line, well in _reaped(platform):
        left += not well
        yield line, well
    for folder in starter.sweep():
        yield f"stack {folder.name} had lost its keeper: its folder is removed", True
    for line, well in litter.tidy_all():
        left += not well
        yield line, well
    stopping.sweep()
    yield (f"{left} things could not be repaired: see above", False) if left else ("clean", True)


def _reaped(platform: str) -> Iterator[tuple[str, bool]]:
    """Whatever is wrong with the platform file or its cluster stops no other healing."""

    async def look(where: Where) -> list[reaping.Reaped]:
        async with await Api.to(where) as api:
            return await reaping.reap(api, time.monotonic())

    try:
        where = load(platform).cluster
        for one in asyncio.run(look(where)) if where is not None else ():
            yield str(one), one.well
    except RepriseError as error:
        yield f"faults in the cluster of {platform} can't be looked for: {error}", False
