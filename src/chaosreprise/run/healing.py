"""What `chaos reprise heal` repairs: faults that earlier runs left, their sessions, and the folders of stacks whose owner died."""

from collections.abc import Iterator

from chaosreprise.faults import client
from chaosreprise.run import litter, stopping
from chaosreprise.stack import starter


def lines() -> list[tuple[str, bool]]:
    """What was found and done, a line each, and whether that is well; the last one says whether anything is left."""
    return list(_healed())


def _healed() -> Iterator[tuple[str, bool]]:
    left = 0
    for one in client.heal_all():
        left += one.state == "leaked"
        yield str(one), one.state != "leaked"
    for folder in starter.sweep():
        yield f"stack {folder.name} had lost its keeper: its folder is removed", True
    for line, well in litter.tidy_all():
        left += not well
        yield line, well
    stopping.sweep()
    yield (f"{left} things could not be repaired: see above", False) if left else ("clean", True)
