"""Planted defects, so that a verdict of `false` can be seen to be earned: each breaks a promise, behind seams of the lab.

A seam is a class of the lab that a defect replaces by one of its own when the process starts; correct code does not know
of it. $REPRISE_LAB_DEFECT names the defect, and `prepare` writes that into the components' environment.

    catalogue   every defect: its check, its experiment, why it is there, and what it replaces
    delivery    what agents are given, and when          frames, lanes, hands   how an agent reads, orders and acts
    store       placing, refusing, ids                   outbox                 what is written of commands and sessions
    roster      who is online, and what follows          steps, streams         where a step runs, how long a stream is held
    agents      how an agent keeps its connection        sockets                what passes on it, and what passes again
    database    how the control plane uses its database  outages                what is said while the store is away
    others      what is left to other control planes
"""

import difflib
import os
from collections.abc import Mapping

from chaosreprise.errors import BadInput
from chaosreprise.lab.defects.catalogue import ALL
from chaosreprise.lab.defects.defect import Defect

__all__ = ["DEFECTS", "NONE", "VARIABLE", "Defect", "chosen", "named"]

VARIABLE = "REPRISE_LAB_DEFECT"
DEFECTS = {defect.name: defect for defect in ALL}
NONE = Defect("none", "", "", "the lab as it should be", {})


def chosen() -> Defect:
    """What $REPRISE_LAB_DEFECT names, for the processes of a lab."""
    return named(os.environ.get(VARIABLE))


def named(name: str | None, among: Mapping[str, Defect] = DEFECTS, listed: str = "chaos reprise lab defects") -> Defect:
    """The defect of this name, none for no name; BadInput for one that is not known, with the command that lists them."""
    if not name:
        return NONE
    if name in among:
        return among[name]
    near = difflib.get_close_matches(name, among, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadInput(f"{VARIABLE} = {name!r}: no such defect: {hint}`{listed}` lists them")
