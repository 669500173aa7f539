"""What platforms must do, as criteria with ids: which of them is proven, by which experiments and checks, and which is not.

A criterion is data (`*.toml`, one file a series of ids). Experiments name the criteria that they test, checks those that
they prove; nothing else is told by hand but what is missing. A new criterion is an entry, and until something declares it,
or it says why nothing can, the tests fail.
"""

from chaosreprise.criteria.coverage import Covered, Status, covered, table
from chaosreprise.criteria.lists import Criterion, criteria, ids
from chaosreprise.criteria.possible import GIVEN, Possible, levels_of, of_platform, said

__all__ = [
    "GIVEN",
    "Covered",
    "Criterion",
    "Possible",
    "Status",
    "covered",
    "criteria",
    "ids",
    "levels_of",
    "of_platform",
    "said",
    "table",
]
