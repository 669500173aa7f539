"""The seed of a run: victim, mix and times are drawn from it."""

import os

from chaosreprise.errors import BadInput, shown


def read_seed(stated: int | str | None) -> int:
    """`workload.seed` of the contract (by default REPRISE_SEED); without one the kernel draws it, and the plan says which."""
    if stated in (None, ""):
        return int.from_bytes(os.urandom(4), "big")
    text = str(stated)
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) >= 2**63:
        raise BadInput(
            f"workload.seed = {shown(stated)}: expected a whole number from 0: set REPRISE_SEED to one, or leave it out"
        )
    return int(text)
